"""Optional live tracking of a training by Weights & Biases or TensorBoard; it never changes a result."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from vaebench.errors import UserError


class Tracker(Protocol):
    """Takes the values of each epoch."""

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """Record `values`, by names such as eval/mse, for `epoch`."""


class NoTracker:
    """Keeps nothing: history.csv has it all."""

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """Do nothing."""


@contextmanager
def open_tracker(name: str, folder: Path, run: str, description: Mapping) -> Iterator[Tracker]:
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


def _wandb(folder: Path, run: str, description: Mapping) -> Iterator[Tracker]:
    try:
        import wandb
    except ImportError as error:
        raise _missing("wandb") from error
    folder.mkdir(parents=True, exist_ok=True)
    session = wandb.init(
        project="vaebench", name=run, id=None, dir=str(folder), config=dict(description), reinit="create_new"
    )

    class Wandb:
        def log(self, values: Mapping[str, float], epoch: int) -> None:
            session.log(dict(values), step=epoch)

    try:
        yield Wandb()
    finally:
        session.finish()


def _tensorboard(folder: Path) -> Iterator[Tracker]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise _missing("tensorboard") from error
    writer = SummaryWriter(log_dir=str(folder / "tensorboard"))

    class TensorBoard:
        def log(self, values: Mapping[str, float], epoch: int) -> None:
            for key, value in values.items():
                writer.add_scalar(key, value, epoch)

    try:
        yield TensorBoard()
    finally:
        writer.close()


def _missing(package: str) -> UserError:
    return UserError(f"tracking: {package} needs the package {package}; pip install {package}, or set tracking: none")
