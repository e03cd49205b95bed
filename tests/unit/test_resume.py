"""A training that is killed at any moment ends in the very weights and history of one that was left alone."""

import csv
import json
import multiprocessing
import os
import random
import signal
import time

import pytest
import torch
from processes import in_a_process
from training_cases import make_spec, outputs, run, with_training, write_data

import vaebench.training.trainer as training
from vaebench.base.errors import UserError
from vaebench.base.sealed import save_sealed
from vaebench.models.interface import Losses
from vaebench.models.providers.pythae.model import PythaeModel
from vaebench.models.state import load_weights

TIMING = {"images_per_second", "seconds", "peak_memory_mb"}
CASES = {
    "plateau": make_spec(
        "VAE", epochs=3, scheduler={"name": "ReduceLROnPlateau", "options": {"patience": 0, "factor": 0.5}}
    ),
    "ema_codebook": make_spec("VQVAE", config={"use_ema": True}, epochs=3),
    "adversarial": make_spec("FactorVAE", epochs=3),
    "coupled": make_spec("RAE_L2", epochs=3, scheduler={"name": "StepLR", "options": {"step_size": 1}}),
    "coupled_adversarial": make_spec(
        "VAEGAN", epochs=3, components={"discriminator": {"scheduler": {"name": "StepLR", "options": {"step_size": 1}}}}
    ),
    "metric": make_spec("RHVAE", epochs=3),
    "bounded": make_spec("RAE_SN", epochs=3),
    "vqgan": make_spec(
        "QuantizedAE",
        config={"quantizer": {"fsq": {"levels": [4, 4]}}, "l1": 0.5, "adversarial": {"start": 4, "channels": 8}},
        epochs=3,
    ),
    "averaged": make_spec("VAEGAN", epochs=3, select="last", ema={"decay": 0.9}),
    "by_step": make_spec(
        "VQVAE",
        config={"use_ema": True},
        epochs=3,
        ema={"decay": 0.9},
        warmup={"steps": 4},
        scheduler={"name": "OneCycleLR", "options": {}, "interval": "step"},
        augmentation={"horizontal_flip": True},
    ),
}


def train_and_kill(spec, data, folder, number, epoch, position, **more):
    """Train, and send this process a signal after the given step."""
    look_after = training.Trainer._check_and_save

    def look_and_kill(trainer, now):
        if (now, trainer.progress.position) == (epoch, position):
            os.kill(os.getpid(), number)
        look_after(trainer, now)

    training.Trainer._check_and_save = look_and_kill
    run(spec, data, folder, **more)


def result(folder):
    paths = outputs(folder)
    with open(paths["history"]) as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file) if row["term"] not in TIMING]
    return load_weights(paths["output"] / "model.pt"), rows


def assert_equal(one, other):
    assert one[1] == other[1]
    for key, value in one[0].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, other[0][key])
        else:
            assert all(torch.equal(tensor, other[0][key][name]) for name, tensor in value.items())


@pytest.mark.parametrize("name", CASES)
def test_killed_training_ends_as_if_left_alone(name, data, tmp_path):
    spec = CASES[name]
    run(spec, data, tmp_path / "whole")
    expected = result(tmp_path / "whole")
    for number, epoch, position in ((signal.SIGTERM, 1, 2), (signal.SIGUSR1, 2, 1), (signal.SIGKILL, 3, 2)):
        code = in_a_process(train_and_kill, spec, data, tmp_path / "killed", number, epoch, position)
        assert code == (-number if number == signal.SIGKILL else 128 + number)
        assert not (tmp_path / "killed/final_model").exists()
    run(spec, data, tmp_path / "killed")
    assert_equal(result(tmp_path / "killed"), expected)
    provenance = json.loads(outputs(tmp_path / "killed")["provenance"].read_text())
    assert len(provenance["attempts"]) == 4
    assert [attempt["resumed_at_epoch"] for attempt in provenance["attempts"]] == [0, 0, 1, 2]
    assert (provenance["steps"], provenance["images_seen"]) == (3 * 3, 3 * 40)  # 40 images in batches of 16


def test_state_saved_within_an_epoch_survives_a_kill(data, tmp_path):
    spec = make_spec("VQVAE", config={"use_ema": True}, checkpoint_minutes=0)
    run(spec, data, tmp_path / "whole")
    assert in_a_process(train_and_kill, spec, data, tmp_path / "killed", signal.SIGKILL, 1, 3) == -signal.SIGKILL
    state = torch.load(outputs(tmp_path / "killed")["state"] / "state.pt", weights_only=True)
    assert (state["progress"]["epoch"], state["progress"]["position"]) == (0, 2)
    run(spec, data, tmp_path / "killed")
    assert_equal(result(tmp_path / "killed"), result(tmp_path / "whole"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_stopped_after_the_last_batch_of_an_epoch(number, data, tmp_path):
    """Nothing of the epoch is left to train, but its losses are still to be recorded."""
    spec = make_spec("VAE", epochs=2)
    run(spec, data, tmp_path / "whole")
    assert in_a_process(train_and_kill, spec, data, tmp_path / "killed", number, 1, 3) == 128 + number
    state = torch.load(outputs(tmp_path / "killed")["state"] / "state.pt", weights_only=True)
    assert state["progress"]["position"] == len(state["progress"]["order"]) == 3
    run(spec, data, tmp_path / "killed")
    assert_equal(result(tmp_path / "killed"), result(tmp_path / "whole"))


def test_kills_at_random_moments(data, tmp_path):
    spec = make_spec("VAE", epochs=6, checkpoint_minutes=0)
    run(spec, data, tmp_path / "whole")
    chance = random.Random(0)
    context = multiprocessing.get_context("fork")
    for _ in range(4):
        process = context.Process(target=run, args=(spec, data, tmp_path / "killed"))
        process.start()
        time.sleep(chance.uniform(0.1, 0.8))
        process.kill()
        process.join()
    run(spec, data, tmp_path / "killed")
    assert_equal(result(tmp_path / "killed"), result(tmp_path / "whole"))


@pytest.mark.parametrize("change", ["parameter", "code", "data", "seed"])
def test_another_training_does_not_use_the_state(change, data, tmp_path, capfd):
    spec = make_spec("VAE", epochs=2)
    in_a_process(train_and_kill, spec, data, tmp_path / "run", signal.SIGTERM, 2, 1)
    assert (outputs(tmp_path / "run")["state"] / "state.pt").is_file()
    arguments = {"seed": 0, "code": "code"}
    if change == "parameter":
        spec = make_spec("VAE", epochs=2, learning_rate=2e-3)
    elif change == "data":
        (tmp_path / "other").mkdir()
        data = write_data(tmp_path / "other", train_count=42)
    else:
        arguments[change] = 1 if change == "seed" else "other code"
    run(spec, data, tmp_path / "run", **arguments)
    assert "discarded" in capfd.readouterr().err
    run(spec, data, tmp_path / "fresh", **arguments)
    assert_equal(result(tmp_path / "run"), result(tmp_path / "fresh"))


def test_the_same_training_goes_on_where_it_was(data, tmp_path, capfd):
    spec = make_spec("VAE", epochs=2)
    in_a_process(train_and_kill, spec, data, tmp_path, signal.SIGTERM, 2, 1)
    run(with_training(spec, checkpoint_minutes=3), data, tmp_path)
    assert "discarded" not in capfd.readouterr().err
    attempts = json.loads(outputs(tmp_path)["provenance"].read_text())["attempts"]
    assert [attempt["resumed_at_epoch"] for attempt in attempts] == [0, 1]


@pytest.mark.parametrize(
    ("precision", "advice"), [("fp32", r"rate\. The last"), ("bf16", r"rate, or set training\.precision to fp32\. The")]
)
def test_diverging_loss_names_term_and_step_and_keeps_the_state(precision, advice, data, tmp_path):
    sgd = {"name": "SGD", "options": {}}
    spec = make_spec("VAE", epochs=3, learning_rate=1e30, optimizer=sgd, precision=precision)
    with pytest.raises(UserError, match=rf"in step \d of epoch 1; lower training\.learning_{advice}"):
        run(spec, data, tmp_path)
    failure = json.loads((outputs(tmp_path)["state"] / "failure.json").read_text())
    assert failure["reason"] == "diverged"
    assert failure["step"] == 2
    assert failure["term"] in ("loss", "reconstruction_loss", "kl")
    assert not outputs(tmp_path)["output"].exists()


def test_the_last_good_state_stays_after_a_late_divergence(data, tmp_path, monkeypatch):
    real = PythaeModel.losses
    calls = []

    def sometimes_nan(*arguments):
        calls.append(1)
        losses = real(*arguments)
        terms = losses.terms | ({"kl": losses.terms["kl"] * float("nan")} if len(calls) >= 13 else {})
        return Losses(terms)

    monkeypatch.setattr(PythaeModel, "losses", sometimes_nan)
    spec = make_spec("VAE", epochs=4)
    with pytest.raises(UserError, match=r"kl is nan in step \d of epoch"):
        run(spec, data, tmp_path)
    state = torch.load(outputs(tmp_path)["state"] / "state.pt", weights_only=True)
    assert state["progress"]["epoch"] >= 1
    assert all(torch.isfinite(value).all() for value in state["model"]["model_state_dict"].values())


def test_a_state_of_another_kind_of_device_goes_on_here(data, tmp_path):
    """A job that is requeued may come to a node with fewer GPUs, or none."""
    spec = make_spec("VAE", epochs=2)
    in_a_process(train_and_kill, spec, data, tmp_path, signal.SIGTERM, 2, 1)
    path = outputs(tmp_path)["state"] / "state.pt"
    state = torch.load(path, weights_only=True)
    state["random"]["device"] = torch.zeros(16, dtype=torch.uint8)
    save_sealed(state, path)
    run(spec, data, tmp_path)
    attempts = json.loads(outputs(tmp_path)["provenance"].read_text())["attempts"]
    assert [attempt["resumed_at_epoch"] for attempt in attempts] == [0, 1]


def test_the_kept_weights_are_written_when_they_change(data, tmp_path):
    """A state is the model's size plus the optimizer's, whatever is kept besides."""
    spec = make_spec("VAE", epochs=3)
    in_a_process(train_and_kill, spec, data, tmp_path / "best", signal.SIGTERM, 3, 1)
    kept = outputs(tmp_path / "best")["state"]
    assert [path.name for path in kept.glob("best-*.pt")] == ["best-2.pt"]
    assert torch.load(kept / "state.pt", weights_only=True)["progress"]["best"]["state"] is None
    spec = make_spec("VAE", epochs=3, select="last")
    in_a_process(train_and_kill, spec, data, tmp_path / "last", signal.SIGTERM, 3, 1)
    assert not list(outputs(tmp_path / "last")["state"].glob("best-*.pt"))
    run(spec, data, tmp_path / "last")
    run(spec, data, tmp_path / "whole")
    assert_equal(result(tmp_path / "last"), result(tmp_path / "whole"))
