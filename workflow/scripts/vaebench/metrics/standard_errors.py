"""Standard errors of one trained model's values, over images or samples; NumPy alone."""

from collections.abc import Sequence

import numpy as np


def jackknife_error(left_out: Sequence[float] | np.ndarray) -> float:
    """Standard error of a statistic from its values without each of G groups: √((G-1)/G Σ (θ_g - mean)²)."""
    if len(left_out) < 2:
        return float("nan")
    return 0.0 if _equal(left_out) else float(np.sqrt((len(left_out) - 1) * np.var(left_out)))


def mean_error(values: np.ndarray) -> float:
    """Standard error of the mean of independent values (n,): s / √n."""
    if len(values) < 2:
        return float("nan")
    return 0.0 if _equal(values) else float(np.std(values, ddof=1) / np.sqrt(len(values)))


def _equal(values: Sequence[float] | np.ndarray) -> bool:
    """Whether values are one value to 12 digits, so that what they spread is the rounding of their mean."""
    found = np.asarray(values, np.float64)
    return bool(np.ptp(found) <= 1e-12 * np.abs(found).max())
