"""Trackers, offline: what they record, and what happens without their package."""

import builtins
import json

import pytest
from training_cases import make_spec, outputs, read_history, run, write_data

from vaebench.errors import UserError
from vaebench.models import load_weights


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path)


def test_tensorboard_records_the_history(data, tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    paths = run(make_spec("VAE"), data, tmp_path, tracking="tensorboard")
    events = event_accumulator.EventAccumulator(str(paths["state"] / "tracking/tensorboard"))
    events.Reload()
    found = [event.value for event in events.Scalars("eval/mse")]
    assert found == pytest.approx(read_history(paths["history"], "eval", "mse"), rel=1e-6)
    assert [event.step for event in events.Scalars("train/kl")] == [1, 2]


def test_wandb_offline_records_a_run(data, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    paths = run(make_spec("VAE"), data, tmp_path, tracking="wandb")
    recorded = list((paths["state"] / "tracking/wandb").glob("offline-run-*/run-*.wandb"))
    assert len(recorded) == 1
    assert b"eval/mse" in recorded[0].read_bytes()


def test_tracking_changes_no_result(data, tmp_path):
    pytest.importorskip("tensorboard")
    weights = []
    for name in ("none", "tensorboard"):
        paths = run(make_spec("VAE"), data, tmp_path / name, tracking=name)
        weights.append(load_weights(paths["output"] / "model.pt")["model_state_dict"])
    assert all((weights[0][key] == weights[1][key]).all() for key in weights[0])


@pytest.mark.parametrize(("name", "module"), [("wandb", "wandb"), ("tensorboard", "torch.utils.tensorboard")])
def test_missing_package_is_one_message(name, module, data, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(imported, *arguments, **options):
        if imported == module:
            raise ImportError(imported)
        return real(imported, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=f"pip install {name}, or set tracking: none"):
        run(make_spec("VAE"), data, tmp_path, tracking=name)


def test_unknown_tracker_is_refused(data, tmp_path):
    with pytest.raises(UserError, match="choose from none, wandb, tensorboard"):
        run(make_spec("VAE"), data, tmp_path, tracking="mlflow")
    assert json.loads((outputs(tmp_path)["state"] / "attempts.json").read_text())
