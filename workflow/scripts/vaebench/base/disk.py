"""Turn an OSError of the file system into a message with advice."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vaebench.base.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Disk:
    """A disk that a study writes to: the study's folders on it, bytes still to be written there, and free bytes."""

    folder: str
    needed: float
    free: float


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn a failure to write below `folder` into one clear UserError."""
    try:
        yield
    except OSError as error:
        raise disk_error(folder, error) from error


@contextmanager
def read_errors(path: Path | str) -> Iterator[None]:
    """Turn a failure to read the file at `path` into one clear UserError."""
    try:
        yield
    except OSError as error:
        raise read_error(path, error) from error


def read_error(path: Path | str, error: OSError) -> UserError:
    """The message for a file that cannot be read."""
    return UserError(
        f"cannot read {path}: {error.strerror or error}; check that it is there, may be read, and that its disk is "
        "sound and connected"
    )


def disk_error(folder: Path, error: OSError) -> UserError:
    """The message for a failed write below `folder`."""
    if error.errno in FULL:
        advice = "free some space or raise the quota, then run again; what was done is kept and nothing was replaced"
        return UserError(f"no space left to write to {folder} ({error.strerror}): {advice}")
    file = error.filename if isinstance(error.filename, str | bytes) else None
    if file and not Path(os.fsdecode(file)).absolute().is_relative_to(folder.absolute()):
        return UserError(f"cannot use {os.fsdecode(file)}: {error.strerror}; check that it is there and may be read")
    return UserError(
        f"cannot write to {folder}: {error.strerror or error}; check that the folder exists and is writable"
    )


def need_space(folder: Path, needed: int) -> None:
    """UserError when fewer than `needed` bytes are free at `folder`, an existing folder."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"no space left to write to {folder}: {free / 1e9:.2f} GB are free, {needed / 1e9:.2f} GB are needed. "
            "Free some space, or put the data on a larger disk; nothing was replaced"
        )
