"""End a job whose parent process ended: a second start of the work would run beside that job."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from vaebench.base.signals import SHELLS

LOOK_AGAIN = 0.5  # seconds


@contextmanager
def ending_with_starter() -> Iterator[None]:
    """In the block this process gets a SIGTERM when the process that started it has ended, for example by SIGKILL."""
    starter, done = _starter(), threading.Event()
    if starter is not None:
        threading.Thread(target=_watch, args=(starter, done), daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _starter() -> psutil.Process | None:
    """The parent, or for a shell its parent: Bash before 5.1 waits for the script that it was told to run."""
    try:
        parent = psutil.Process().parent()
        while parent is not None and parent.name() in SHELLS:
            parent = parent.parent()
    except psutil.Error:
        return None
    return parent


def _watch(starter: psutil.Process, done: threading.Event) -> None:
    while not done.wait(LOOK_AGAIN):
        if _has_ended(starter):
            os.kill(os.getpid(), signal.SIGTERM)
            return


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
