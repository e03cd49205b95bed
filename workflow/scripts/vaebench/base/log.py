"""What every job does around its one function: write its log, and end with a message a user can act on."""

import atexit
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from types import FrameType

from vaebench.base.errors import UserError
from vaebench.base.failures import AGAIN, DISK_FULL, ERROR, STOPPED, reason_of_error
from vaebench.base.interruption import CAUSES, Interrupted, handling, ignore_signals
from vaebench.base.orphans import ending_with_starter
from vaebench.base.own_code import place_of, told

BYTES_AT_THE_END = 16384


@contextmanager
def job(log: Path | str) -> Iterator[None]:
    """Send everything the block prints to the file `log`, whose last line says why, when it ended before its work.

    A `UserError` is that line alone. A full disk, used-up memory, SIGTERM and Ctrl-C are put into words. An exception
    out of the user's own code keeps its traceback, above the line that says so. Any other is a defect of this software
    and keeps its traceback. A warning that the time limit is near (SIGUSR1) is
    written down, and the job goes on: one that can save its state handles the signals itself (`Interruption`). A job
    whose starter was killed gets a SIGTERM.
    """
    redirect_output(Path(log))
    try:
        with handling(_on_signal, signal.SIGUSR1, signal.SIGTERM), ending_with_starter():
            yield
            with suppress(OSError):
                _second_name(Path(log)).unlink()
            atexit.register(ignore_signals)  # the work is done: nothing may make a failure of it now
    except UserError as error:
        _end(ERROR + " ".join(line.strip() for line in str(error).splitlines()))
    except Interrupted as stop:
        _end(f"{STOPPED}{stop.words}", stop.status)
    except KeyboardInterrupt:
        _end(f"{STOPPED}interrupted by Ctrl-C; {AGAIN}", 128 + signal.SIGINT)
    except Exception as error:
        if (reason := reason_of_error(error, Path(log).parent)) is not None:
            _end(f"{ERROR}{reason}")
        if place_of(error) is None:
            raise
        traceback.print_exception(error)
        _end(f"{ERROR}{' '.join(told(error).split())} (this is your own code, not vaebench's: mend it there)")


def redirect_output(log: Path) -> None:
    """Redirect standard output and error of this process, its children and its C libraries to `log`.

    The log of the attempt before is kept beside it, with `.previous` before its suffix. Snakemake removes a log before
    it starts another attempt, hence the hidden second name by which the log of one that failed is found again. The file
    descriptors themselves are replaced, since reassigning `sys.stderr` loses what compiled code writes.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    second_name = _second_name(log)
    with suppress(FileNotFoundError):
        (second_name if second_name.exists() else log).replace(log.with_suffix(f".previous{log.suffix}"))
    log.unlink(missing_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    with suppress(OSError):  # a file system without hard links
        os.link(log, second_name)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(line_buffering=True)


def _second_name(log: Path) -> Path:
    return log.with_name(f".{log.name}")


def tail(log: Path | str) -> list[str]:
    """The last lines of a log that say something, each progress bar as it stood last; none where there is no log.

    A bar overwrites itself after a carriage return.
    """
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - BYTES_AT_THE_END))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    states = ([state.rstrip() for state in line.split("\r")] for line in text.split("\n"))
    return [next(state for state in reversed(line) if state) for line in states if any(line)]


def last_line(log: Path | str) -> str:
    """The last line of a log that is not empty."""
    return next(reversed(tail(log)), "its log is empty").strip()


def _on_signal(number: int, frame: FrameType | None) -> None:
    """Write down a warning; end the process at a request to end. Not with print, which must not be entered twice."""
    if number == signal.SIGTERM:
        raise Interrupted(128 + number, f"{CAUSES[signal.Signals(number)]}; {AGAIN}")
    cause = CAUSES[signal.Signals(number)]
    os.write(2, f"\nWarning: {cause}; this step has no state to save and goes on until it is ended\n".encode())


def _end(words: str, status: int = 1) -> None:
    """End the process with these words as the last line of its log.

    Raises SystemExit with `status`, or with `DISK_FULL` where the words cannot be written.
    """
    try:
        print(words, file=sys.stderr)
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)  # else the interpreter tries again at its end, and its status is 120
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        raise SystemExit(DISK_FULL) from None
    raise SystemExit(status) from None
