"""Words and numbers as the figures and the report print them."""

import math
from collections.abc import Mapping
from typing import Any

from vaebench.metrics.registry import describe
from vaebench.results.study import Interval, Run, Study


def number(value: float | None, digits: int = 3) -> str:
    """A number with `digits` significant digits and no exponent between 0.0001 and a million; a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0 or (isinstance(value, int) and abs(value) < 1e6):
        return f"{value:g}"
    magnitude = math.floor(math.log10(abs(value)))
    if not -5 < magnitude < 6:
        return f"{value:.{digits - 1}e}"
    text = f"{round(value, digits - 1 - magnitude):,.{max(0, digits - 1 - magnitude)}f}"
    return text.replace("-", "−")


def interval(value: Interval) -> str:
    """A mean with its interval in brackets, or the mean alone."""
    low, high = ends(value)
    return f"{number(value.mean, precision(value))} [{low}, {high}]" if low else number(value.mean)


def ends(value: Interval) -> tuple[str, str]:
    """The ends of an interval with as many decimals as its width needs; empty without an interval or a width."""
    if not value.high > value.low:
        return "", ""
    return number(value.low, precision(value)), number(value.high, precision(value))


def precision(value: Interval) -> int:
    """Significant digits (3 to 5) that show the mean and still tell two digits of its interval's half width."""
    half = (value.high - value.low) / 2
    if not half > 0 or value.mean == 0:
        return 3
    return min(5, max(3, math.floor(math.log10(abs(value.mean))) - math.floor(math.log10(half)) + 2))


def metric_line(study: Study, run: Run, metric: str) -> str:
    """`MSE 0.0123` for a run; empty when the run has no such value."""
    value = study.interval(run.name, metric)
    return metric_words(metric, value) if value else ""


def metric_words(metric: str, value: Interval) -> str:
    """A metric's label and its mean."""
    return f"{describe(metric).label} {number(value.mean)}"


def narrowed(options: Mapping[str, Any]) -> list[str]:
    """The options of a sampler by which it draws from a distribution narrower than the one that was fitted."""
    words = [f"temperature {options['temperature']:g}"] if options.get("temperature", 1) != 1 else []
    return words + ([f"top_k {options['top_k']}"] if options.get("top_k") else [])


def sampler_words(recorded: Mapping[str, Any]) -> str:
    """A sampler as samples.npz records it: its name, and how it narrows what it draws from; empty where unknown."""
    return ", ".join([recorded["name"], *narrowed(recorded.get("options", {}))]) if recorded else ""


def failure_of(run: Run, needed: str) -> str:
    """Why a run has nothing to show: its failure in words, or the file that is missing."""
    if not run.trained and run.failures:
        return "; ".join(sorted(set(run.failures.values())))
    return f"{needed} was not written"


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3.5 min, 1.2 h, 2.1 days."""
    unit, size = unit_of_time(seconds)
    return f"{number(seconds / size, 2)} {unit}"


def unit_of_time(seconds: float) -> tuple[str, int]:
    """The unit that suits so many seconds, and its length in seconds."""
    for limit, unit, size in ((90, "s", 1), (5400, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return unit, size
    return "days", 86400
