"""A training's resumable state: written whole or not at all, and only read back for the same training."""

import json
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from pythae.models import BaseAE
from torch import Tensor

from vaebench import devices
from vaebench.files import atomic_path
from vaebench.models import model_state, restore_model
from vaebench.objectives import Objective

STATE, FAILURE, ATTEMPTS, PROGRESS = "state.pt", "failure.json", "attempts.json", "progress.json"
BEST = "best-{}.pt"


@dataclass
class Progress:
    """How far a training has come.

    `epoch` epochs are finished. Of the next one, `order` holds the image indices of each batch, `position` batches are
    done, and `records` (position, terms) are their losses, on the device, named by `terms`. In all epochs the model was
    updated `steps` times on `images_seen` images, repeated ones counted again. `rows` is the history so far. `best` is
    the epoch that is kept: its number, the value of the metric it was chosen by, and its weights, or None where the
    last epoch is kept, whose weights the model has.
    """

    epoch: int = 0
    order: list[Tensor] = field(default_factory=list)
    position: int = 0
    records: list[Tensor] = field(default_factory=list)
    terms: list[str] = field(default_factory=list)
    steps: int = 0
    images_seen: int = 0
    seconds: float = 0.0
    total_seconds: float = 0.0
    rows: list[dict] = field(default_factory=list)
    precisions: list[str] = field(default_factory=list)
    best: dict = field(default_factory=dict)


class Checkpoint:
    """The state folder of one training; `key` is a fingerprint of everything that decides its result."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key = key
        for left_over in self.folder.glob(".*"):  # of a process that was killed while writing
            left_over.unlink()

    def save(self, model: BaseAE, objectives: Sequence[Objective], progress: Progress) -> None:
        """Write the state, replacing the last one; the kept epoch's weights go to a file of their own, written once."""
        progress_so_far = vars(progress) | {"best": progress.best and progress.best | {"state": None}}
        if progress.records:
            progress_so_far["records"] = torch.stack(progress.records).cpu()
        state = {
            "key": self.key,
            "progress": progress_so_far,
            "model": model_state(model),
            "objectives": [_objective_state(objective) for objective in objectives],
            "random": random_state(_device_of(model)),
        }
        best = self._best_path(progress)
        if best is not None and not best.is_file():
            with atomic_path(best) as temporary:
                torch.save(progress.best["state"], temporary)
        with atomic_path(self.folder / STATE) as temporary:
            torch.save(state, temporary)
        for former in set(self.folder.glob(BEST.format("*"))) - {best}:
            former.unlink()

    def precisions(self) -> list[str]:
        """The precisions in which the saved state was computed; none when there is no state to use."""
        path = self.folder / STATE
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True) if path.is_file() else {"key": None}
        return state["progress"]["precisions"] if state["key"] == self.key else []

    def restore(self, model: BaseAE, objectives: Sequence[Objective]) -> Progress | None:
        """Put the saved state into `model`, `objectives` and the random generators; None when there is none to use."""
        path = self.folder / STATE
        if not path.is_file():
            return None
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["key"] != self.key:
            print("The saved state belongs to other parameters, code or data: it is discarded.", file=sys.stderr)
            path.unlink()
            (self.folder / ATTEMPTS).unlink(missing_ok=True)
            for former in self.folder.glob(BEST.format("*")):
                former.unlink()
            return None
        restore_model(model, state["model"])
        for objective, saved in zip(objectives, state["objectives"], strict=True):
            objective.optimizer.load_state_dict(saved["optimizer"])
            if objective.scheduler is not None:
                objective.scheduler.load_state_dict(saved["scheduler"])
        device = _device_of(model)
        set_random_state(state["random"], device)
        progress = Progress(**state["progress"])
        progress.records = [record.to(device) for record in progress.records]
        best = self._best_path(progress)
        if best is not None:
            progress.best["state"] = torch.load(best, map_location="cpu", weights_only=True)
        return progress

    def begin_attempt(self, description: Mapping) -> list[dict]:
        """Add one to the list of attempts, and give the list."""
        path = self.folder / ATTEMPTS
        attempts = [*(json.loads(path.read_text()) if path.is_file() else []), dict(description)]
        self._write(ATTEMPTS, attempts)
        (self.folder / FAILURE).unlink(missing_ok=True)
        return attempts

    def report(self, progress: Mapping) -> None:
        """Tell whoever watches how far the training is."""
        self._write(PROGRESS, progress)

    def fail(self, failure: Mapping) -> None:
        """Record why the training cannot go on; the last good state stays."""
        self._write(FAILURE, failure)

    def clear(self) -> None:
        """Remove the state of a training that is finished."""
        for name in (STATE, ATTEMPTS, FAILURE, PROGRESS):
            (self.folder / name).unlink(missing_ok=True)
        for best in self.folder.glob(BEST.format("*")):
            best.unlink()

    def _best_path(self, progress: Progress) -> Path | None:
        """Where the weights of the kept epoch are; None when there is none yet, or when the last epoch is kept."""
        value = progress.best.get("value")
        return None if value is None else self.folder / BEST.format(progress.best["epoch"])

    def _write(self, name: str, content: object) -> None:
        with atomic_path(self.folder / name) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")


def random_state(device: torch.device) -> dict:
    """The states of the global random generators, in types that load as plain data; of GPUs that of `device` only."""
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "device": devices.random_state(device),
    }


def set_random_state(state: Mapping, device: torch.device) -> None:
    """Put the global random generators into a state that `random_state` gave, perhaps for another device."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    devices.set_random_state(state["device"], device)


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators, as pythae does when it begins to train."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _objective_state(objective: Objective) -> dict:
    scheduler = objective.scheduler
    return {
        "optimizer": objective.optimizer.state_dict(),
        "scheduler": None if scheduler is None else scheduler.state_dict(),
    }


def _device_of(model: BaseAE) -> torch.device:
    return next(model.parameters()).device
