"""Whether known findings are repeated: numbers that are positive where a finding holds, their intervals, and verdicts.

A claim is a weighted sum of values of a study's tables, taken for each seed by itself, so that whatever a seed does to
two runs alike cancels out. Its interval is Student's for the mean over seeds. It is repeated where the interval lies
above 0, not repeated where it lies below, else undecided. A finding of several claims is repeated where all of them
are, and not repeated where one is not: if one of them is false, "repeated" is said no more often than of that one alone
(half of 1 - confidence), however many claims there are (Berger 1982, Technometrics 24, 295).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vaebench.base.errors import UserError
from vaebench.results.statistics import seed_summary

REPEATED, NOT_REPEATED, UNDECIDED = "repeated", "not repeated", "undecided"
COLUMNS = ["run", "sampler", "metric", "seed", "value"]


@dataclass(frozen=True)
class Term:
    """`weight` times the value of a metric of one run; `sampler`: of a generation metric, which one drew."""

    weight: float
    run: str
    metric: str
    sampler: str = ""


@dataclass(frozen=True)
class Claim:
    """A number of one study that is positive where a finding holds: the sum of its terms less `threshold`."""

    study: str
    words: str
    terms: tuple[Term, ...]
    threshold: float = 0.0


@dataclass(frozen=True)
class Finding:
    """What is known, from which source, and the claims that follow from it."""

    sentence: str
    source: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class Evidence:
    """What a study says of a claim: mean over seeds, its interval, the number of seeds, and the verdict."""

    mean: float
    ci_low: float
    ci_high: float
    seeds: int
    verdict: str


def read_study(results: Path) -> pd.DataFrame:
    """The values of a finished study, `COLUMNS`: of runs.csv without a sampler, of samplers.csv by its name.

    UserError where the tables are not there.
    """
    parts = []
    for name in ("runs", "samplers"):
        path = results / f"tables/{name}.csv"
        if path.exists():
            parts.append(pd.read_csv(path, keep_default_na=False).reindex(columns=COLUMNS, fill_value=""))
    if not parts:
        raise UserError(f"{results / 'tables/runs.csv'} is not there: run the study first")
    values = pd.concat(parts, ignore_index=True)
    values["value"] = pd.to_numeric(values["value"])
    return values.dropna(subset="value")


def of_seeds(claim: Claim, values: pd.DataFrame) -> np.ndarray:
    """The claim's number for each seed that has all of its values, in the order of seeds; empty where none has."""
    columns = []
    for term in claim.terms:
        wanted = (values["run"] == term.run) & (values["metric"] == term.metric) & (values["sampler"] == term.sampler)
        columns.append(term.weight * values[wanted].set_index("seed")["value"])
    if len(columns) == 0:
        raise ValueError(f"the claim {claim.words!r} has no terms")
    both = pd.concat(columns, axis=1, join="inner").sort_index()
    return both.sum(axis=1).to_numpy(np.float64) - claim.threshold


def weigh(numbers: np.ndarray, confidence: float) -> Evidence | None:
    """What numbers of seeds, positive where a claim holds, say of it; None where there are none.

    A single seed, of which nothing is known of another training, decides nothing. Equal numbers decide by their sign.
    """
    if len(numbers) == 0:
        return None
    found = seed_summary(numbers, confidence)
    low, high = found["ci_low"], found["ci_high"]
    verdict = REPEATED if low > 0 else NOT_REPEATED if high < 0 else UNDECIDED
    return Evidence(found["mean"], low, high, len(numbers), verdict)


def verdict_of(parts: Sequence[Evidence | None]) -> str:
    """The verdict of a finding from the evidence of its claims; undecided where one was not measured."""
    verdicts = {UNDECIDED if part is None else part.verdict for part in parts}
    for decisive in (NOT_REPEATED, UNDECIDED):
        if decisive in verdicts:
            return decisive
    return REPEATED if verdicts else UNDECIDED


def holds(claim: Claim, values: pd.DataFrame) -> bool | None:
    """Whether the mean over seeds has the claim's direction, by chance or not; None where it was not measured."""
    numbers = of_seeds(claim, values)
    return None if len(numbers) == 0 or math.isnan(numbers.mean()) else bool(numbers.mean() > 0)
