"""Training on a GPU: the CPU's numbers, images kept there, bit-equal resume for every model, bf16 close to fp32."""

import json
import os
import signal

import numpy as np
import pytest
import torch
from training_cases import digits, make_spec, outputs, read_history, run, write_data

import vaebench.training.minibatches as minibatches
import vaebench.training.trainer as training
from vaebench.base.devices import to_unit_interval
from vaebench.base.errors import UserError
from vaebench.models.building import build_model
from vaebench.models.finiteness import ProbabilityGuard
from vaebench.models.interface import Moment
from vaebench.models.providers.pythae.catalog import MODELS
from vaebench.models.state import load_weights
from vaebench.training.numerics import prepare
from vaebench.training.objectives import make_objectives, step

pytestmark = pytest.mark.gpu
ALL = [*MODELS, *(f"QuantizedAE: {name}" for name in ("vq", "residual_vq", "lfq", "simvq")), "HRQVAE"]
RECORDABLE = [name for name, info in MODELS.items() if info.recordable]


def spec_of(model, **training):
    """A small training of a model, or of `QuantizedAE` with the quantiser after the colon."""
    name, _, quantizer = model.partition(": ")
    return make_spec(name, config={"quantizer": {quantizer: None}} if quantizer else None, **training)


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path, train_count=97, eval_count=33)


@pytest.mark.parametrize("model", ALL)
def test_first_losses_agree_with_the_cpu(model, device, data, tmp_path):
    """Before any step, with the same weights; the noise differs, so that means over 33 images differ a little."""
    found = []
    for name in ("cpu", device):
        paths = run(spec_of(model, device=name, epochs=1), data, tmp_path / name)
        found.append(read_history(paths["history"], "eval", "mse")[0])
    assert found[1] == pytest.approx(found[0], rel=1e-4)


@pytest.mark.parametrize("model", ALL)
def test_resumed_training_is_bit_equal(model, device, data, tmp_path, monkeypatch):
    """Stopped within an epoch, so that losses of both parts of it are put together."""
    spec = spec_of(model, device=device, epochs=3)
    look_after = training.Trainer._check_and_save

    def look_and_stop(trainer, epoch):
        if (epoch, trainer.progress.position) == (2, 3):
            os.kill(os.getpid(), signal.SIGTERM)
        look_after(trainer, epoch)

    with monkeypatch.context() as context:
        context.setattr(training.Trainer, "_check_and_save", look_and_stop)
        with pytest.raises(SystemExit) as stopped:
            run(spec, data, tmp_path / "killed")
    assert stopped.value.code == 128 + signal.SIGTERM
    state = torch.load(outputs(tmp_path / "killed")["state"] / "state.pt", weights_only=True)
    assert (state["progress"]["epoch"], state["progress"]["position"]) == (1, 3)
    weights = []
    for name in ("killed", "whole"):
        paths = run(spec, data, tmp_path / name)
        weights.append(load_weights(paths["output"] / "model.pt")["model_state_dict"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("room", [0.25, 0.0])
def test_images_kept_there_and_streamed_ones_are_the_same(room, device, monkeypatch):
    monkeypatch.setattr(minibatches, "ROOM", room)
    images = digits(50)
    batches = minibatches.Minibatches(images, 16, torch.device(device))
    assert (batches.resident is None) == (room == 0 or device == "cpu")
    found = torch.cat(list(batches.load(batches.order(shuffle=False)))).cpu()
    assert torch.equal(found, torch.from_numpy(images / np.float32(255)))


def test_bytes_become_the_same_numbers(device):
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_unit_interval(pixels.to(device)).cpu(), torch.from_numpy(pixels.numpy() / np.float32(255)))


@pytest.mark.parametrize("model", ["VAE", "VQVAE"])
def test_bfloat16_comes_close(model, device, data, tmp_path):
    """With the same weights, before any step: a rounding of 2^-9 in each of some ten layers."""
    found = []
    for precision in ("fp32", "bf16"):
        paths = run(make_spec(model, device=device, precision=precision, epochs=1), data, tmp_path / precision)
        found.append(read_history(paths["history"], "eval", "mse")[0])
    assert found[1] == pytest.approx(found[0], rel=10 * 2**-8)


@pytest.mark.parametrize("model", RECORDABLE)
def test_recorded_steps_give_the_same_weights(model, device, data, tmp_path):
    weights = []
    for recorded in (True, False):
        spec = make_spec(model, device=device, epochs=2, record_steps=recorded)
        paths = run(spec, data, tmp_path / str(recorded))
        weights.append(load_weights(paths["output"] / "model.pt")["model_state_dict"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_steps_are_recorded_while_a_thread_pins_the_next_images(device, data, tmp_path, monkeypatch):
    monkeypatch.setattr(minibatches, "ROOM", 0.0)
    weights = []
    for recorded in (True, False):
        paths = run(
            make_spec("VAE", device=device, batch_size=4, record_steps=recorded), data, tmp_path / str(recorded)
        )
        weights.append(load_weights(paths["output"] / "model.pt")["model_state_dict"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("loss", ["mse", "bce"])
@pytest.mark.parametrize("model", RECORDABLE)
def test_a_step_does_not_wait_for_the_device(model, loss, device):
    if loss == "bce" and "reconstruction_loss" not in MODELS[model].fields:
        pytest.skip("it has the mean squared error only")
    fields = {"reconstruction_loss": "bce"} if loss == "bce" else {}
    spec = make_spec(model, config=fields, device=device)
    network = prepare(build_model(spec, (1, 32, 32)), spec.training, torch.device(device))
    guard = ProbabilityGuard(network)
    objectives = make_objectives(network, spec.training)
    x = torch.rand(16, 1, 32, 32, device=device)
    for attempt in range(2):  # the first makes the optimizer's state and the workspaces
        if device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error" if attempt else "default")
        try:
            guard.begin()
            losses = network.losses(x, Moment(1, 16))
            step(objectives, losses, on_device=True)
            guard.losses(losses.terms)
        finally:
            if device == "cuda":
                torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("model", ["VAE", "VAEGAN", "Adversarial_AE", "RHVAE", "PoincareVAE"])
def test_divergence_is_one_message_and_leaves_the_device_usable(model, record, device, data, tmp_path):
    """The cross-entropy of what is no probability would end all work of this process on a GPU."""
    fields = {"reconstruction_loss": "bce"}
    adam = {"name": "Adam", "options": {}}
    hot = make_spec(model, config=fields, device=device, learning_rate=1e6, optimizer=adam, record_steps=record)
    with pytest.raises(UserError, match=r"seed 0: \w.* is \S.* in .*epoch \d; lower training.learning_rate"):
        run(hot, data, tmp_path / "hot")
    paths = run(make_spec(model, config=fields, device=device, epochs=1), data, tmp_path / "calm")
    assert np.isfinite(read_history(paths["history"], "eval", "loss")).all()


def test_provenance_names_the_device(device, data, tmp_path):
    paths = run(make_spec("VAE", device=device, epochs=1), data, tmp_path)
    described = json.loads(paths["provenance"].read_text())["environment"]["device"]
    if device == "cuda":
        assert described["name"] == torch.cuda.get_device_properties(0).name
        assert described["driver"]
    assert described["type"] == device
