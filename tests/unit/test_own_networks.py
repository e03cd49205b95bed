import re
from pathlib import Path

import pytest
from run_specs import run_spec

from vaebench.config.plan import read_config
from vaebench.config.runs import expand_runs
from vaebench.config.sections import input_shape
from vaebench.models.own_networks import mistakes_of, own_networks


def spec(encoder, **changes):
    given = {"model": "VAE", "config": {"latent_dim": 4}, "training": {"batch_size": 8}} | changes
    return run_spec(nets={"encoder": encoder}, run="own", **given)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of one's own, whose name no other test has imported."""
    name = f"nets_{tmp_path.name.replace('-', '_')}"
    monkeypatch.syspath_prepend(tmp_path)

    def write(text):
        (tmp_path / f"{name}.py").write_text(text)
        return f"{name}.Encoder"

    return write


def test_own_networks_are_those_with_a_path():
    assert own_networks(spec("compact")) == []
    assert own_networks(spec("mine.Encoder")) == ["mine.Encoder"]


def test_what_can_be_built_is_no_mistake(module):
    encoder = module(
        "from pythae.models.nn.benchmarks.mnist import Encoder_Conv_VAE_MNIST\n\n\n"
        "class Encoder(Encoder_Conv_VAE_MNIST):\n    pass\n"
    )
    assert mistakes_of([spec(encoder), spec("compact")], (1, 28, 28)) == []


@pytest.mark.parametrize(
    ("text", "shape", "reason"),
    [
        ("import nowhere_to_be_found\n", None, "UserError: the network .* cannot be imported .*nowhere_to_be_found"),
        ("raise OSError('no licence')\n", None, "OSError: no licence"),
        ("class Encoder:\n    def __init__(self):\n        pass\n", (1, 28, 28), "TypeError: .*positional argument"),
        ("class Encoder:\n    def __init__(self, config):\n        1 / 0\n", (1, 28, 28), "ZeroDivisionError"),
    ],
)
def test_whatever_it_raises_is_one_line_with_the_run(module, text, shape, reason):
    (mistake,) = mistakes_of([spec(module(text))], shape)
    assert mistake.startswith("own: nets_")
    assert re.search(reason, mistake)


def test_without_the_images_size_it_is_imported_only(module):
    assert mistakes_of([spec(module("class Encoder:\n    def __init__(self, config):\n        1 / 0\n"))], None) == []


def test_a_batch_too_small_for_its_batch_norm_is_said(module):
    encoder = module(
        "from pythae.models.nn.benchmarks.mnist import Encoder_Conv_VAE_MNIST\n\n\n"
        "class Encoder(Encoder_Conv_VAE_MNIST):\n    pass\n"
    )
    small = spec(encoder, model="FactorVAE", training={"batch_size": 3})
    (mistake,) = mistakes_of([small], (1, 28, 28))
    assert mistake.endswith("training.batch_size must be at least 4 for FactorVAE with batch norm")


@pytest.mark.filterwarnings("ignore")
def test_no_model_of_the_package_is_said_to_be_wrong():
    """All of them are sound, so that what is tried must not ask for more than a training does."""
    root = Path(__file__).parents[2]
    config = read_config([root / "config/config.yaml", root / "config/zoo.yaml"])
    runs = [spec for spec in expand_runs(config).values() if spec.pretrained is None]
    assert len(runs) > 35
    assert mistakes_of(runs, input_shape(config)) == []


def test_a_network_whose_answer_does_not_fit_is_told_before_the_first_job(module):
    encoder = module(
        "from pythae.models.nn.benchmarks.mnist import Encoder_Conv_VAE_MNIST\n\n\n"
        "class Encoder(Encoder_Conv_VAE_MNIST):\n"
        "    def forward(self, x):\n"
        "        output = super().forward(x)\n"
        "        output['embedding'] = output['embedding'][:, :3]\n"
        "        return output\n"
    )
    (mistake,) = mistakes_of([spec(encoder)], (1, 28, 28))
    assert mistake.startswith(f"own: {encoder}: RuntimeError: The size of tensor a (")
