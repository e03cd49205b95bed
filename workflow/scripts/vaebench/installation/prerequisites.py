"""What must hold before anything is installed; as a script it prints what does not, a line each.

`make install` runs it with the Python that it found, before there is an environment: it imports only the standard
library, and an old Python can read it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

PYTHONS = ((3, 11), (3, 15))  # first supported, first unsupported
COMPILED_FROM = (3, 14)  # from this Python on the locked release of immutables, which Snakemake needs, has no wheel
ENVIRONMENT_BYTES = 8e9  # .venv, or uv's cache where files of the cache cannot be linked; 7.0e9 were measured


def obstacles(folder: Path) -> Iterator[str]:
    """What stands against an environment in `folder`, an existing folder, and what to do about it; one line each."""
    python, (lowest, beyond) = sys.version_info[:2], PYTHONS
    name = f"python{_dotted(python)}"
    if not lowest <= python < beyond:
        yield (
            f"Python {_dotted(python)} is not supported: name another with make install PYTHON=python3.12; "
            f"{_dotted(lowest)} to {beyond[0]}.{beyond[1] - 1} will do"
        )
        return
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        yield (
            f"{sys.executable} cannot make a virtual environment, since venv or ensurepip is missing: install it "
            f"(Debian, Ubuntu: apt install {name}-venv), or name another Python with make install PYTHON=python3.12"
        )
    if python >= COMPILED_FROM and not _compiles():
        yield (
            f"on Python {_dotted(python)} the package immutables has to be compiled: install a C compiler and Python's "
            f"headers (Debian, Ubuntu: apt install gcc libc6-dev {name}-dev), or name an older Python with "
            "make install PYTHON=python3.13"
        )
    broken = broken_interpreter(folder.resolve() / ".venv/bin/python")
    if broken:
        yield broken
    yield from _full_disks(folder)


def broken_interpreter(path: Path | str) -> str | None:
    """What to say of a Python at a path that a shell would break, since Snakemake does not quote it; else None."""
    unsafe = re.search(r"[^\w@%+=,./-]", str(path))
    if unsafe is None:
        return None
    return (
        f"the path {path} has {unsafe[0]!r} in it, at which the shell of Snakemake's jobs would break it: move this "
        "folder to a path of letters, digits and . _ - only"
    )


def _full_disks(folder: Path) -> Iterator[str]:
    """Those of the folder's disk and the disk of uv's cache that have too little space."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    cache = Path(os.environ.get("UV_CACHE_DIR") or caches / "uv").expanduser()
    disk = next(path for path in (cache, *cache.parents) if path.exists())
    places = [(folder, folder / ".venv", "move this folder to a larger disk")]
    if disk.stat().st_dev != folder.stat().st_dev:
        places.append((disk, cache, "set UV_CACHE_DIR to a folder on a larger disk"))
    for place, part, advice in places:
        free = shutil.disk_usage(place).free
        if free < ENVIRONMENT_BYTES and free + _size(part) < ENVIRONMENT_BYTES:
            yield (
                f"{free / 1e9:.1f} GB are free at {place.resolve()}, the installation takes up to "
                f"{ENVIRONMENT_BYTES / 1e9:.0f} GB: free some space or {advice}"
            )


def _size(folder: Path) -> int:
    """Bytes of all files below a folder, which need not exist."""
    files = (Path(where, name) for where, _, names in os.walk(folder) for name in names)
    return sum(file.lstat().st_size for file in files)


def _compiles() -> bool:
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    return shutil.which(compiler) is not None and Path(sysconfig.get_path("include"), "Python.h").is_file()


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


def main() -> int:
    """Print the obstacles in this folder; 1 when there are any."""
    found = list(obstacles(Path()))
    for obstacle in found:
        print(obstacle, file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
