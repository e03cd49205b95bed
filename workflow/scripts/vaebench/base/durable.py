"""Files that are on the disk for good before they take another's place."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vaebench.base.files import atomic_path


@contextmanager
def durable_path(path: Path | str) -> Iterator[Path]:
    """`atomic_path`, but after a power cut too there is either the former file or the whole new one."""
    with atomic_path(path) as temporary:
        yield temporary
        sync(temporary)
    sync(Path(path).parent)


def sync(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some file systems cannot do it for folders
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Have the system write a folder and all that is in it to the disk."""
    for path in (*folder.rglob("*"), folder):
        sync(path)
