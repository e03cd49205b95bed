"""Files that are either whole or absent, and their checksums."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` when the block succeeds, delete it when it fails.

    The name keeps the suffix of `path`, since some writers (NumPy, Matplotlib) go by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
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


def remember_md5(path: Path, md5: str) -> None:
    """Note the checksum of the file at `path` beside it, for as long as it keeps its size and time of change."""
    with suppress(OSError), atomic_path(_note(path)) as temporary:  # a shared folder may be read-only
        temporary.write_text(f"{md5} {_state(path)}\n")


def known_md5(path: Path) -> str:
    """The MD5 that was remembered of the file as it is now, or else computed."""
    with suppress(OSError, ValueError):
        md5, state = _note(path).read_text().split(maxsplit=1)
        if state.strip() == _state(path):
            return md5
    return md5_of(path)


def _note(path: Path) -> Path:
    return path.with_name(f".{path.name}.md5")


def _state(path: Path) -> str:
    facts = path.stat()
    return f"{facts.st_size} bytes, changed at {facts.st_mtime_ns} ns"


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
