"""The folder in which a training keeps its state: who may use it, and when it is no longer needed.

The Snakefile reads this module, so that nothing heavy is imported here.
"""

import errno
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vaebench.base.disk import FULL
from vaebench.base.errors import UserError

STATE, PREVIOUS, BEST = "state.pt", "previous.pt", "best-{}.pt"
FAILURE, ATTEMPTS, PROGRESS, LOCK = "failure.json", "attempts.json", "progress.json", "lock"
LOOK_AGAIN = 0.5  # seconds
PATIENCE_ON_A_CLUSTER = 180  # seconds; as long as NFS keeps the locks of a node that is gone
HELD = (errno.EWOULDBLOCK, errno.EACCES)


@contextmanager
def held(folder: Path, patience: float | None = None) -> Iterator[None]:
    """In the block no other process can hold the folder; the system releases it when this process ends in any way.

    While another process has it, wait for up to `patience` seconds; without a number as long as it takes, but not for
    long in a job of SLURM, which would keep a GPU from others. Raises `UserError` that says who has it. Where the file
    system has no locks, a warning says so and the block runs without one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if patience is None:
        patience = PATIENCE_ON_A_CLUSTER if "SLURM_JOB_ID" in os.environ else float("inf")
    descriptor = _lock(folder / LOCK, patience)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def refusals_as_user_errors(folder: Path) -> Iterator[None]:
    """Turn an OSError about a file in the folder into one clear `UserError`, except where the disk is full."""
    try:
        yield
    except OSError as error:
        names = [Path(os.fsdecode(name)) for name in (error.filename2, error.filename) if name is not None]
        refused = next((name for name in names if folder in (name, name.parent)), None)
        if refused is None or error.errno in FULL:
            raise
        raise UserError(
            f"{refused}: {error.strerror}; the training keeps its state there: see that this user may write it, "
            "that no folder has its name, or delete it"
        ) from error


def forget(folder: Path) -> None:
    """Remove the state of a training whose results are accepted, unless a process is at work on it."""
    if not folder.is_dir():
        return
    with suppress(UserError, OSError), held(folder, patience=0):
        names = (STATE, PREVIOUS, ATTEMPTS, FAILURE, PROGRESS, LOCK)
        for path in (*folder.glob(BEST.format("*")), *(folder / name for name in names)):
            path.unlink(missing_ok=True)
    with suppress(OSError):  # what a tracker wrote stays
        folder.rmdir()


def _lock(path: Path, patience: float) -> int | None:
    """An open file with a lock on it; None where there are no locks."""
    since, waiting = time.monotonic(), False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 1000).decode(errors="replace") or "a process that has just begun"
            os.close(descriptor)
            if error.errno not in HELD:
                print(
                    f"Warning: {path} cannot be locked ({error.strerror}): see that no other process trains the same",
                    file=sys.stderr,
                )
                return None
            if time.monotonic() - since >= patience:
                raise UserError(
                    f"{path.parent} is in use by {holder}; wait until that ends, or end it, and start again: the "
                    f"training goes on where it stopped (where that machine is gone, delete {path})"
                ) from None
            if not waiting:
                print(f"{path.parent} is in use by {holder}: waiting until that ends", file=sys.stderr)
            waiting = True
            time.sleep(LOOK_AGAIN)
            continue
        if _is_at(path, descriptor):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, _this_process().encode())
            return descriptor
        os.close(descriptor)  # its last holder has removed it


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is the one that has this name now."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    return False


def _this_process() -> str:
    job = os.environ.get("SLURM_JOB_ID")
    where = f"{os.uname().nodename}, SLURM job {job}" if job else os.uname().nodename
    return f"process {os.getpid()} on {where}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"
