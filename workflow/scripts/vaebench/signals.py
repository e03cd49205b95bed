"""Pass a scheduler's warning on to the process that can act on it.

SLURM (with proctrack/cgroup, as nearly everywhere) sends the signals of a time limit, a preemption or `scancel` only to
the process that srun started. That process is Snakemake, which waits for its job and tells it nothing: a training would
be killed, and lose what it did since its last checkpoint, without ever hearing of it.
"""

import os
import signal
import threading
from collections.abc import Iterator

import psutil

WARNINGS = (signal.SIGTERM, signal.SIGUSR1)
SHELLS = ("bash", "sh", "dash")


def relay_warnings() -> None:
    """From now on send every SIGTERM and SIGUSR1 of this process to its children too. Call it from the main thread.

    Python itself reports each caught signal to a pipe, so that a SIGTERM handler installed later, as Snakemake does,
    keeps working. SIGUSR1 would end this process unless it is caught, hence the empty handler.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    threading.Thread(target=_relay, args=(reader,), daemon=True).start()


def _relay(reader: int) -> None:
    while received := os.read(reader, 1):
        if received[0] in WARNINGS:
            _signal_children(received[0])


def _signal_children(number: int) -> None:
    for child in _workers(psutil.Process()):
        try:
            child.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _workers(process: psutil.Process) -> Iterator[psutil.Process]:
    """The children of a process, of a shell among them its children: bash before 5.1 waits for the script it started,
    and would die of a signal in its place."""
    for child in process.children():
        try:
            below = child.children() if child.name() in SHELLS else []
        except psutil.NoSuchProcess:
            continue
        yield from _workers(child) if below else [child]
