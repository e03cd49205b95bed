"""Uncertainty: t-intervals over seeds, paired bootstrap over images, Holm's correction, ranks. NumPy and float64."""

import numpy as np
from scipy.special import stdtrit

BLOCK = 200  # resamples at a time


def seed_summary(values: np.ndarray, confidence: float) -> dict[str, float]:
    """mean, sd, ci_low, ci_high, n_seeds of one value per seed; sd and interval are NaN for a single seed.

    The interval is Student's for the mean of n independent trainings: mean ± t_{n-1} sd / √n.
    """
    values = np.asarray(values, np.float64)
    n, mean = len(values), float(values.mean())
    if n < 2:
        return {"mean": mean, "sd": np.nan, "ci_low": np.nan, "ci_high": np.nan, "n_seeds": n}
    sd = float(values.std(ddof=1))
    half = float(stdtrit(n - 1, 0.5 + confidence / 2)) * sd / np.sqrt(n)
    return {"mean": mean, "sd": sd, "ci_low": mean - half, "ci_high": mean + half, "n_seeds": n}


def bootstrap_means(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means of `values` (n images, columns) over images drawn with replacement: (resamples, columns).

    All columns share the draws, so that the difference of two columns is the paired bootstrap of their difference.
    """
    values = np.asarray(values, np.float64)
    n = len(values)
    generator = np.random.default_rng(seed)
    shares = np.full(n, 1 / n)
    means = []
    for start in range(0, resamples, BLOCK):
        counts = generator.multinomial(n, shares, size=min(BLOCK, resamples - start))
        means.append(counts @ values / n)
    return np.concatenate(means)


def paired_comparison(difference: float, resampled: np.ndarray, confidence: float) -> dict[str, float]:
    """Percentile interval and two-sided p-value of a mean difference from its bootstrap resamples.

    The p-value is 2 min(P(d* <= 0), P(d* >= 0)), each count with one added, so that it is never 0. Two runs without any
    difference have p = 1.
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    below, above = (resampled <= 0).sum(), (resampled >= 0).sum()
    p_value = min(1.0, 2 * (min(below, above) + 1) / (len(resampled) + 1))
    return {"difference": difference, "ci_low": float(low), "ci_high": float(high), "p_value": float(p_value)}


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's (1979) step-down correction: adjusted p-values in the given order."""
    p_values = np.asarray(p_values, np.float64)
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate((len(p_values) - np.arange(len(p_values))) * p_values[order])
    adjusted = np.empty_like(stepped)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def ranks(values: np.ndarray, higher_is_better: bool) -> np.ndarray:
    """Rank 1 for the best; equal values share the mean of their ranks; NaN stays NaN."""
    values = np.asarray(values, np.float64)
    keys = -values if higher_is_better else values
    found = np.full(len(values), np.nan)
    present = ~np.isnan(keys)
    _, inverse, counts = np.unique(keys[present], return_inverse=True, return_counts=True)
    found[present] = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return found
