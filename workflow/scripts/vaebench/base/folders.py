"""The files in a folder and its subfolders, whatever else lies there."""

import hashlib
import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from vaebench.base.errors import UserError


def files_in(folder: Path | str) -> Iterator[tuple[bytes, os.DirEntry[bytes]]]:
    """Path inside the folder and entry of each file, in the order of their names, those of subfolders last.

    Links are followed. A folder that links lead to is read once: by its own name if it lies in `folder`. What begins
    with a dot is left out. UserError for a folder that cannot be listed.
    """
    waiting, links = [(os.fsencode(folder), b"")], deque[tuple[bytes, bytes]]()
    seen: set[tuple[int, int]] = set()
    while waiting or links:  # no recursion, whose depth Python limits
        path, inside = waiting.pop() if waiting else links.popleft()
        try:
            facts = os.stat(path)
            if (here := (facts.st_dev, facts.st_ino)) in seen:
                continue
            with os.scandir(path) as entries:
                found = sorted((entry for entry in entries if entry.name[:1] != b"."), key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(f"cannot read the folder {os.fsdecode(path)}: {error.strerror}") from error
        seen.add(here)
        folders: list[tuple[bytes, bytes]] = []
        for entry in found:
            if _is_folder(entry):
                (links if entry.is_symlink() else folders).append((entry.path, inside + entry.name + b"/"))
            else:
                yield inside + entry.name, entry
        waiting += reversed(folders)


def stat_of(path: bytes | Path | str) -> os.stat_result | None:
    """What is known of a regular file; None for what cannot be read as one: a pipe, a device, a link to nothing."""
    with suppress(OSError):
        facts = os.stat(path)
        return facts if stat.S_ISREG(facts.st_mode) else None
    return None


def folder_state(folder: Path | str) -> str:
    """SHA-256 over path, size and date of every file in a folder and its subfolders; hidden files do not count."""
    sha256 = hashlib.sha256()
    for path, entry in files_in(folder):
        facts = stat_of(entry.path)
        sha256.update(path + (f"\0{facts.st_size} {facts.st_mtime_ns}\n" if facts else "\0no file\n").encode())
    return sha256.hexdigest()


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    with suppress(OSError):  # a link to itself
        return entry.is_dir()
    return False
