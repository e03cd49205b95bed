"""Files that are either whole or absent, and their checksums."""

import glob
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vaebench.base.disk import FULL


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` when the block succeeds, delete it when it fails.

    The name keeps the suffix of `path`, since some writers (NumPy, Matplotlib) go by it. What processes of this machine
    left under such names when they were killed is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    before, after = f".{path.stem}.{os.uname().nodename}-", path.suffix
    for left_over in path.parent.glob(f"{glob.escape(before)}*{glob.escape(after)}"):
        if not _is_process(left_over.name.removeprefix(before).removesuffix(after)):
            left_over.unlink(missing_ok=True)
    temporary = path.with_name(f"{before}{os.getpid()}{after}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in FULL:
            error.filename = error.filename or str(path)  # a write that fails does not say where
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_left_overs(path: Path | str) -> None:
    """Remove what killed processes left beside `path` under temporary names; nobody else may be writing `path`."""
    path = Path(path)
    for left_over in path.parent.glob(f".{path.stem}.*{path.suffix}"):
        if left_over.is_dir():
            shutil.rmtree(left_over)
        else:
            left_over.unlink()


def sha256_of(path: Path | str) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    return _digest(path, "sha256")


def md5_of(path: Path | str) -> str:
    """MD5 of a file's bytes, as 32 hexadecimal digits (the checksum that CelebA is published with)."""
    return _digest(path, "md5")


def _is_process(number: str) -> bool:
    """Whether a process of that number is there; True of what is no number."""
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OSError):
        return True
    return True


def _digest(path: Path | str, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def link(source: Path | str, target: Path | str) -> None:
    """Give the file or folder `source` the second name `target`, replacing what was there.

    A folder becomes a symbolic link; a file is copied where the file system has no links.
    """
    with atomic_path(target) as temporary:
        if Path(source).is_dir():
            temporary.symlink_to(Path(source).resolve(), target_is_directory=True)
            return
        try:
            os.link(Path(source).resolve(), temporary)
        except OSError:
            shutil.copy2(source, temporary)
