"""Uncertainty: intervals of means, a test for sums of variances with few degrees of freedom, Holm's correction, ranks.

NumPy and float64.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import stdtr, stdtrit

SMALLEST_P = 1e-280  # below it Student's quantiles overflow
EQUAL_DIGITS = 12  # significant digits to which equal numbers agree: the order of a sum changes the last of 16


@dataclass(frozen=True)
class StatisticsSettings:
    """The section `statistics`: the level of every interval, and the entry that the others are compared with."""

    confidence: float
    baseline: str | None


@dataclass(frozen=True)
class Component:
    """One independent part of the variance of a mean: its estimate, and the degrees of freedom of that estimate."""

    variance: float
    freedom: float


def variance_of_mean(values: np.ndarray) -> Component:
    """s² / n of independent values, (n >= 2,), with n - 1 degrees of freedom; 0 where all are equal to 12 digits."""
    values = np.asarray(values, np.float64)
    equal = np.ptp(values) <= 10.0**-EQUAL_DIGITS * np.abs(values).max()
    return Component(0.0 if equal else float(values.var(ddof=1)) / len(values), len(values) - 1)


def difference_of(a: float, b: float) -> float:
    """a - b, 0 where both agree to 12 digits: means of equal values over one seed and over three differ by rounding."""
    return 0.0 if abs(a - b) <= 10.0**-EQUAL_DIGITS * max(abs(a), abs(b)) else a - b


def student(freedom: float, p: float) -> float:
    """The value t that Student's |t| exceeds with probability p."""
    return -float(stdtrit(freedom, p / 2))


def half_width(components: Sequence[Component], p: float) -> float:
    """Half the interval of a mean at the level 1 - p: √Σ t²_i V_i, t_i Student's quantile for component i.

    Banerjee (1960), Sankhya 22, 357-358. It covers at least as often as it says, for any number of components, any true
    variances and any degrees of freedom, if the mean is normal and the estimates are independent of it and multiples of
    χ². Proof: with the true shares w_i of the variance, coverage is E F(Σ w_i t²_i χ²_i / f_i), F the distribution
    function of χ² with 1 degree of freedom. F is concave, so that this is at least Σ w_i E F(t²_i χ²_i / f_i), and each
    of these is Student's 1 - p. Welch's and Satterthwaite's approximation is narrower, and with two or three seeds too
    narrow, above all at the small levels that a correction for many comparisons asks for.
    """
    return math.hypot(*(student(part.freedom, p) * math.sqrt(part.variance) for part in components))


def p_value(difference: float, components: Sequence[Component]) -> float:
    """The smallest p whose interval `half_width` leaves out 0: two-sided. Without a true difference
    p <= α with a probability of at most α.

    With one component it is Student's. NaN where no component has any variance and there is a difference: nothing is
    known then of how far it could have been otherwise. Values under 1e-280 are given as 1e-280.
    """
    components = [part for part in components if part.variance > 0]
    if difference == 0:
        return 1.0
    if not components:
        return math.nan
    if len(components) == 1:
        t = abs(difference) / math.sqrt(components[0].variance)
        return max(2 * float(stdtr(components[0].freedom, -t)), SMALLEST_P)

    def excess(log_p: float) -> float:
        return half_width(components, math.exp(log_p)) - abs(difference)

    lowest = math.log(SMALLEST_P)
    return SMALLEST_P if excess(lowest) <= 0 else math.exp(brentq(excess, lowest, 0.0, xtol=1e-10))


def seed_summary(
    values: np.ndarray, confidence: float, std_error: float = math.nan, freedom: int = 1
) -> dict[str, float]:
    """mean, sd, ci_low, ci_high, n_seeds of one value per seed; sd and interval are NaN where they are not known.

    The interval is Student's for the mean of the trainings. A single training has the interval of its own value, from
    its standard error over images or samples, of `freedom` degrees: it covers other images, not another training.
    """
    values = np.asarray(values, np.float64)
    several = len(values) > 1
    mean, sd = float(values.mean()), float(values.std(ddof=1)) if several else math.nan
    part = variance_of_mean(values) if several else Component(std_error**2, freedom)
    half = half_width([part], 1 - confidence)
    return {"mean": mean, "sd": sd, "ci_low": mean - half, "ci_high": mean + half, "n_seeds": len(values)}


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's (1979) step-down correction: adjusted p-values in the given order; NaN, not tested, is not counted."""
    given = np.asarray(p_values, np.float64)
    adjusted = np.full(len(given), np.nan)
    tested = np.flatnonzero(~np.isnan(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    stepped = np.maximum.accumulate((len(order) - np.arange(len(order))) * given[order])
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def detectable_deviations(seeds: int, comparisons: int, alpha: float) -> float:
    """How many standard deviations of a training two runs must differ to pass Holm's first step.

    For `seeds` trainings of each run with equal standard deviations, where images add no variance.
    """
    return student(seeds - 1, alpha / comparisons) * math.sqrt(2 / seeds)


def ranks(values: np.ndarray, higher_is_better: bool) -> np.ndarray:
    """Rank 1 for the best; values equal to 12 significant digits share the mean of their ranks.

    NaN stays NaN, and a value that has no other to be compared with has no rank.
    """
    keys = pd.Series([float(f"{value:.{EQUAL_DIGITS}g}") for value in np.asarray(values, np.float64)])
    if keys.count() < 2:
        return np.full(len(keys), np.nan)
    return keys.rank(ascending=not higher_is_better).to_numpy()
