"""Distances between two sets of feature vectors or images, in float64.

Frechet: Heusel et al. 2017. Kernel: Binkowski et al. 2018. Precision and recall: Kynkaanniemi et al. 2019.
Density and coverage: Naeem et al. 2020. Each of these comes with its standard error over the generated (or
reconstructed) images, the real ones being fixed: of a mean over generated images s / √n, else by leaving out one group
of them at a time (the delete-a-group jackknife, Shao and Wu 1989). A bootstrap would repeat images, which are then
their own nearest neighbours.
"""

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import torch

from vaebench.metrics.metric import GROUPS
from vaebench.metrics.standard_errors import jackknife_error, mean_error

KERNEL_SUBSETS, KERNEL_SUBSET_SIZE, KERNEL_SEED = 100, 1000, 2020  # torch-fidelity's settings, so the numbers agree
BLOCK = 1024

Measured = tuple[float, float]  # a value and its standard error, NaN where there are too few images to tell


def frechet_distance(generated: np.ndarray, real: np.ndarray, paired: bool = False) -> Measured:
    """‖m_g - m_r‖² + tr(S_g + S_r - 2 (S_g S_r)^½) of features (n, D) and (m, D), with its error; n, m >= 2.

    paired: row i of both belongs to one image, so that both lose the same rows when a group is left out.
    """
    centre = real.mean(0)
    a, b = _Rows(generated - centre), _Rows(real - centre)
    left_out = [_frechet(a.without(group), b.without(group) if paired else b) for group in _groups(len(generated))]
    return max(_frechet(a, b), 0.0), jackknife_error(left_out)


def _frechet(a: "_Rows", b: "_Rows") -> float:
    """The distance of two sets of rows.

    The trace of (A B)^½ is the sum of the singular values of the product of the centred rows, which is small when there
    are fewer images than features; else of the roots of the eigenvalues of R A R, R = B^½, which are not negative.
    """
    if min(a.count, b.count) <= a.rows.shape[1]:
        scale = np.sqrt((a.count - 1) * (b.count - 1))
        cross = np.linalg.svd(a.centred @ b.centred.T, compute_uv=False).sum() / scale
    else:
        cross = np.sqrt(np.linalg.eigvalsh(b.root @ a.covariance @ b.root).clip(0)).sum()
    return float(np.square(a.mean - b.mean).sum() + a.trace + b.trace - 2 * cross)


class _Rows:
    """Feature vectors (n, D) with their moments, each worked out once; without some rows at the cost of those alone."""

    def __init__(self, rows: np.ndarray, whole: "_Rows | None" = None, left_out: np.ndarray | None = None) -> None:
        self.rows, self.count, self._whole, self._left_out = rows, len(rows), whole, left_out

    def without(self, group: slice) -> "_Rows":
        """The rows that are not in `group`."""
        return _Rows(np.delete(self.rows, group, axis=0), self, self.rows[group])

    @cached_property
    def mean(self) -> np.ndarray:
        """(D,)."""
        mean: np.ndarray = self.rows.mean(0)
        return mean

    @cached_property
    def centred(self) -> np.ndarray:
        """The rows less their mean, (n, D)."""
        centred: np.ndarray = self.rows - self.mean
        return centred

    @cached_property
    def trace(self) -> float:
        """Sum of the features' variances."""
        return float(np.square(self.centred).sum() / (self.count - 1))

    @cached_property
    def products(self) -> np.ndarray:
        """Sum of the rows' outer products, (D, D)."""
        products: np.ndarray
        if self._whole is None or self._left_out is None:
            products = self.rows.T @ self.rows
        else:
            products = self._whole.products - self._left_out.T @ self._left_out
        return products

    @cached_property
    def covariance(self) -> np.ndarray:
        """(D, D)."""
        covariance: np.ndarray = (self.products - self.count * np.outer(self.mean, self.mean)) / (self.count - 1)
        return covariance

    @cached_property
    def root(self) -> np.ndarray:
        """The square root of the covariance, (D, D)."""
        values, vectors = np.linalg.eigh(self.covariance)
        root: np.ndarray = (vectors * np.sqrt(values.clip(0))) @ vectors.T
        return root


def _groups(count: int) -> list[slice]:
    """Every tenth row, from each of the first ten, as the groups that are left out; fewer groups for few rows."""
    groups = min(GROUPS, count // 2)
    return [slice(start, None, groups) for start in range(groups)] if groups > 1 else []


def kernel_distance(generated: np.ndarray, real: np.ndarray) -> Measured:
    """Unbiased MMD² with kernel (a·b/D + 1)³, mean over 100 random subsets of up to 1000 images of either set.

    Needs n, m >= 2. The error is that of MMD² over all images by leaving out groups, and that of the mean over subsets.
    """
    size = min(KERNEL_SUBSET_SIZE, len(generated), len(real))
    subsets = 1 if size == len(generated) == len(real) else KERNEL_SUBSETS  # all subsets would be the whole set
    random = np.random.RandomState(KERNEL_SEED)
    estimates = []
    for _ in range(subsets):
        a = generated[random.choice(len(generated), size, replace=False)]
        b = real[random.choice(len(real), size, replace=False)]
        estimates.append(_unbiased_mmd(a, b))
    of_subsets = mean_error(np.array(estimates)) if subsets > 1 else 0.0
    return float(np.mean(estimates)), float(np.hypot(_mmd_error(generated, real), of_subsets))


def _kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    base: np.ndarray = first @ second.T / first.shape[1] + 1
    cubed: np.ndarray = base * base * base  # a power of 3 takes ten times as long
    return cubed


def _unbiased_mmd(a: np.ndarray, b: np.ndarray) -> float:
    n = len(a)
    within = sum(k.sum() - np.trace(k) for k in (_kernel(a, a), _kernel(b, b))) / (n * (n - 1))
    return float(within - 2 * _kernel(a, b).mean())


def _mmd_error(generated: np.ndarray, real: np.ndarray) -> float:
    """The jackknife's error of the unbiased MMD² over the generated images, from sums of the kernel by group."""
    parts = [generated[group] for group in _groups(len(generated))]
    sizes = np.array([len(part) for part in parts])
    within, across = np.zeros((len(parts), len(parts))), np.zeros(len(parts))
    for i, part in enumerate(parts):
        across[i] = sum(_kernel(part, real[start : start + BLOCK]).sum() for start in range(0, len(real), BLOCK))
        for j in range(i + 1):
            values = _kernel(part, parts[j])
            within[i, j] = within[j, i] = values.sum() - (np.trace(values) if i == j else 0)
    left_out = []
    for i in range(len(parts)):
        kept = np.arange(len(parts)) != i
        n = sizes[kept].sum()
        pairs = within[np.ix_(kept, kept)].sum() / (n * (n - 1))
        left_out.append(pairs - 2 * across[kept].sum() / (n * len(real)))
    return jackknife_error(left_out)


def manifold_metrics(generated: np.ndarray, real: np.ndarray, neighbours: int) -> dict[str, Measured]:
    """precision, recall, density and coverage of features (n, D), (m, D), with balls that reach the k-th neighbour.

    A point on a ball's surface is inside it, so that a set of identical images covers itself. Needs n, m > neighbours.
    The error of a share that no left-out image would change, such as 0 of n, is not known from these images: NaN.
    """
    groups = _groups(len(generated))
    if len(generated) - max((len(generated[group]) for group in groups), default=0) <= neighbours:
        groups = []  # too few are left without a group
    radius_r = _ball_radii(real, neighbours, [])[0]
    radii_g = _ball_radii(generated, neighbours, groups)
    balls = np.zeros(len(generated), np.int64)
    recalled, covered = (np.zeros((len(real), 1 + len(groups)), bool) for _ in range(2))
    for start in range(0, len(real), BLOCK):
        rows = slice(start, start + BLOCK)
        distance = _distances(real[rows], generated)
        inside_real = distance <= radius_r[rows, None]
        balls += inside_real.sum(0)
        covered[rows, 0] = inside_real.any(1)
        recalled[rows, 0] = (distance <= radii_g[0]).any(1)
        held = inside_real.sum(1)
        for i, group in enumerate(groups, 1):
            covered[rows, i] = held > inside_real[:, group].sum(1)
            recalled[rows, i] = (distance <= radii_g[i]).any(1)
    is_near, densities = balls > 0, balls / neighbours
    found = {
        "precision": (is_near.mean(), mean_error(is_near)),
        "recall": (recalled[:, 0].mean(), jackknife_error(recalled[:, 1:].mean(0))),
        "density": (densities.mean(), mean_error(densities)),
        "coverage": (covered[:, 0].mean(), jackknife_error(covered[:, 1:].mean(0))),
    }
    return {name: (float(value), error if error > 0 else float("nan")) for name, (value, error) in found.items()}


def _ball_radii(points: np.ndarray, neighbours: int, groups: list[slice]) -> np.ndarray:
    """Distance from each point to its k-th nearest other point, (1 + G, n): among all, and without each group.

    A point of the group that is left out has no ball: its radius is -1.
    """
    labels = np.full(len(points), -1)
    for i, group in enumerate(groups):
        labels[group] = i
    nearest = min(len(points) - 1, 10 * neighbours)
    radii = np.empty((1 + len(groups), len(points)))
    for start in range(0, len(points), BLOCK):
        rows = slice(start, start + BLOCK)
        distance = _distances(points[rows], points)
        count = np.arange(len(distance))
        distance[count, start + count] = np.inf  # not the point itself
        if not groups:
            radii[0, rows] = np.partition(distance, neighbours - 1, axis=1)[:, neighbours - 1]
            continue
        order = _nearest_first(distance, nearest)
        while not all((labels[order] != i).sum(1).min() >= neighbours for i in range(len(groups))):
            nearest = min(len(points) - 1, 2 * nearest)
            order = _nearest_first(distance, nearest)
        sorted_distance = np.take_along_axis(distance, order, axis=1)
        radii[0, rows] = sorted_distance[:, neighbours - 1]
        for i in range(len(groups)):
            kth = np.argmax((labels[order] != i).cumsum(1) == neighbours, axis=1)
            radii[1 + i, rows] = np.where(labels[rows] == i, -1.0, sorted_distance[count, kth])
    return radii


def _nearest_first(distance: np.ndarray, count: int) -> np.ndarray:
    """Columns of the `count` smallest values of each row, in rising order: (n, m) -> (n, count)."""
    found = np.argpartition(distance, count - 1, axis=1)[:, :count]
    order = np.argsort(np.take_along_axis(distance, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distances (n, m); the products' rounding is cut off, so that equal points are at distance 0."""
    squared = np.square(a).sum(1)[:, None] + np.square(b).sum(1)[None] - 2 * a @ b.T
    scale = np.square(a).sum(1)[:, None] + np.square(b).sum(1)[None]
    return np.sqrt(np.where(squared > 1e-12 * scale, squared, 0))


@torch.no_grad()
def nearest_distances(queries: np.ndarray, references: Iterable[np.ndarray], device: str = "cpu") -> np.ndarray:
    """Pixel RMSE in [0, 1] from each query image to its nearest reference image, (n,) float64.

    queries: uint8 (n, ...); references: blocks of uint8 (m, ...), so that the training set is never held in memory.
    On `device` the nearest image of a block is searched in float32, and its squared distance added up in integers.
    """
    flat = torch.from_numpy(queries.reshape(len(queries), -1)).to(device)
    best = torch.full((len(flat),), torch.iinfo(torch.int64).max, dtype=torch.int64, device=device)
    for block in references:
        other = torch.from_numpy(np.array(block).reshape(len(block), -1)).to(device)
        as_float = other.float()
        norms = as_float.square().sum(1)
        for start in range(0, len(flat), BLOCK):
            part = flat[start : start + BLOCK]
            nearest = torch.addmm(norms, part.float(), as_float.T, alpha=-2).argmin(1)
            squares = (part.int() - other[nearest].int()).square().sum(1, dtype=torch.int64)
            best[start : start + BLOCK] = torch.minimum(best[start : start + BLOCK], squares)
    return np.sqrt(best.cpu().numpy() / flat.shape[1]) / 255


def cmmd(generated: np.ndarray, real: np.ndarray) -> float:
    """CMMD (Jayasumana et al. 2024): 1000 MMD² of unit vectors with the kernel exp(-‖a - b‖² / 2σ²), σ = 10.

    Over all pairs, those of a vector with itself too, as its authors compute it; features (n, D) and (m, D).
    """
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (generated, real))
    return 1000 * (_mean_similarity(a, a) + _mean_similarity(b, b) - 2 * _mean_similarity(a, b))


def _mean_similarity(a: np.ndarray, b: np.ndarray) -> float:
    """The mean of the Gaussian kernel over all pairs of unit vectors, for which ‖a - b‖² is 2 - 2 a·b."""
    sums = [np.exp((a[start : start + BLOCK] @ b.T - 1) / 100).sum() for start in range(0, len(a), BLOCK)]
    return float(sum(sums) / (len(a) * len(b)))
