"""Who works in a folder: a file that processes lock for as long as they live, whatever ends them.

The Snakefile reads this module, so that nothing heavy is imported here.
"""

import fcntl
import os
import time
from pathlib import Path


def enter(path: Path) -> tuple[int | None, str | None]:
    """Take a shared lock on the file at `path`, which the system releases when this process ends.

    Returns the open file that holds the lock and, when no other process holds it, what its last holder had written
    there. Both are None where there can be no lock, as on a file system without locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:  # a folder that is only read
        return None, None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        left = os.read(descriptor, 1000).decode(errors="replace")
    except BlockingIOError:
        left = None
    except OSError:
        os.close(descriptor)
        return None, None
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor, left


def sign(descriptor: int, how: str) -> None:
    """Write who this process is: `how` it works, its number, its machine and since when."""
    os.ftruncate(descriptor, 0)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    os.pwrite(descriptor, f"{how} process {os.getpid()} on {os.uname().nodename}, since {since}".encode(), 0)
