"""Precision and recall of distributions (Sajjadi et al. 2018, arXiv 1806.00035) of two sets of features."""

import numpy as np
from sklearn.cluster import MiniBatchKMeans

CLUSTERS, RUNS, STARTS, ANGLES = 20, 10, 10, 1001  # the authors' settings
EDGE = 1e-10  # by which the first and the last angle are off 0 and 90 degrees
BETA = 8


def prd_scores(generated: np.ndarray, real: np.ndarray) -> tuple[float, float]:
    """The largest F8, which weighs recall, and F1/8, which weighs precision; features (n, D) and (m, D).

    Equally many of both, the first ones, are put into 20 clusters together, 10 times; precision and recall along the
    curve are means over the 10. The clusterings have seeds of their own, so that the scores can be repeated.
    """
    count = min(len(generated), len(real))
    both = np.concatenate([generated[:count], real[:count]])
    clusters = min(CLUSTERS, len(both))
    curves = []
    for seed in range(RUNS):
        labels = MiniBatchKMeans(clusters, n_init=STARTS, random_state=seed).fit(both).labels_
        shares = [np.bincount(part, minlength=clusters) / count for part in (labels[:count], labels[count:])]
        curves.append(prd_curve(shares[0], shares[1]))
    precision, recall = np.mean(curves, axis=0).clip(0, 1)
    return f_score(precision, recall, BETA), f_score(precision, recall, 1 / BETA)


def prd_curve(generated: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Precision and recall, (2, 1001), of two discrete distributions (K,), from the steepest trade-off to the other.

    For a slope λ, precision is Σ min(λ real, generated) and recall Σ min(real, generated / λ).
    """
    slopes = np.tan(np.linspace(EDGE, np.pi / 2 - EDGE, ANGLES))
    precision = np.minimum(slopes[:, None] * real, generated).sum(1)
    return np.stack([precision, precision / slopes])


def f_score(precision: np.ndarray, recall: np.ndarray, beta: float) -> float:
    """The largest (1 + β²) p r / (β² p + r) along a curve."""
    return float(np.max((1 + beta**2) * precision * recall / (beta**2 * precision + recall + EDGE)))
