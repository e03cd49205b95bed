"""Trackers, offline: what they record, and what happens without their package."""

import builtins
import json
import os
import socket
import sys

import pytest
from training_cases import make_spec, outputs, read_history, run, write_data

from vaebench.base.errors import UserError
from vaebench.models.state import load_weights


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


@pytest.fixture
def fresh_wandb(tmp_path, monkeypatch):
    """wandb without a key, and without what it remembers of earlier sessions of this process."""
    wandb = pytest.importorskip("wandb")
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("vaebench.training.tracking.WAIT", 1)
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.mark.parametrize("reach", ["no key", "no server"])
def test_wandb_without_a_key_or_out_of_reach_warns_and_trains_on(
    reach, fresh_wandb, data, tmp_path, monkeypatch, capfd
):
    if reach == "no server":
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]  # closed below: nobody listens there
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    paths = run(make_spec("VAE"), data, tmp_path, tracking="wandb")
    assert "Warning: tracking: wandb cannot be used (" in capfd.readouterr().err
    assert read_history(paths["history"], "eval", "mse")
    (recorded,) = (paths["state"] / "tracking/wandb").glob("offline-run-*/run-*.wandb")
    assert b"eval/mse" in recorded.read_bytes()


class Broken:
    """A tracking service's client whose functions fail from some moment on."""

    class Settings:
        model_fields = ()

    def __init__(self, fails):
        self.fails, self.logged = fails, []

    def _may_fail(self, what):
        if what in self.fails:
            raise ConnectionError(f"{what}: the service is away\nwith more lines")

    def init(self, **options):
        self._may_fail(f"init {options['mode']}")
        return self

    def log(self, values, step):
        self.logged.append(step)
        self._may_fail("log")

    def finish(self):
        self._may_fail("finish")


@pytest.mark.parametrize(
    "fails", [("init None", "init offline"), ("init None",), ("log",), ("finish",), ("log", "finish")]
)
def test_a_tracker_that_fails_at_any_moment_changes_nothing(fails, data, tmp_path, monkeypatch, capfd):
    broken = Broken(fails)
    monkeypatch.setitem(sys.modules, "wandb", broken)
    paths = run(make_spec("VAE"), data, tmp_path, tracking="wandb")
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("Warning: tracking: ")]
    assert len(said) == len(fails)
    assert all("the service is away" in line for line in said)
    assert broken.logged == ([] if "init offline" in fails else [0] if "log" in fails else [0, 0, 1, 1, 2, 2][1:])
    plain = run(make_spec("VAE"), data, tmp_path / "plain")
    weights = [load_weights(each["output"] / "model.pt")["model_state_dict"] for each in (paths, plain)]
    assert all((weights[0][key] == weights[1][key]).all() for key in weights[0])
