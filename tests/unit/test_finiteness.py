"""A training that diverges ends with one message and failure.json, never as a success with values that are none."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder
from torch import nn
from training_cases import make_spec, outputs, run, write_data

from vaebench.base.errors import UserError
from vaebench.base.npz import write_array
from vaebench.download.file_source import WeightsSource
from vaebench.metrics.features.weights import CONVOLUTIONS, obtain_weights
from vaebench.models.finiteness import ProbabilityGuard, means_no_numbers, not_finite
from vaebench.models.pretrained import import_pretrained
from vaebench.models.run_spec import ModelSpec, PretrainedSource
from vaebench.models.state import load_weights
from vaebench.training.trainer import Trainer

ADAM, SGD = ({"name": name, "options": {}} for name in ("Adam", "SGD"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), train_count=20)


@pytest.mark.parametrize(
    ("model", "optimizer", "rate", "loss"),
    [
        ("PoincareVAE", ADAM, 0.1, "mse"),
        ("PoincareVAE", SGD, 1.0, "bce"),
        ("RHVAE", ADAM, 0.1, "mse"),
        ("RHVAE", ADAM, 1e3, "bce"),
        ("HVAE", ADAM, 1.0, "mse"),
        ("Adversarial_AE", ADAM, 1.0, "mse"),
        ("Adversarial_AE", ADAM, 0.1, "bce"),
        ("Adversarial_AE", SGD, 1.0, "mse"),
        ("VAEGAN", ADAM, 1e6, "mse"),
        ("VAEGAN", SGD, 1e3, "bce"),
        ("BetaTCVAE", ADAM, 0.1, "mse"),
        ("VAE", ADAM, 1.0, "bce"),
        ("AE", ADAM, 1e6, "mse"),
        ("SVAE", SGD, 1e12, "mse"),
        ("VQVAE", SGD, 1e12, "mse"),
    ],
)
def test_divergence_is_one_message_and_a_record(model, optimizer, rate, loss, data, tmp_path, monkeypatch):
    monkeypatch.setattr(nn.functional, "binary_cross_entropy", as_on_a_gpu(nn.functional.binary_cross_entropy))
    fields = {"reconstruction_loss": loss} if loss == "bce" else {}
    spec = make_spec(model, config=fields, batch_size=8, epochs=3, learning_rate=rate, optimizer=optimizer)
    with pytest.raises(UserError, match=r"seed 0: \w.* is \S.* in .*epoch \d; lower training.learning_rate\. The"):
        run(spec, data, tmp_path)
    failure = json.loads((outputs(tmp_path)["state"] / "failure.json").read_text())
    assert failure["reason"] == "diverged"
    assert set(failure) == {"format_version", "reason", "term", "value", "epoch", "step"}
    assert not outputs(tmp_path)["output"].exists()
    state = outputs(tmp_path)["state"] / "state.pt"
    assert not state.exists() or not_finite(torch.load(state, weights_only=True)["model"]) is None


def as_on_a_gpu(cross_entropy):
    """The cross-entropy with the end that a GPU makes of a value that is no probability."""

    def checked(values, *arguments, **options):
        if not bool(((values >= 0) & (values <= 1)).all()):
            pytest.exit("CUDA error: device-side assert triggered", 1)
        return cross_entropy(values, *arguments, **options)

    return checked


@pytest.mark.parametrize("model", ["VAE", "Adversarial_AE", "VAEGAN", "RHVAE"])
def test_the_guard_changes_no_bit_of_a_sound_training(model, data, tmp_path, monkeypatch):
    spec = make_spec(model, config={"reconstruction_loss": "bce"}, epochs=1)
    guarded = run(spec, data, tmp_path / "guarded")
    monkeypatch.setattr(ProbabilityGuard, "_watched", lambda guard, forward, key: forward)
    bare = run(spec, data, tmp_path / "bare")
    one, other = (load_weights(paths["output"] / "model.pt")["model_state_dict"] for paths in (guarded, bare))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert guarded["history"].read_text().count("\n") == bare["history"].read_text().count("\n")


class Linear(BaseDecoder):
    """A decoder of one's own whose values are no probabilities."""

    def __init__(self, config):
        super().__init__()
        self.layer = nn.Linear(config.latent_dim, 1024)

    def forward(self, z):
        return ModelOutput(reconstruction=2 + self.layer(z).reshape(-1, 1, 32, 32))


def test_a_decoder_whose_values_are_no_probabilities_is_told_from_divergence(data, tmp_path):
    spec = make_spec("VAE", config={"reconstruction_loss": "bce"})
    spec = replace(spec, nets=spec.nets | {"decoder": f"{__name__}.Linear"})
    message = (
        "is nan in the first validation; nothing was trained.*bce needs a decoder whose values lie between 0 and 1"
    )
    with pytest.raises(UserError, match=message):
        run(spec, data, tmp_path)


def test_a_validation_that_is_not_finite_ends_the_training(data, tmp_path, monkeypatch):
    real = Trainer.validate
    monkeypatch.setattr(
        Trainer,
        "validate",
        lambda trainer, epoch, **more: real(trainer, epoch, **more) | ({"kl": float("inf")} if epoch == 2 else {}),
    )
    with pytest.raises(UserError, match="validation kl is inf in epoch 2; lower"):
        run(make_spec("VAE", epochs=3), data, tmp_path)
    state = torch.load(outputs(tmp_path)["state"] / "state.pt", weights_only=True)
    assert state["progress"]["epoch"] == 1, "the last good one"


@pytest.mark.parametrize(
    "error",
    [RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"), KeyError("mu"), OSError(5, "EIO")],
)
def test_a_defect_is_not_called_divergence(error, data, tmp_path, monkeypatch):
    assert not means_no_numbers(error)
    real = Trainer._check_and_save

    def fail(trainer, epoch):
        real(trainer, epoch)
        raise error

    monkeypatch.setattr(Trainer, "_check_and_save", fail)
    with pytest.raises(type(error)):
        run(make_spec("VAE"), data, tmp_path)


def test_not_finite_names_the_tensor():
    state = {"a": torch.ones(2), "n": {"count": torch.tensor(3), "b": torch.tensor([1.0, float("inf")])}}
    assert not_finite(state) == "n.b"
    assert not_finite({"a": torch.ones(2), "count": torch.tensor(3)}) is None
    assert not_finite({}) is None


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
@pytest.mark.parametrize("trust", [False, True])
def test_imported_weights_that_are_not_finite_are_refused(value, trust, tmp_path):
    model = VAE(VAEConfig(input_dim=(1, 28, 28), latent_dim=3))
    with torch.no_grad():
        next(model.encoder.parameters()).view(-1)[7] = value
    model.save(str(tmp_path / "saved"))
    write_array(tmp_path / "eval_data.npz", np.zeros((4, 1, 28, 28), np.uint8))
    nets = {"encoder": None, "decoder": None, "discriminator": None}
    source = {"path": str(tmp_path / "saved"), "trust_pickle": trust}
    spec = ModelSpec("r", "r", None, nets, {}, PretrainedSource(**source))
    paths = {name: outputs(tmp_path)[name] for name in ("output", "history", "provenance")}
    with pytest.raises(UserError, match=r"the weights in .*saved are not finite \(first model_state_dict.encoder"):
        import_pretrained(spec, tmp_path / "eval_data.npz", **paths)
    assert not paths["output"].exists()


def test_weights_of_a_metric_that_are_not_finite_are_refused(tmp_path):
    weights = {}
    for index, channels in CONVOLUTIONS["alexnet"].items():
        weights |= {
            f"features.{index}.weight": torch.zeros(channels, 1, 1, 1),
            f"features.{index}.bias": torch.zeros(channels),
        }
    weights["features.3.bias"][5] = float("nan")
    torch.save(weights, tmp_path / "source.pt")
    wanted = WeightsSource.of({"source": [{"path": str(tmp_path / "source.pt")}]})
    with pytest.raises(UserError, match=r"features\.3\.bias has values that are not finite"):
        obtain_weights("alexnet", wanted, tmp_path / "a.pt", tmp_path)
    assert not (tmp_path / "a.pt").exists()
