"""A training's resumable state: written whole or not at all, and only read back for the same training."""

import hashlib
import json
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaebench.base import devices
from vaebench.base.durable import durable_path
from vaebench.base.files import atomic_path
from vaebench.base.formats import stamped, unstamped
from vaebench.base.sealed import Damaged, load_sealed, save_sealed
from vaebench.models.interface import Autoencoder
from vaebench.models.state import restore_model
from vaebench.training.objectives import Optimized
from vaebench.training.state_folder import ATTEMPTS, BEST, FAILURE, PREVIOUS, PROGRESS, STATE

PARTS = {"key", "progress", "model", "objectives", "random"}


@dataclass
class Progress:
    """How far a training has come.

    `epoch` epochs are finished. Of the next one, `order` holds the image indices of each batch as `Minibatches` gives
    them, `position` batches are done, and `records` (position, terms) are their losses, on the device, named by
    `terms`. In all epochs the model was updated `steps` times on `images_seen` images, repeated ones counted again.
    `rows` is the history so far: epoch, split, term and value of each row of history.csv. `seconds` were spent in the
    epoch that is under way, `total_seconds` in all that are finished; `precisions` are those computed in, in order.
    `best` is the epoch that is kept: its number, the value of the metric it was chosen by, and its weights, or None
    where the last epoch is kept, whose weights the model has. `average` is that of the weights (see `averaging`), on
    the device; empty where there is none.
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
    rows: list[dict[str, Any]] = field(default_factory=list)
    precisions: list[str] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict[str, Any])
    average: list[Tensor] = field(default_factory=list)


class Checkpoint:
    """The state folder of one training; `key` is a fingerprint of everything that decides its result.

    The last two states are kept, each with a checksum, so that one may be lost to damage. The folder must be `held`.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key = key
        for left_over in self.folder.glob(".*"):  # of a process that was killed while writing
            if left_over.is_file() and not left_over.name.startswith(".nfs"):
                left_over.unlink()
        self._found = self._last_good_state()
        self._bests = {self._best_path(self._found["progress"]["best"]) if self._found else None}

    def save(self, model: Autoencoder, objectives: Sequence[Optimized], progress: Progress) -> None:
        """Write the state beside the last one; the kept epoch's weights go to a file of their own, written once."""
        progress_so_far = vars(progress) | {"best": progress.best and (progress.best | {"state": None})}
        if progress.records:
            progress_so_far["records"] = torch.stack(progress.records).cpu()
        state = {
            "key": self.key,
            "progress": progress_so_far,
            "model": model.resumable_state(),
            "objectives": [_objective_state(objective) for objective in objectives],
            "random": random_states(_device_of(model)),
        }
        best = self._best_path(progress.best)
        if best is not None and not best.is_file():
            with durable_path(best) as temporary:
                save_sealed(progress.best["state"], temporary)
        path = self.folder / STATE
        with durable_path(path) as temporary:
            save_sealed(stamped("state", state), temporary)
            if path.exists():
                path.replace(self.folder / PREVIOUS)
        self._remove_bests(but={best, *self._bests})
        self._bests = {best}

    def precisions(self) -> list[str]:
        """The precisions in which the saved state was computed; none when there is no state to use."""
        return self._found["progress"]["precisions"] if self._found else []

    def restore(self, model: Autoencoder, objectives: Sequence[Optimized]) -> Progress | None:
        """Put the saved state into `model`, `objectives` and the random generators; None when there is none to use."""
        if self._found is None:
            return None
        state, self._found = self._found, None
        restore_model(model, state["model"])
        for objective, saved in zip(objectives, state["objectives"], strict=True):
            objective.optimizer.load_state_dict(saved["optimizer"])
            if objective.scheduler is not None:
                objective.scheduler.load_state_dict(saved["scheduler"])
        device = _device_of(model)
        set_random_states(state["random"], device)
        progress = Progress(**state["progress"])
        progress.records = [record.to(device) for record in progress.records]
        progress.average = [value.to(device) for value in progress.average]
        return progress

    def begin_attempt(self, description: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Add one to the list of attempts, and give the list."""
        attempts = [*self._earlier_attempts(), dict(description)]
        written = stamped("state", {"key": self.key, "attempts": attempts})
        with durable_path(self.folder / ATTEMPTS) as temporary:
            temporary.write_text(_text(written | {"sha256": _digest(written)}))
        (self.folder / FAILURE).unlink(missing_ok=True)
        return attempts

    def report(self, progress: Mapping[str, Any]) -> None:
        """Report the training's progress."""
        with atomic_path(self.folder / PROGRESS) as temporary:
            temporary.write_text(_text(stamped("state", progress)))

    def fail(self, failure: Mapping[str, Any]) -> None:
        """Record why the training cannot go on; the last good state stays."""
        with durable_path(self.folder / FAILURE) as temporary:
            temporary.write_text(_text(stamped("state", failure)))

    def finish(self) -> None:
        """The results are written: keep what is needed to write them again, until `state_folder.forget`."""
        for name in (PREVIOUS, FAILURE, PROGRESS):
            (self.folder / name).unlink(missing_ok=True)
        self._remove_bests(but=self._bests)

    def _last_good_state(self) -> dict[str, Any] | None:
        """The newest state that is whole; what is damaged, or belongs to another training, is removed and said."""
        damaged = False
        for path in (self.folder / STATE, self.folder / PREVIOUS):
            try:
                state = self._load(path)
            except FileNotFoundError:
                continue
            except Damaged as damage:
                print(f"{path} is damaged and removed: {damage}.", file=sys.stderr)
                path.unlink()
                damaged = True
                continue
            if state["key"] != self.key:
                print("The saved state belongs to other parameters, code or data: it is discarded.", file=sys.stderr)
                self._discard()
                return None
            if damaged:
                self._remove_bests(but={self._best_path(state["progress"]["best"])})
                done = f"{state['progress']['epoch']} epochs and {state['progress']['position']} steps"
                print(f"The training goes on from the state before ({done}).", file=sys.stderr)
            return state
        if damaged:
            print("There is no other state: the training starts anew.", file=sys.stderr)
            self._discard()
        return None

    def _load(self, path: Path) -> dict[str, Any]:
        """A state with the weights of its kept epoch; raises as `load_sealed`, and UserError for another format."""
        state = load_sealed(path)
        if not isinstance(state, dict):
            raise Damaged("it holds no mapping")
        state = unstamped("state", state, path)
        if set(state) != PARTS:
            raise Damaged(f"it must hold {', '.join(sorted(PARTS))}")
        best = self._best_path(state["progress"]["best"])
        if best is not None:
            try:
                state["progress"]["best"]["state"] = load_sealed(best)
            except FileNotFoundError as error:
                raise Damaged(f"{best.name}, the weights of its best epoch, is missing") from error
            except Damaged as damage:
                best.unlink()
                raise Damaged(f"{best.name}, the weights of its best epoch: {damage}") from damage
        return state

    def _discard(self) -> None:
        for name in (STATE, PREVIOUS):
            (self.folder / name).unlink(missing_ok=True)
        self._remove_bests(but=set())

    def _remove_bests(self, but: set[Path | None]) -> None:
        for former in set(self.folder.glob(BEST.format("*"))) - but:
            former.unlink()

    def _best_path(self, best: Mapping[str, Any]) -> Path | None:
        """Where the weights of the kept epoch are; None when there is none yet, or when the last epoch is kept."""
        return None if best.get("value") is None else self.folder / BEST.format(best["epoch"])

    def _earlier_attempts(self) -> list[dict[str, Any]]:
        path = self.folder / ATTEMPTS
        try:
            written = json.loads(path.read_text())
            if written.pop("sha256") == _digest(written):
                written = unstamped("state", written, path)
                return written["attempts"] if written["key"] == self.key else []
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        print(f"{path} is damaged: of the earlier attempts nothing is known.", file=sys.stderr)
        return []


def random_states(device: torch.device) -> dict[str, Any]:
    """The states of the global random generators, in types that load as plain data; of GPUs that of `device` only."""
    legacy: Any = np.random.get_state()
    name, keys, position, has_gauss, cached = legacy
    return {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "device": devices.random_state(device),
    }


def set_random_states(state: Mapping[str, Any], device: torch.device) -> None:
    """Put the global random generators into a state that `random_states` gave, perhaps for another device."""
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


def _objective_state(objective: Optimized) -> dict[str, Any]:
    scheduler = objective.scheduler
    return {
        "optimizer": objective.optimizer.state_dict(),
        "scheduler": None if scheduler is None else scheduler.state_dict(),
    }


def _text(content: object) -> str:
    return json.dumps(content, indent=2) + "\n"


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _device_of(model: Autoencoder) -> torch.device:
    return next(model.parameters()).device
