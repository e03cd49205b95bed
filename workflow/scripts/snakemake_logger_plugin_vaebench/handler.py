"""The handler: it turns Snakemake's records into lines for a person."""

import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from logging import LogRecord
from pathlib import Path
from typing import TextIO

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_vaebench.jobs import Jobs
from vaebench.base.failures import ERROR, NO_SPACE, SILENT, STOPPED, UNEXPECTED, no_space
from vaebench.base.log import tail
from vaebench.cluster.progress import duration_in_words, earlier_seconds

SILENCE = 600  # seconds without a line after which one lists the running jobs
FEW, MANY = 5, 30  # lines of a failed job's log that are shown, when the reason is known and when it is not
RED, PLAIN = "\033[31m", "\033[0m"
STATUS = re.compile(r"CalledProcessError.*(?:non-zero exit status (\d+)|died with <Signals\.\w+: (\d+)>)", re.DOTALL)
RESTARTED = re.compile(r"Trying to restart job (\S+)\.$")
SUBMITTED = re.compile(r"Job (\S+) has been submitted with SLURM jobid (\S+) ")
CANCELLING = "; Snakemake ends with its next look at the queue, within 3 minutes, and at once with another Ctrl-C"
# What --quiet calls an event.
QUIET = {
    LogEvent.GROUP_INFO: "RULES",
    LogEvent.JOB_INFO: "RULES",
    LogEvent.PROGRESS: "PROGRESS",
    LogEvent.RUN_INFO: "PROGRESS",
}
# What tells a person nothing, or what this handler says in other words.
NOISE = (
    "Assuming unrestricted shared filesystem usage",
    "Building DAG of jobs",
    "Conda environments: ignored",
    "DAG of jobs will be updated after completion",
    "Exception in run_job for rule",
    "Exiting because a job execution failed",
    "Group jobs: inactive",
    "No SLURM account given, trying to guess",
    "No account was given, not able to get a SLURM account via sacct",
    "Processed ",
    "Removing output files of failed job",
    "Select jobs to execute",
    "Shutting down, this might take some time",
    "SLURM run ID:",
    "Storing output in storage",
    "Updating checkpoint dependencies",
    "Using shell:",
    "WorkflowError:\nAt least one job did not complete successfully",
)


class LogHandler(LogHandlerBase):
    """Writes to `stream`; where that is None it only keeps count.

    Other handlers of the same logger find the reason of a failure in its record
    when they come after this one.
    """

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.stream: TextIO | None = sys.stderr
        self.interrupted = False
        self._stopping = False
        self._jobs = Jobs()
        self._failed: dict[int, str] = {}
        self._errors = 0
        self._targets: Callable[[], set[str]] = set
        self._idle = 0  # planned target rules
        self._remote = False
        self._groups: dict[str, list[int]] = {}
        self._group_reason = ""
        self._finished: list[str] = []
        self._statuses: dict[int, int] = {}  # exit status of the process whose failure a thread is about to report
        self._written = time.monotonic()
        self._ended = threading.Event()
        self._say = {
            LogEvent.RESOURCES_INFO: self._resources,
            LogEvent.RUN_INFO: self._plan,
            LogEvent.GROUP_INFO: self._group,
            LogEvent.JOB_INFO: self._start,
            LogEvent.JOB_FINISHED: self._finish,
            LogEvent.PROGRESS: self._progress,
            LogEvent.GROUP_ERROR: self._fail_group,
            LogEvent.JOB_ERROR: self._fail,
            LogEvent.ERROR: self._error,
            None: self._pass_on,
        }

    @property
    def stopped(self) -> bool:
        """Whether the run ended because somebody asked for it, not because of a failure."""
        return self.interrupted or (self._stopping and not (self._failed or self._errors))

    def failures(self, without: Collection[str]) -> list[str]:
        """What failed and why, a line per job that no other attempt made good, less those of some rules."""
        return [line for jobid, line in self._failed.items() if self._jobs.started[jobid].rule not in without]

    def learn(self, benchmarks: Path, targets: Callable[[], set[str]]) -> None:
        """Take the times of earlier runs from Snakemake's benchmark files, and the rules that do nothing but ask."""
        self._jobs.earlier = earlier_seconds(benchmarks)
        self._targets = targets

    def emit(self, record: LogRecord) -> None:
        """Write what there is to say about one record."""
        try:
            say = self._say.get(getattr(record, "event", None))
            lines = list(say(record)) if say else []  # all of them: jobs are counted whether they are shown or not
            for line in lines if self._shows(record) else ():
                self._write(line)
        except BrokenPipeError:
            raise
        except Exception:
            self.handleError(record)

    def handleError(self, record: LogRecord) -> None:
        """Report a record that could not be printed: a defect of this class, which must not end the run."""
        print(f"warning: cannot show a message of Snakemake's ({sys.exception()!r})", file=sys.stderr)

    def close(self) -> None:
        """End the thread that prints a line when there was none for long."""
        self._ended.set()
        super().close()

    def _shows(self, record: LogRecord) -> bool:
        """Whether --quiet lets this record through. Unlike Snakemake's own, a failure is only silenced by `all`."""
        quiet = {each.name for each in self.common_settings.quiet or ()}
        about = QUIET.get(getattr(record, "event", None)) or getattr(getattr(record, "quietness", None), "name", None)
        return not quiet & {"ALL", about}

    def _write(self, line: str) -> None:
        self._written = time.monotonic()
        if self.stream is not None:
            red = line.startswith(ERROR) and self.stream.isatty() and not self.common_settings.nocolor
            self.stream.write(f"{RED}{line}{PLAIN}\n" if red else f"{line}\n")
            self.stream.flush()

    def _resources(self, record: LogRecord) -> Iterator[str]:
        self._remote |= hasattr(record, "nodes")
        yield from ()

    def _plan(self, record: LogRecord) -> Iterator[str]:
        targets = self._targets()
        counts = Counter({rule: count for rule, count in record.stats.items() if rule not in targets | {"total"}})
        self._idle = record.stats["total"] - counts.total()
        self._jobs.planned, self._jobs.total = counts, counts.total()
        threading.Thread(target=self._break_silence, daemon=True).start()
        steps = "1 step" if counts.total() == 1 else f"{counts.total()} steps"
        yield _line("plan", f"{steps}: " + ", ".join(f"{count} {rule}" for rule, count in counts.items()))

    def _group(self, record: LogRecord) -> Iterator[str]:
        members = [job.jobid for job in record.jobs]
        self._groups |= {job.uuid(): members for job in record.jobs}
        yield from ()

    def _start(self, record: LogRecord) -> Iterator[str]:
        if record.output:  # else a target rule
            job = self._jobs.start(record)
            if not self._remote or record.local:
                yield _line("started", record.rule_msg or job.title)

    def _finish(self, record: LogRecord) -> Iterator[str]:
        self._failed.pop(record.job_id, None)
        if job := self._jobs.finish(record.job_id):
            self._finished.append(f"{job.title}: done in {duration_in_words(job.elapsed)}")
        yield from ()

    def _progress(self, record: LogRecord) -> Iterator[str]:
        total = self._jobs.total = record.total - self._idle
        left = self._jobs.time_left() if self._jobs.done < total else ""
        for words in self._finished:
            yield _line(f"{self._jobs.done} of {total}", "; ".join(filter(None, (words, left))))
        self._finished.clear()

    def _fail(self, record: LogRecord) -> Iterator[str]:
        status = self._statuses.pop(record.thread, None)
        if record.indent:  # of a group, which was reported
            record.rule_msg = record.rule_msg or self._group_reason
            return
        if record.jobid not in self._jobs.started:
            return
        own = self._jobs.started[record.jobid].logs
        others = [log for log in record.log if log not in own]
        yield from self._failure(record, record.jobid, status, others, record.rule_msg or "")

    def _fail_group(self, record: LogRecord) -> Iterator[str]:
        """Speak of the member whose log says that it failed, or else of the last that wrote to its log."""
        members = [info["jobid"] for info in record.job_error_info if info["jobid"] in self._jobs.started]
        guilty = max(members, key=lambda jobid: self._jobs.suspicion(jobid), default=None)
        if guilty is not None:
            yield from self._failure(record, guilty, None, list(record.aux_logs), "")
        for jobid in members:
            self._jobs.drop(jobid)

    def _failure(
        self, record: LogRecord, jobid: int, status: int | None, others: list[str], said: str
    ) -> Iterator[str]:
        """What a job did, the end of its log, and last the line that says why it ended and what to do."""
        job = self._jobs.started[jobid]
        written = job.written()  # before the reason is added
        reason = self._jobs.reason(jobid, status, others, said)
        unknown = f"{ERROR}ended{'' if status is None else f' with status {status}'} {SILENT}"
        record.rule_msg = self._group_reason = reason or unknown
        if not self.interrupted:
            self._failed[jobid] = f"{job.title}: {record.rule_msg}"
        if reason.startswith(STOPPED):
            yield _line("stopped", f"{job.title}: {reason.removeprefix(STOPPED)}")
            return
        if self.interrupted:
            return
        slurm_job = getattr(record, "external_jobid", None) or getattr(record, "aux", {}).get("external_jobid")
        where = f" (SLURM job {slurm_job})" if slurm_job else ""
        yield _line("failed", f"{job.title}{where}, after {duration_in_words(job.elapsed)}")
        shown = MANY if record.rule_msg.endswith((UNEXPECTED, SILENT)) else FEW
        for log, lines in [*written, *((log, tail(log)) for log in others)]:
            lines = [line for line in lines if line.strip() != reason][-shown:]
            if lines and self.common_settings.show_failed_logs:
                yield f"  the end of {log}:"
                yield from (f"    {line}" for line in lines)
        yield record.rule_msg

    def _error(self, record: LogRecord) -> Iterator[str]:
        words = str(record.msg)
        if match := STATUS.search(words):
            self._statuses[record.thread] = int(match[1] or 128 + int(match[2]))
        elif not (self.interrupted or words.startswith(NOISE)):
            self._errors += 1
            yield ERROR + no_space() if NO_SPACE.search(words) and "no space left to" not in words else words

    def _pass_on(self, record: LogRecord) -> Iterator[str]:
        """Messages of Snakemake or its executor that are plain text."""
        words = record.getMessage().strip() if record.msg else ""
        if words.startswith("Terminating processes on user request"):
            self.interrupted = True
            yield _line("Ctrl-C", "ending the jobs" + (CANCELLING if self._remote else ""))
        elif words.startswith("Will exit after finishing currently running jobs"):
            if not self._stopping:
                yield _line("SIGTERM", "no more jobs are started; waiting for those at work")
            self._stopping = True
        elif match := RESTARTED.match(words):
            for jobid in self._members(match[1]):
                self._failed.pop(jobid, None)
                job = self._jobs.started[jobid]
                yield _line("again", f"{job.title}: goes on by itself, attempt {job.attempt + 1}")
        elif match := SUBMITTED.match(words):
            titles = [self._jobs.started[jobid].title for jobid in self._members(match[1])]
            yield _line("sent", f"{'; '.join(titles)}: SLURM job {match[2]}")
        elif words and not words.startswith(NOISE):
            yield words

    def _members(self, identifier: str) -> list[int]:
        """The started jobs of a group, or the one that the identifier names."""
        members = self._groups.get(identifier) or ([int(identifier)] if identifier.isdigit() else [])
        return [job for job in members if job in self._jobs.started]

    def _break_silence(self) -> None:
        """Say now and then what is at work, so that hours of training do not look like a hang."""
        while not self._ended.wait(SILENCE / 10):
            with self.lock:
                working = [job.how_far() for job in self._jobs.working.values()]
                if working and not self.interrupted and time.monotonic() - self._written > SILENCE:
                    more = f" and {len(working) - 3} more" if len(working) > 3 else ""
                    words = (", ".join(working[:3]) + more, self._jobs.time_left())
                    self._write(_line("at work", "; ".join(filter(None, words))))


def _line(label: str, words: str) -> str:
    return f"{time.strftime('%a %H:%M:%S')}  {label:<9} {words}"
