"""Why a job ended before its work was done, and what to do about it: one line for a person.

A job that is not killed writes that line at the end of its log (`reason_of_error`). For one that was, it is made from
its exit status, the end of its log and what its scheduler says (`reason_of_end`).
"""

import errno
import os
import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vaebench.base.disk import FULL
from vaebench.base.errors import UserError

ERROR, STOPPED = "Error: ", "Stopped: "  # how the line begins that says why a job ended
DISK_FULL = os.EX_IOERR  # exit status of a job that could not even write that line
NEARLY_FULL = 16e6  # bytes
SILENT = "without saying why"  # the end of the line of a job of which nothing is known
UNEXPECTED = "(not expected: please report it with its log)"
AGAIN = "the same command goes on where it stopped"
PROFILE = "profiles/slurm/config.yaml"

# The system's words, and those of SQLite, torch.save (two), NumPy and Python's tempfile, which lose the error's number.
NO_SPACE = re.compile(
    r"No space left on device|File too large|Disk quota exceeded|disk is full|PytorchStreamWriter failed|iostream error"
    r"|\d+ requested and \d+ written|No usable temporary directory"
)
# The system's and torch's words, and those of the C++ library, CUDA's and OpenBLAS.
NO_MEMORY = re.compile(
    r"can(no|')t allocate memory|bad_alloc|out of memory|_ALLOC_FAILED|memory allocation .*failed", re.IGNORECASE
)
REFUSED = re.compile(
    r"sbatch failed\. The error message was '(.+?)'\.\n|failed with exception: (.+?)(?:For further|$)", re.DOTALL
)

# SLURM's words on a job's end, in its state and in its log, and their meaning; the first that fits counts.
SCHEDULER = (
    (
        re.compile(r"OUT_OF_ME|oom[-_]kill|exceeded (job |step )?memory limit", re.IGNORECASE),
        "it needed more memory than the {memory} it asked for; a retry asks for twice as much by itself, else raise "
        f"mem_mb of its rule in {PROFILE}",
    ),
    (
        re.compile("TIMEOUT|DUE TO TIME LIMIT|DEADLINE"),
        "its time limit of {minutes} was reached; a retry has twice as long by itself, else raise runtime of its rule "
        f"in {PROFILE}",
    ),
    (re.compile("NODE_FAIL|NODE FAILURE|BOOT_FAIL"), "its node failed"),
    (
        re.compile("User defined signal 1"),
        f"its time limit of {{minutes}} was near before its work had begun; raise runtime of its rule in {PROFILE}",
    ),
    (re.compile("PREEMPT"), "a job of higher priority took its place; SLURM starts it again, where it may"),
    (re.compile("CANCELLED"), "it was cancelled, by scancel or an admin"),
)
SIGNALS = {
    signal.SIGUSR1: (STOPPED, "its time limit was near, and it had nothing to save yet: it starts anew"),
    signal.SIGTERM: (STOPPED, "asked to end (SIGTERM): it starts anew"),
    signal.SIGINT: (STOPPED, f"interrupted by Ctrl-C: {AGAIN}"),
    signal.SIGBUS: (ERROR, "a bus error, most often because the disk or /dev/shm is full: free some space"),
    signal.SIGILL: (ERROR, "an illegal instruction: a package was built for another processor than this one"),
    signal.SIGSEGV: (ERROR, "crashed in compiled code (SIGSEGV); please report it with its log"),
    signal.SIGABRT: (ERROR, "aborted in compiled code (SIGABRT); please report it with its log"),
    signal.SIGFPE: (ERROR, "crashed in compiled code (SIGFPE); please report it with its log"),
}
GRACEFUL = [128 + number for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)]


@dataclass(frozen=True)
class Ending:
    """What is known of a job that did not finish.

    `status` is its exit status as a shell gives it, None where it is not known. `log` holds the last lines of its log,
    `scheduler` what SLURM said of it and wrote to its own log of it. `on_cluster` tells whether SLURM ran it. It asked
    for `memory_mb` and `minutes`. It writes to `folders`, `free_bytes` are free on the fullest disk of those, and
    `memory_kills` counts the processes that the kernel killed for lack of memory since the job began.
    """

    status: int | None = None
    log: Sequence[str] = ()
    scheduler: str = ""
    on_cluster: bool = False
    memory_mb: int | None = None
    minutes: int | None = None
    folders: Sequence[Path] = ()
    free_bytes: float = float("inf")
    memory_kills: int = 0


@contextmanager
def full_disk_as_user_error(folder: Path) -> Iterator[None]:
    """Turn an exception that a full disk under `folder` leads to into one clear `UserError`."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if any(_is_full_disk(cause) for cause in _causes(error)):
            raise UserError(no_space(folder)) from error
        raise


def reason_of_error(error: BaseException, *folders: Path) -> str | None:
    """What an exception means to the user that comes from a full disk or used-up memory; None for any other.

    `folders` are those that were written to.
    """
    for cause in _causes(error):
        number = cause.errno if isinstance(cause, OSError) else None
        words = _first_line(cause)
        if _is_full_disk(cause):
            return no_space(*_folder_written_to(cause), *folders)
        if isinstance(cause, MemoryError) or number == errno.ENOMEM or NO_MEMORY.search(words):
            return out_of_memory(words)
    return None


def out_of_memory(words: str) -> str:
    """A message that an allocation was refused: the words of the library, and what to do."""
    return f"out of memory ({words}); lower batch sizes or threads, or give this step more memory: {AGAIN}"


def no_space(*folders: Path) -> str:
    """A message that a disk is full: what is free on the disks of `folders`, the working and the temporary folder."""
    disks: dict[int, Path] = {}
    for folder in (*folders, Path.cwd(), Path(os.environ.get("TMPDIR", "/tmp"))):
        place = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
        disks.setdefault(place.stat().st_dev, place)
    free = [f"{shutil.disk_usage(place).free / 1e9:.2f} GB in {place}" for place in disks.values()]
    return f"no space left on the disk (free: {', '.join(free)}); free some or raise the quota: {AGAIN}"


def reason_of_end(ending: Ending) -> str:
    """The line, `Error: ...` or `Stopped: ...`, that says why the job ended and what to do; empty if nothing tells."""
    said = last_reason(ending.log)
    outer = _scheduler_reason(ending)
    if said and outer and said.startswith(STOPPED):
        return f"{said}. SLURM's reason: {outer}"
    if said:
        return said
    if refused := REFUSED.search(ending.scheduler):
        words = " ".join((refused[1] or refused[2]).split())
        return f"{ERROR}SLURM did not take the job: {words} (see docs/cluster.md, 'Troubleshooting by message')"
    if ending.status == DISK_FULL or ending.free_bytes < NEARLY_FULL:
        return ERROR + no_space(*ending.folders)
    if outer:
        return ERROR + outer
    reasons = [line for line in ending.scheduler.splitlines() if last_reason([line])]
    return last_reason(reasons) or _reason_of_status(ending)


def last_reason(lines: Sequence[str]) -> str:
    """The last line, when it says why its job ended; empty otherwise."""
    last = lines[-1].strip() if lines else ""
    return last if last.startswith((ERROR, STOPPED)) and not last.endswith(SILENT) else ""


def memory_kills() -> int:
    """How many processes the kernel has killed for lack of memory since it started; 0 where it does not say."""
    try:
        counts = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    except OSError:
        return 0
    return int(counts.get("oom_kill", 0))


def _scheduler_reason(ending: Ending) -> str:
    """What SLURM's words mean; empty where they say nothing of a cause."""
    memory = f"{ending.memory_mb} MB" if ending.memory_mb else "memory"
    minutes = f"{ending.minutes} minutes" if ending.minutes else "the job"
    for words, meaning in SCHEDULER:
        if words.search(ending.scheduler):
            return meaning.format(memory=memory, minutes=minutes)
    return ""


def _reason_of_status(ending: Ending) -> str:
    """The cause that the exit status implies, for a job without a message of its own or of SLURM."""
    number = (ending.status or 0) - 128
    if number == signal.SIGKILL:
        return ERROR + _killed(ending)
    last_words = [line.strip() for line in ending.log[-5:] if NO_MEMORY.search(line)]
    if last_words and (ending.status or 0) not in GRACEFUL:
        return ERROR + out_of_memory(last_words[-1])
    if number in SIGNALS:
        return "".join(SIGNALS[signal.Signals(number)])
    if any(line.startswith("Traceback ") for line in ending.log):
        return f"{ERROR}{ending.log[-1]} {UNEXPECTED}"
    return ""


def _killed(ending: Ending) -> str:
    """What SIGKILL, which no process can handle, most likely means: memory ran out, or a user sent it."""
    cause = f"killed{' by the kernel' if ending.memory_kills else ', most often'} since memory ran out"
    if ending.on_cluster:
        asked = f" (it asked for {ending.memory_mb} MB)" if ending.memory_mb else ""
        return f"{cause}{asked}: a retry asks for twice as much by itself, else raise mem_mb of its rule in {PROFILE}"
    return (
        f"{cause}: let fewer jobs run at once (a smaller --cores, or --resources mem_mb=N), lower batch sizes, "
        f"or take a machine with more memory; {AGAIN}"
    )


def _is_full_disk(error: BaseException) -> bool:
    return (isinstance(error, OSError) and error.errno in FULL) or bool(NO_SPACE.search(_first_line(error)))


def _folder_written_to(error: BaseException) -> list[Path]:
    """The folder of the file that an error names."""
    named = error.filename if isinstance(error, OSError) else None
    return [Path(os.fsdecode(named)).parent] if isinstance(named, str | bytes) else []


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and those it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
