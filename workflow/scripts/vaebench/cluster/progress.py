"""How long a study still takes, from the jobs that were timed, and a training's own count of its epochs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from vaebench.base.errors import UserError
from vaebench.base.formats import read_json
from vaebench.base.layout import state_folder
from vaebench.cluster.efficiency import from_benchmarks


@dataclass(frozen=True)
class Running:
    """A running job: its rule, the seconds since it began, and the seconds that it says it still needs, if it does."""

    rule: str
    elapsed: float
    left: float | None = None


@dataclass(frozen=True)
class TimeLeft:
    """Seconds until the study is done; `rough` while some of its rules have not been timed."""

    seconds: float
    rough: bool

    def __str__(self) -> str:
        return f"{'roughly' if self.rough else 'about'} {duration_in_words(self.seconds)} left"


def time_left(
    waiting: Mapping[str, float], running: Sequence[Running], timed: Mapping[str, Sequence[float]], workers: int
) -> TimeLeft | None:
    """The time that the `waiting` jobs (a number per rule) and the `running` ones take `workers` at a time.

    A job takes the mean of its rule's `timed` seconds and of what its running jobs will have taken; one of a rule that
    is not timed takes the median of all. None where nothing has been timed.
    """
    seconds = {rule: list(values) for rule, values in timed.items()}
    for job in running:
        if job.left is not None:
            seconds.setdefault(job.rule, []).append(job.elapsed + job.left)
    known = [value for values in seconds.values() for value in values]
    if not known:
        return None
    expected = {rule: fmean(values) for rule, values in seconds.items() if values}
    typical = median(known)
    total = sum(count * expected.get(rule, typical) for rule, count in waiting.items())
    for job in running:
        total += max(expected.get(job.rule, typical) - job.elapsed, 0.0) if job.left is None else job.left
    rules = {job.rule for job in running} | {rule for rule, count in waiting.items() if count}
    side_by_side = max(1, min(workers, len(running) + sum(waiting.values())))
    return TimeLeft(total / side_by_side, rough=not rules <= expected.keys())


def seconds_to_go(progress: Mapping[str, Any] | None) -> float | None:
    """What a training still needs by the seconds of its last epoch; None before its first epoch is done."""
    if not progress or not progress.get("seconds"):
        return None
    return float((progress["epochs"] - progress["epoch"]) * progress["seconds"])


def read_progress(run_folder: Path) -> dict[str, Any] | None:
    """What a training last wrote of its progress: epoch, epochs, seconds of an epoch; None when none can be read."""
    try:
        return read_json("state", state_folder(run_folder) / "progress.json")
    except (OSError, ValueError, UserError):
        return None


def earlier_seconds(benchmarks: Path) -> dict[str, list[float]]:
    """Seconds of each rule's jobs in earlier runs, from Snakemake's benchmark files; none where those are damaged."""
    seconds: dict[str, list[float]] = {}
    try:
        for usage in from_benchmarks(benchmarks):
            seconds.setdefault(usage.rule, []).append(usage.hours * 3600)
    except (OSError, ValueError, KeyError):
        return {}
    return seconds


def duration_in_words(seconds: float) -> str:
    """A duration as people say it: 42 s, 12 min, 3.5 h, 2.1 days."""
    for limit, unit, size, digits in ((90, "s", 1, 0), (5400, "min", 60, 0), (172800, "h", 3600, 1)):
        if seconds < limit:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds / 86400:.1f} days"
