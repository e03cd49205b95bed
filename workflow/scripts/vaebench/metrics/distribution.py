"""Distances between two sets of feature vectors or images: generated against real. NumPy float64, no model.

Frechet: Heusel et al. 2017. Kernel: Binkowski et al. 2018. Precision and recall: Kynkaanniemi et al. 2019.
Density and coverage: Naeem et al. 2020.
"""

from collections.abc import Iterable

import numpy as np

KERNEL_SUBSETS, KERNEL_SUBSET_SIZE, KERNEL_SEED = 100, 1000, 2020  # torch-fidelity's settings, so the numbers agree
BLOCK = 1024


def frechet_distance(generated: np.ndarray, real: np.ndarray) -> float:
    """‖m_g - m_r‖² + tr(S_g + S_r - 2 (S_g S_r)^½) of features (n, D) and (m, D); n, m >= 2.

    The trace of the root is taken from the eigenvalues of the symmetric R S_r R with R = S_g^½, which are real and not
    negative also when there are fewer images than features.
    """
    mean_g, mean_r = generated.mean(0), real.mean(0)
    covariance_g, covariance_r = np.atleast_2d(np.cov(generated.T)), np.atleast_2d(np.cov(real.T))
    values, vectors = np.linalg.eigh(covariance_g)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ covariance_r @ root).clip(0)).sum()
    distance = np.square(mean_g - mean_r).sum() + np.trace(covariance_g) + np.trace(covariance_r) - 2 * cross
    return float(max(distance, 0.0))


def kernel_distance(generated: np.ndarray, real: np.ndarray) -> float:
    """Unbiased MMD² with kernel (a·b/D + 1)³, mean over 100 random subsets of up to 1000 images of either set."""
    size = min(KERNEL_SUBSET_SIZE, len(generated), len(real))
    subsets = 1 if size == len(generated) == len(real) else KERNEL_SUBSETS  # all subsets would be the whole set
    random = np.random.RandomState(KERNEL_SEED)
    estimates = []
    for _ in range(subsets):
        a = generated[random.choice(len(generated), size, replace=False)]
        b = real[random.choice(len(real), size, replace=False)]
        estimates.append(_unbiased_mmd(a, b))
    return float(np.mean(estimates))


def _unbiased_mmd(a: np.ndarray, b: np.ndarray) -> float:
    def kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return (first @ second.T / first.shape[1] + 1) ** 3

    n = len(a)
    within = sum(k.sum() - np.trace(k) for k in (kernel(a, a), kernel(b, b))) / (n * (n - 1))
    return within - 2 * kernel(a, b).mean()


def manifold_metrics(generated: np.ndarray, real: np.ndarray, neighbours: int) -> dict[str, float]:
    """precision, recall, density and coverage of features (n, D), (m, D), with balls that reach the k-th neighbour.

    A point on a ball's surface is inside it, so that a set of identical images covers itself. Needs n, m > neighbours.
    """
    radius_r, radius_g = _ball_radii(real, neighbours), _ball_radii(generated, neighbours)
    real_balls_around_generated = np.zeros(len(generated), np.int64)
    recalled, covered = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for start in range(0, len(real), BLOCK):
        rows = slice(start, start + BLOCK)
        distance = _distances(real[rows], generated)
        inside_real = distance <= radius_r[rows, None]
        real_balls_around_generated += inside_real.sum(0)
        covered[rows] = inside_real.any(1)
        recalled[rows] = (distance <= radius_g[None]).any(1)
    return {
        "precision": float((real_balls_around_generated > 0).mean()),
        "recall": float(recalled.mean()),
        "density": float(real_balls_around_generated.mean() / neighbours),
        "coverage": float(covered.mean()),
    }


def _ball_radii(points: np.ndarray, neighbours: int) -> np.ndarray:
    """Distance from each point to its k-th nearest other point, (n,)."""
    radii = np.empty(len(points))
    for start in range(0, len(points), BLOCK):
        distance = _distances(points[start : start + BLOCK], points)
        distance[np.arange(len(distance)), start + np.arange(len(distance))] = np.inf  # not the point itself
        radii[start : start + len(distance)] = np.partition(distance, neighbours - 1, axis=1)[:, neighbours - 1]
    return radii


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distances (n, m); the products' rounding is cut off, so that equal points are at distance 0."""
    squared = np.square(a).sum(1)[:, None] + np.square(b).sum(1)[None] - 2 * a @ b.T
    scale = np.square(a).sum(1)[:, None] + np.square(b).sum(1)[None]
    return np.sqrt(np.where(squared > 1e-12 * scale, squared, 0))


def nearest_distances(queries: np.ndarray, references: Iterable[np.ndarray]) -> np.ndarray:
    """Pixel RMSE in [0, 1] from each query image to its nearest reference image, (n,) float64.

    queries: uint8 (n, ...); references: blocks of uint8 (m, ...), so that the training set is never held in memory.
    The nearest image is searched in float32 and its distance computed in float64.
    """
    flat = queries.reshape(len(queries), -1)
    as_float = flat.astype(np.float32)
    best = np.full(len(flat), np.inf)
    for block in references:
        block = block.reshape(len(block), -1)
        other = block.astype(np.float32)
        norms = np.square(other).sum(1)
        for start in range(0, len(flat), BLOCK):
            rows = slice(start, start + BLOCK)
            nearest = (norms - 2 * as_float[rows] @ other.T).argmin(1)
            difference = flat[rows].astype(np.float64) - block[nearest]
            best[rows] = np.minimum(best[rows], np.sqrt(np.square(difference).mean(1)) / 255)
    return best
