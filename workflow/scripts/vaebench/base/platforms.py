"""What differs between operating systems, one function each: Linux's way, and one that works elsewhere."""

import multiprocessing
import os
import resource
import sys
from multiprocessing.context import BaseContext

import numpy as np


def process_context() -> BaseContext:
    """How worker processes start: forked on Linux, which takes milliseconds; spawned elsewhere.

    On macOS a fork of a process whose libraries have threads may hang or die. A spawned worker imports the script that
    starts it, so that such a script does its work only when its `__name__` is `__main__`.
    """
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def read_row(file: int, row: np.ndarray, offset: int) -> None:
    """Fill a contiguous uint8 `row` with the bytes of an open file from `offset` on, past any mapping of the file.

    Raises EOFError when the file ends before.
    """
    if hasattr(os, "preadv"):
        count = os.preadv(file, [row.data], offset)
    else:
        data = os.pread(file, row.nbytes, offset)
        count = len(data)
        row.reshape(-1)[:count] = np.frombuffer(data, np.uint8)
    if count != row.nbytes:
        raise EOFError(f"{count} of {row.nbytes} bytes at {offset}: the file is shorter than it was")


def peak_memory_bytes() -> int:
    """The most memory that this process has had so far; Linux counts it in kilobytes, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
