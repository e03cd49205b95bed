"""The jobs of a run, from its records: which are running, what was timed, and how one ended."""

import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from logging import LogRecord
from pathlib import Path

from vaebench.base.failures import Ending, last_reason, memory_kills, reason_of_end
from vaebench.base.log import tail
from vaebench.cluster.progress import Running, read_progress, seconds_to_go, time_left


@dataclass
class Job:
    """A job that was started: what it does in words, its rule and files, what it asked for, and since when it works."""

    title: str
    rule: str
    logs: Sequence[str]
    outputs: Sequence[str]
    memory_mb: int | None = None
    minutes: int | None = None
    attempt: int = 1
    began: float = field(default_factory=time.monotonic)
    kills: int = field(default_factory=memory_kills)
    logs_before: Sequence[tuple] = ()

    def __post_init__(self) -> None:
        self.logs_before = [_state(log) for log in self.logs]

    def written(self) -> list[tuple[str, list[str]]]:
        """Its logs with their last lines; not those of the attempt before, where this one died before it wrote any."""
        pairs = zip(self.logs, self.logs_before, strict=True)
        return [(log, tail(log)) for log, before in pairs if _state(log) != before]

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    @property
    def progress(self) -> dict | None:
        """How far a training is; None for other jobs."""
        return read_progress(Path(self.outputs[0]).parent)

    def how_far(self) -> str:
        """What it does, with the epoch of a training."""
        progress = self.progress
        return self.title + (f" (epoch {progress['epoch']} of {progress['epochs']})" if progress else "")


class Jobs:
    """The jobs that were started, by the id that Snakemake gives them."""

    def __init__(self) -> None:
        self.started: dict[int, Job] = {}
        self.working: dict[int, Job] = {}
        self.planned: Counter[str] = Counter()
        self.total = 0
        self.earlier: Mapping[str, Sequence[float]] = {}
        self._timed: dict[str, list[float]] = {}
        self._ended: Counter[str] = Counter()
        self.done = 0
        self._most_at_once = 1

    def start(self, record: LogRecord) -> Job:
        """Note that the job of a JOB_INFO record begins, or begins again."""
        attempt = 1
        if record.jobid in self.started:
            attempt += self.started[record.jobid].attempt
            self._ended[record.rule_name] -= record.jobid not in self.working
        title = (record.rule_msg or record.rule_name).split("; ")[0]
        asked = {name: record.resources.get(name) for name in ("mem_mb", "runtime")}
        numbers = (value if isinstance(value, int) else None for value in asked.values())
        job = Job(title, record.rule_name, record.log, record.output, *numbers, attempt=attempt)
        self.started[record.jobid] = self.working[record.jobid] = job
        self._most_at_once = max(self._most_at_once, len(self.working))
        return job

    def finish(self, jobid: int) -> Job | None:
        """Note that a job has done its work; None for a target rule, which has none."""
        job = self.working.pop(jobid, None)
        if job is not None:
            self._timed.setdefault(job.rule, []).append(job.elapsed)
            self._ended[job.rule] += 1
            self.done += 1
        return job

    def drop(self, jobid: int) -> None:
        """Note that a job ended without having done its work."""
        if job := self.working.pop(jobid, None):
            self._ended[job.rule] += 1

    def suspicion(self, jobid: int) -> tuple[bool, float]:
        """How likely it is that this member made its group fail: its log says so, or else it wrote last."""
        written = self.started[jobid].written()
        lines = [line for _, lines in written for line in lines]
        has_reason = bool(last_reason(lines)) or any(line.startswith("Traceback ") for line in lines)
        return has_reason, max((os.stat(log).st_mtime for log, _ in written), default=0.0)

    def time_left(self) -> str:
        """How long the planned jobs that are not done will take, in words.

        Empty until one of the most frequent rules is timed: what comes before them says nothing of their time.
        """
        running = [Running(job.rule, job.elapsed, seconds_to_go(job.progress)) for job in self.working.values()]
        timed = {**self.earlier, **self._timed}
        frequent = {rule for rule, count in self.planned.items() if count == max(self.planned.values())}
        if not frequent & (timed.keys() | {job.rule for job in running if job.left is not None}):
            return ""
        waiting = self.planned - self._ended - Counter(job.rule for job in running)
        # After a checkpoint fewer jobs may have to run than were planned: Snakemake tells how many, not of which rules.
        still_to_run = max(self.total - self.done - len(running), 0) / max(waiting.total(), 1)
        waiting = {rule: count * min(still_to_run, 1) for rule, count in waiting.items()}
        return str(time_left(waiting, running, timed, self._most_at_once) or "")

    def reason(self, jobid: int, status: int | None, logs: Sequence[str], said: str) -> str:
        """Why a job ended, and note that it no longer works; empty where nothing tells.

        `status` is its process's exit status, `logs` are those that are not its own, and `said` is the scheduler's
        message. The reason is added to the job's own log, which `make status` and the tables of unfinished runs quote.
        """
        job = self.started[jobid]
        self.drop(jobid)
        lines = [line for _, lines in job.written() for line in lines]
        folders = [folder for path in (*job.outputs, *job.logs) if (folder := Path(path).parent).is_dir()]
        ending = Ending(
            status=status,
            log=lines,
            scheduler="\n".join([said, *(line for log in logs for line in tail(log))]),
            on_cluster="SLURM_JOB_ID" in os.environ or bool(logs),
            memory_mb=job.memory_mb,
            minutes=job.minutes,
            folders=folders,
            free_bytes=min(shutil.disk_usage(folder).free for folder in (Path.cwd(), *folders)),
            memory_kills=memory_kills() - job.kills,
        )
        reason = reason_of_end(ending)
        if reason and job.logs and not last_reason(lines):
            _append(job.logs[0], reason)
        return reason


def _state(log: str) -> tuple:
    """What changes when a log is written anew; empty where there is none."""
    try:
        facts = os.stat(log)
    except FileNotFoundError:
        return ()
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def _append(log: str, line: str) -> None:
    try:
        with open(log, "a") as file:
            file.write(f"\n{line}\n")
    except OSError:
        return  # a full disk; the terminal has the line
