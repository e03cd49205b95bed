"""Where every training of a study stands (make status): `vaebench status config/config.yaml`."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaebench.base.failures import STOPPED, last_reason
from vaebench.base.layout import state_folder
from vaebench.base.log import last_line, tail
from vaebench.cluster.progress import duration_in_words, read_progress, seconds_to_go
from vaebench.config.plan import Training, Tuning, command_line, config_or_exit, trainings, tunings
from vaebench.config.sections import suites
from vaebench.tuning.journal import finished_trials

FRESH = 120  # seconds; a log written to more recently belongs to a training that runs without a scheduler
RUNNING = ("RUNNING", "COMPLETING")
WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "CONFIGURING", "SUSPENDED", "PREEMPTED")


@dataclass(frozen=True)
class Job:
    """A job in the scheduler's queue: its id and state in SLURM's words."""

    id: str
    state: str


@dataclass(frozen=True)
class Status:
    """One training: evaluated, trained, running, queued, stopped, failed or pending, and what is to be said of it."""

    name: str
    state: str
    note: str = ""


def status_of(
    training: Training, job: Job | None, log: Path, measured: tuple[str, ...], now: float | None = None
) -> Status:
    """State of one training from its files and its job.

    `log` is the training's log file, `measured` are the suites its metrics have, `now` is seconds since 1970.
    """
    if (training.folder / "history.csv").is_file():
        missing = [suite for suite in measured if not (training.folder / "metrics" / f"{suite}.csv").is_file()]
        return Status(training.name, "trained" if missing else "evaluated")
    now = time.time() if now is None else now
    progress = read_progress(training.folder)
    reached = f"epoch {progress['epoch']} of {progress['epochs']}" if progress else "no epoch finished"
    if job and job.state in RUNNING:
        return Status(training.name, "running", f"job {job.id}, {reached}{_remaining(progress)}")
    if job and job.state in WAITING:
        return Status(training.name, "queued", f"job {job.id}, {job.state.lower()}, {reached}")
    if not log.is_file():
        return Status(training.name, "pending")
    ended = (state_folder(training.folder) / "failure.json").is_file() or bool(last_reason(tail(log)))
    if not ended and now - log.stat().st_mtime < FRESH:
        return Status(training.name, "running", f"without a scheduler, {reached}{_remaining(progress)}")
    reason = last_line(log)
    state = "stopped" if reason.startswith(STOPPED) else "failed"
    return Status(training.name, state, f"{reached}; {reason}; see {log}")


def status_of_tuning(tuning: Tuning, jobs: Sequence[Job], logs: Sequence[Path], now: float | None = None) -> Status:
    """State of a run's tuning, from the jobs and the log files of its workers."""
    if tuning.is_done:
        return Status(tuning.name, "chosen")
    made = f"{finished_trials(tuning.folder / 'journal.log')} of {tuning.settings.trials} trials"
    for state, states in (("running", RUNNING), ("queued", WAITING)):
        if found := [job.id for job in jobs if job.state in states]:
            return Status(tuning.name, state, f"job {', '.join(found)}, {made}")
    written = {log: log.stat().st_mtime for log in logs if log.is_file()}
    if not written:
        return Status(tuning.name, "pending")
    log = max(written, key=lambda path: written[path])
    if not last_reason(tail(log)) and (time.time() if now is None else now) - written[log] < FRESH:
        return Status(tuning.name, "running", f"without a scheduler, {made}")
    reason = last_line(log)
    state = "stopped" if reason.startswith(STOPPED) else "failed"
    return Status(tuning.name, state, f"{made}; {reason}; see {log}")


def read_queue(text: str, folder: Path) -> dict[str, Job]:
    """The jobs of the study in `folder` by their comment, from squeue's `%i|%T|%k|%Z` (id, state, comment, folder)."""
    jobs = {}
    for line in text.splitlines():
        identifier, state, comment, workdir = (line.split("|") + [""] * 4)[:4]
        if Path(workdir) == folder and state in (*RUNNING, *WAITING):
            jobs[comment] = Job(identifier, state)
    return jobs


def survey(config: Mapping[str, Any], queue: Mapping[str, Job], folder: Path = Path()) -> list[Status]:
    """The status of every tuning and training of the study in `folder`."""
    logs = folder / config["results_dir"] / config["dataset"]["name"] / "logs"
    workers = range(1, (config["tuning"] or {}).get("workers", 1) + 1)
    statuses = []
    # The executor plugin names a job by its rule, then by the wildcards in the order of the output's path.
    for tuning in tunings(config, folder):
        jobs = [queue.get(f"rule_tune_wildcards_{tuning.run}_{worker}") for worker in workers]
        files = [logs / "tune" / tuning.run / f"worker{worker}.log" for worker in workers]
        statuses.append(status_of_tuning(tuning, [job for job in jobs if job], files))
    for training in trainings(config, folder):
        job = queue.get(f"rule_train_wildcards_{training.run}_{training.seed}")
        log = logs / "train" / training.run / f"seed{training.seed}.log"
        statuses.append(status_of(training, job, log, tuple(suites(config))))
    return statuses


def table(statuses: list[Status], queue: Mapping[str, Job]) -> str:
    """The statuses as text: a line per training, then the counts and the other jobs of the study."""
    width = max((len(status.name) for status in statuses), default=0)
    lines = [f"{status.name:<{width}}  {status.state:<9}  {status.note}".rstrip() for status in statuses]
    counts = Counter(status.state for status in statuses)
    others = Counter(
        comment.removeprefix("rule_") for comment in queue if not comment.startswith(("rule_train_", "rule_tune_"))
    )
    lines.append(", ".join(f"{count} {state}" for state, count in counts.most_common()) or "no trainings planned")
    if others:
        lines.append("other jobs in the queue: " + ", ".join(f"{count} {name}" for name, count in others.items()))
    return "\n".join(lines)


def _remaining(progress: Mapping[str, Any] | None) -> str:
    """Time to go by the last epoch's seconds; empty before the first epoch is done."""
    seconds = seconds_to_go(progress)
    return "" if seconds is None else f", about {duration_in_words(seconds)} to go"


def _squeue() -> str:
    """The user's jobs, or nothing where there is no SLURM."""
    command = ["squeue", "--noheader", "--user", str(os.getuid()), "--format", "%i|%T|%k|%Z"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        return ""
    except subprocess.TimeoutExpired:
        print("warning: squeue did not answer within a minute; jobs are left out", file=sys.stderr)
        return ""
    if result.returncode:
        reason = next(iter(result.stderr.strip().splitlines()[-1:]), f"exit status {result.returncode}")
        print(f"warning: {reason.removeprefix('squeue: ')} (squeue); jobs are left out", file=sys.stderr)
    return result.stdout


def main(arguments: list[str] | None = None) -> int:
    """Print where every training of a study stands."""
    files = command_line("vaebench status", main.__doc__ or "").parse_args(arguments).config
    config = config_or_exit(files, to_run=False)
    queue = read_queue(_squeue(), Path.cwd())
    print(table(survey(config, queue), queue))
    return 0
