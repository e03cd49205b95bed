"""Pass a scheduler's warning on to the process that can act on it.

SLURM (with proctrack/cgroup, as nearly everywhere) sends the signals of a time limit, a preemption or `scancel` only to
the process that srun started. That process is Snakemake, which waits for its job and tells it nothing: a training would
be killed, and lose what it did since its last checkpoint, without ever hearing of it.
"""

import os
import signal
import threading

import psutil

WARNINGS = (signal.SIGTERM, signal.SIGUSR1)


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
    for child in psutil.Process().children():
        try:
            child.send_signal(number)
        except psutil.NoSuchProcess:
            continue
