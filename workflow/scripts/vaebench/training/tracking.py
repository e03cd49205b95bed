"""Optional live tracking of a training by Weights & Biases or TensorBoard; it never changes a result."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from vaebench.base.errors import UserError

WAIT = 30  # seconds that a training waits for a tracking service at its start, and four times as long at its end


class Tracker(Protocol):
    """Takes the values of each epoch."""

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """Record `values`, by names such as eval/mse, for `epoch`."""


class NoTracker:
    """Keeps nothing: history.csv has it all."""

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """Do nothing."""


@contextmanager
def open_tracker(name: str, folder: Path, run: str, description: Mapping[str, Any]) -> Iterator[Tracker]:
    """The tracker `name` (none, wandb, tensorboard), writing below `folder`; closed at the end of the block.

    Raises `UserError` for an unknown tracker or one whose package is not installed.
    """
    if name == "none":
        yield NoTracker()
    elif name == "wandb":
        yield from _wandb(folder, run, description)
    elif name == "tensorboard":
        yield from _tensorboard(folder)
    else:
        raise UserError(f"tracking: {name!r} is unknown; choose from none, wandb, tensorboard")


class Lenient:
    """Hands values on to another tracker until that fails, which is said once: tracking never ends a training."""

    def __init__(self, name: str, record: Callable[[Mapping[str, float], int], None]) -> None:
        self._name, self._record = name, record

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """Record `values`, by names such as eval/mse, for `epoch`."""
        with self.tolerated():
            self._record(values, epoch)

    @contextmanager
    def tolerated(self) -> Iterator[None]:
        """Turn whatever the tracker raises in the block into a warning, and record no more."""
        try:
            yield
        except Exception as error:  # a service that is away, a full disk, a defect of the tracker's
            _warn(f"{self._name} failed ({_line(error)}); the training goes on without it")
            self._record = lambda values, epoch: None


def _wandb(folder: Path, run: str, description: Mapping[str, Any]) -> Iterator[Tracker]:
    try:
        import wandb
    except ImportError as error:
        raise _missing("wandb") from error
    folder.mkdir(parents=True, exist_ok=True)
    session = _wandb_session(wandb, folder, run, description)
    if session is None:
        yield NoTracker()
        return
    tracker = Lenient("wandb", lambda values, epoch: session.log(dict(values), step=epoch))
    try:
        yield tracker
    finally:
        with tracker.tolerated():
            session.finish()


def _wandb_session(wandb: ModuleType, folder: Path, run: str, description: Mapping[str, Any]) -> Any:
    """A session with the service; without a key, or out of its reach, one that is recorded in `folder`, or None."""
    limits = {"init_timeout": WAIT, "login_timeout": WAIT, "finish_timeout": 4 * WAIT}
    known = {name: value for name, value in limits.items() if name in wandb.Settings.model_fields}
    session = {"project": "vaebench", "name": run, "dir": str(folder), "config": dict(description)}
    for mode in (None, "offline"):
        try:
            settings = wandb.Settings(**known)
            return wandb.init(**session, mode=mode, reinit="create_new", settings=settings)
        except Exception as error:  # of the service, the network, or the settings of this account
            then = "recording offline, for `wandb sync`" if mode is None else "the training goes on without it"
            _warn(f"wandb cannot be used ({_line(error)}); {then}")
    return None


def _tensorboard(folder: Path) -> Iterator[Tracker]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise _missing("tensorboard") from error
    try:
        writer = SummaryWriter(log_dir=str(folder / "tensorboard"))
    except OSError as error:
        _warn(f"tensorboard cannot be used ({_line(error)}); the training goes on without it")
        yield NoTracker()
        return

    def record(values: Mapping[str, float], epoch: int) -> None:
        for key, value in values.items():
            writer.add_scalar(key, value, epoch)

    tracker = Lenient("tensorboard", record)
    try:
        yield tracker
    finally:
        with tracker.tolerated():
            writer.close()


def _warn(words: str) -> None:
    print(f"Warning: tracking: {words}", file=sys.stderr)


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def _missing(package: str) -> UserError:
    return UserError(f"tracking: {package} needs the package {package}; pip install {package}, or set tracking: none")
