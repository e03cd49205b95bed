"""Training on a GPU: the same engine, device-resident data, bit-equal resume, bf16 close to fp32."""

import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from training_cases import digits, make_spec, read_history, run, write_data

import vaebench.minibatches as minibatches
import vaebench.training as training
from vaebench.models import build_model, load_weights
from vaebench.numerics import prepare
from vaebench.objectives import losses_of, make_objectives, step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; torch sees none"),
]
MODELS = ["VAE", "VQVAE", "VAEGAN", "FactorVAE", "RAE_L2", "RHVAE"]


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path, train_count=97, eval_count=33)


@pytest.mark.parametrize("model", MODELS)
def test_gpu_agrees_with_cpu(model, data, tmp_path):
    losses = []
    for device in ("cpu", "cuda"):
        paths = run(make_spec(model, device=device, epochs=1), data, tmp_path / device)
        losses.append(read_history(paths["history"], "eval", "loss")[0])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def _train_and_stop(spec, data, folder):
    look_after = training.Trainer._look_after

    def look_and_stop(trainer, epoch):
        if (epoch, trainer.progress.position) == (2, 3):
            os.kill(os.getpid(), signal.SIGTERM)
        look_after(trainer, epoch)

    training.Trainer._look_after = look_and_stop
    run(spec, data, folder)


@pytest.mark.parametrize("model", MODELS)
def test_resumed_training_is_bit_equal(model, data, tmp_path):
    spec = make_spec(model, device="cuda", epochs=3)
    process = multiprocessing.get_context("spawn").Process(
        target=_train_and_stop, args=(spec, data, tmp_path / "killed")
    )
    process.start()
    process.join()
    assert process.exitcode == 128 + signal.SIGTERM
    weights = []
    for name in ("killed", "whole"):
        paths = run(spec, data, tmp_path / name)
        weights.append(load_weights(paths["output"] / "model.pt")["model_state_dict"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("room", [0.25, 0.0])
def test_resident_and_streamed_batches_are_the_same(room, monkeypatch):
    monkeypatch.setattr(minibatches, "ROOM", room)
    images = digits(50)
    batches = minibatches.Minibatches(images, 16, torch.device("cuda"))
    assert (batches.resident is None) == (room == 0)
    found = torch.cat(list(batches.load(batches.order(shuffle=False)))).cpu()
    assert torch.equal(found, torch.from_numpy(images / np.float32(255)))


@pytest.mark.parametrize("model", ["VAE", "VQVAE", "VAEGAN"])
def test_bfloat16_reaches_the_same_mse(model, data, tmp_path):
    found = []
    for precision in ("fp32", "bf16"):
        paths = run(make_spec(model, device="cuda", precision=precision, epochs=10), data, tmp_path / precision)
        found.append(read_history(paths["history"], "eval", "mse")[-1])
    assert found[1] == pytest.approx(found[0], rel=0.05)


@pytest.mark.parametrize("model", ["VAE", "VQVAE"])
def test_a_step_does_not_wait_for_the_device(model):
    spec = make_spec(model, device="cuda")
    network = prepare(build_model(spec, (1, 32, 32)), spec["training"], torch.device("cuda"))
    objectives = make_objectives(network, spec["training"])
    x = torch.rand(16, 1, 32, 32, device="cuda")
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        output = network({"data": x}, epoch=1, dataset_size=16)
        step(objectives, output, losses_of(output, "single", spec["training"]))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_provenance_names_the_card(data, tmp_path):
    paths = run(make_spec("VAE", device="cuda", epochs=1), data, tmp_path)
    device = json.loads(paths["provenance"].read_text())["environment"]["device"]
    assert device["name"] == torch.cuda.get_device_properties(0).name
