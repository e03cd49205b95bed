"""Pass a scheduler's warning on to the process that can act on it.

SLURM (with proctrack/cgroup, as nearly everywhere) sends the signals of a time limit, a preemption or `scancel` only to
the process that srun started. That process is Snakemake, which waits for its job and tells it nothing: a training would
be killed, and lose what it did since its last checkpoint, without ever hearing of it.
"""

import os
import re
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

WARNINGS = (signal.SIGTERM, signal.SIGUSR1)
SHELLS = ("bash", "sh", "dash")
LOOK_AGAIN = 0.5  # seconds


def relay_warnings() -> None:
    """From now on send every SIGTERM and SIGUSR1 of this process to its children too. Call it from the main thread.

    Python itself reports each caught signal to a pipe, so that a SIGTERM handler installed later, as Snakemake does,
    keeps working. SIGUSR1 would end this process unless it is caught, hence the empty handler; it would end a child as
    well, which therefore gets it once it is ready for it.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    threading.Thread(target=_relay, args=(reader,), daemon=True).start()


def _relay(reader: int) -> None:
    to_warn: list[psutil.Process] = []
    while True:
        if select.select([reader], [], [], LOOK_AGAIN if to_warn else None)[0]:
            number = os.read(reader, 1)[0]
            children = list(_workers(psutil.Process())) if number in WARNINGS else []
            if number == signal.SIGUSR1:
                to_warn = children
            else:
                for child in children:
                    _send(child, number)
        to_warn = [child for child in to_warn if not _warn(child)]


def _warn(child: psutil.Process) -> bool:
    """Send SIGUSR1 to a process that handles it; False when it does not yet."""
    try:
        status = Path(f"/proc/{child.pid}/status").read_text()
    except OSError:
        return True  # it ended
    caught = re.search(r"SigCgt:\s*(\w+)", status)
    if caught is None or not int(caught[1], 16) >> (signal.SIGUSR1 - 1) & 1:
        return False
    _send(child, signal.SIGUSR1)
    return True


def _send(child: psutil.Process, number: int) -> None:
    with suppress(psutil.NoSuchProcess):
        child.send_signal(number)


def _workers(process: psutil.Process) -> Iterator[psutil.Process]:
    """The children of a process, and for a shell among them its children.

    Bash before 5.1 waits for the script that Snakemake has it run, and would die of a signal in its place.
    """
    for child in process.children():
        try:
            below = child.children() if child.name() in SHELLS else []
        except psutil.NoSuchProcess:
            continue
        yield from _workers(child) if below else [child]
