"""The examples of docs/adding-*.md, extracted and run."""

import re
import signal
from pathlib import Path

import pytest
import torch
from test_resume import assert_equal, in_a_process, result, train_and_kill
from training_cases import make_spec, read_history, run, write_data

from vaebench.base.errors import UserError
from vaebench.base.plugin_files import use_plugins
from vaebench.models.building import load_model
from vaebench.models.catalog import NETS
from vaebench.models.own_networks import mistakes_of

ROOT = Path(__file__).parents[2]


def example(page: str, language: str = "python") -> str:
    """The first example of a page of the documentation in a language."""
    return re.search(rf"```{language}\n(.*?)```", (ROOT / f"docs/{page}").read_text(), re.DOTALL)[1]


@pytest.fixture
def plugin(tmp_path):
    """Saves the example of a page, changed where a test wants it, and uses it; gives its path."""

    def save(page: str, *changes: tuple[str, str]) -> Path:
        text = example(page)
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / f"{page.removesuffix('.md').replace('-', '_')}.py"
        path.write_text(text)
        use_plugins([str(path)])
        return path

    yield save
    use_plugins(())


PAGES = sorted(
    path.name for path in ROOT.glob("docs/adding-*.md") if path.name not in ("adding-a-model.md", "adding-a-metric.md")
)


@pytest.mark.parametrize("page", PAGES)
def test_an_example_is_short(page):
    lines = [line for line in example(page).splitlines() if line.strip()]
    assert 5 <= len(lines) <= 40


def test_the_network_trains_and_goes_on_after_a_kill(plugin, tmp_path):
    plugin("adding-a-network.md")
    data, spec = write_data(tmp_path), make_spec("VAE", "small", epochs=2)
    assert mistakes_of([spec], (1, 32, 32)) == []
    whole = run(spec, data, tmp_path / "whole")
    errors = read_history(whole["history"], "eval", "mse")
    assert errors[-1] < errors[0], "it learns"
    assert in_a_process(train_and_kill, spec, data, tmp_path / "killed", signal.SIGKILL, 2, 1) == -signal.SIGKILL
    run(spec, data, tmp_path / "killed")
    assert_equal(result(tmp_path / "killed"), result(tmp_path / "whole"))
    model = load_model(whole["output"])
    assert type(model.encoder).__name__ == "SmallEncoder"
    x = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    weights = torch.load(whole["output"] / "model.pt", weights_only=True)["model_state_dict"]
    hidden = (x.flatten(1) @ weights["encoder.body.1.weight"].T + weights["encoder.body.1.bias"]).relu()
    mean = hidden @ weights["encoder.mean.weight"].T + weights["encoder.mean.bias"]
    torch.testing.assert_close(model.encoder(x).embedding, mean)


def test_what_the_network_cannot_do_is_said(plugin):
    path = plugin("adding-a-network.md")
    net = NETS["small"]
    assert net.check("encoder", "VAE", (3, 64, 64), {}) is None
    assert net.check("encoder", "AE", (5, 9, 8), {}) is None, "of any number of channels"
    assert net.check("encoder", "VAE", (3, 7, 64), {}) == "small takes images of at least 8x8"
    needs = net.check("encoder", "VQVAE", (3, 64, 64), {})
    assert needs == f"small gives vector or gaussian latents ({path}, line 10); VQVAE needs grid"
    assert net.check("discriminator", "VAEGAN", (3, 64, 64), {}).startswith("the family small has no discriminator")


def test_a_role_that_no_network_has_is_said(plugin):
    plugin("adding-a-network.md", ('"small", "decoder"', '"small", "decoding"'))
    with pytest.raises(UserError, match="'decoding' is no role of a network; choose from encoder, decoder"):
        len(NETS)
