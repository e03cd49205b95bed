"""Diagnostics of the latent space: KL, activity of the dimensions, aggregate posterior, use of the codebook."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from vaebench.metrics.metric import Value
from vaebench.models.kl import variance_of
from vaebench.models.posterior import Posterior, finite_rows

ACTIVE_VARIANCE = 0.01  # Burda et al. 2016: a dimension is active when the variance of its mean over images exceeds it
COLLAPSED_SHARE = 0.1
MODES_ALONE = "of the posteriors' modes alone, whose variance is not added"
CODEBOOK = ("codebook_perplexity", "codes_used")


@dataclass
class Moments:
    """Streaming mean and variance over images, in float64, merged batch by batch (Chan et al. 1979)."""

    count: int = 0
    mean: Any = 0.0
    squares: Any = 0.0

    def update(self, values: np.ndarray) -> None:
        """Take in (B, L) values."""
        values = np.asarray(values, np.float64)
        total = self.count + len(values)
        shift = values.mean(0) - self.mean
        self.squares = (
            self.squares
            + np.square(values - values.mean(0)).sum(0)
            + np.square(shift) * self.count * len(values) / total
        )
        self.mean = self.mean + shift * len(values) / total
        self.count = total

    @property
    def variance(self) -> np.ndarray:
        """Population variance of each column, (L,); NaN for a single row, of which it is not known."""
        return np.asarray(self.squares) / self.count if self.count > 1 else np.full_like(self.mean, np.nan)


class LatentSummary:
    """What the latent suite keeps of a stream of encodings; constant memory.

    `keep` posterior means and log variances are kept as they are, for plots. Where the encoder's answer for an image is
    not finite, or has a variance beyond float32, every value that this image would contribute to is missing.
    """

    def __init__(self, keep: int = 2000, codebook: int | None = None) -> None:
        self.keep = keep
        self.location = Moments()
        self.kl = Moments()
        self.spread = Moments()
        self.kept_means: list[np.ndarray] = []
        self.kept_log_variances: list[np.ndarray] = []
        self.kept = 0
        self.codebook = codebook
        self.code_usage: np.ndarray | None = None
        self.images, self.not_finite = 0, 0
        self.modes_alone = False

    def update(self, posterior: Posterior, latent: Tensor) -> None:
        """Take in a batch: its posterior, and the latents (B, ...) that were decoded."""
        self.images += len(latent)
        if posterior.codes is not None and self.codebook is not None:
            codes = posterior.codes.cpu().numpy()
            known = (codes >= 0).reshape(len(codes), -1).all(1)
            self.not_finite += int((~known).sum())
            usage = code_usage(codes[known], self.codebook)
            self.code_usage = usage if self.code_usage is None else self.code_usage + usage
            return
        valid = finite_rows(latent)
        self.modes_alone |= not posterior.is_point and posterior.kl_per_dimension() is None
        self.location.update(latent.flatten(1).double().cpu().numpy())
        log_variance, kl = posterior.spread(), posterior.kl_per_dimension()
        if kl is not None and log_variance is not None:
            variance = variance_of(log_variance)
            valid &= finite_rows(variance)
            self.kl.update(kl.flatten(1).cpu().numpy())
            self.spread.update(variance.flatten(1).cpu().numpy())
        self.not_finite += int((~valid).sum())
        room = max(self.keep - self.kept, 0)
        self.kept_means.append(latent.flatten(1)[:room].float().cpu().numpy())
        if log_variance is not None:
            self.kept_log_variances.append(log_variance.flatten(1)[:room].float().cpu().numpy())
        self.kept += min(room, len(latent))

    def metrics(self) -> dict[str, Value]:
        """The metrics that apply, by name; NaN with the reason where an encoding was not finite."""
        note = f"the encoder's answer is not finite for {self.not_finite} of {self.images} images"
        note = note if self.not_finite else "needs two images"
        known = {"aggregate_variance": MODES_ALONE} if self.modes_alone else {}
        return {
            name: Value(float(value), self.images, note=known.get(name, "") if np.isfinite(value) else note)
            for name, value in self._values().items()
        }

    def _values(self) -> dict[str, float]:
        if self.code_usage is not None:
            return codebook_metrics(self.code_usage) if not self.not_finite else dict.fromkeys(CODEBOOK, np.nan)
        values = {"aggregate_mean": np.abs(self.location.mean).mean()}
        if not self.kl.count:
            return values | {"aggregate_variance": self.location.variance.mean()}
        active = self.active if np.isfinite(self.location.variance).all() else np.array([np.nan])
        return values | {
            "aggregate_variance": (self.location.variance + self.spread.mean).mean(),
            "active_units": active.sum(),
            "kl_per_dim": np.mean(self.kl.mean),
            "posterior_collapse": np.nan if np.isnan(active).any() else active.mean() < COLLAPSED_SHARE,
        }

    @property
    def active(self) -> np.ndarray:
        """Which dimensions are active, (L,) bool."""
        return self.location.variance > ACTIVE_VARIANCE

    def means(self) -> np.ndarray | None:
        """The kept latent means, (n, L) float64, of the first images; None for codes."""
        return np.concatenate(self.kept_means).astype(np.float64) if self.kept_means else None

    def arrays(self) -> dict[str, np.ndarray]:
        """What latent.npz holds; keys that do not apply are absent, and all are where an encoding was not finite.

        For a single image, whose variance is not known, it holds nothing.
        """
        if self.not_finite:
            return {}
        if self.code_usage is not None:
            return {"code_usage": self.code_usage}
        if self.images < 2:
            return {}
        arrays = {
            "mean": np.asarray(self.location.mean),
            "variance": self.location.variance + (self.spread.mean if self.kl.count else 0),
            "posterior_means": np.concatenate(self.kept_means),
        }
        if self.kl.count:
            arrays |= {"kl_per_dim": np.asarray(self.kl.mean), "active": self.active}
        if self.kept_log_variances:
            arrays["posterior_log_variances"] = np.concatenate(self.kept_log_variances)
        return arrays


def code_usage(codes: np.ndarray, size: int) -> np.ndarray:
    """How often each of `size` codes occurs in grids (n, h, w): (size,); in (n, levels, h, w): (levels, size)."""
    if codes.ndim == 3:
        return np.bincount(codes.ravel(), minlength=size)
    return np.stack([code_usage(level, size) for level in codes.swapaxes(0, 1)])


def codebook_metrics(usage: np.ndarray) -> dict[str, float]:
    """Perplexity, exp of the entropy of code use, and the number of codes used, from counts (K,).

    From counts (levels, K) those of each level besides, after a slash, and as a whole the geometric mean of the
    perplexities and the sum of the codes used.
    """
    if usage.ndim == 1:
        shares = usage[usage > 0] / usage.sum()
        return {
            "codebook_perplexity": float(np.exp(-(shares * np.log(shares)).sum())),
            "codes_used": int((usage > 0).sum()),
        }
    levels = [codebook_metrics(level) for level in usage]
    perplexities, used = ([level[name] for level in levels] for name in CODEBOOK)
    whole = {"codebook_perplexity": float(np.exp(np.mean(np.log(perplexities)))), "codes_used": sum(used)}
    return whole | {
        f"{name}/level {number}": value for number, level in enumerate(levels, 1) for name, value in level.items()
    }
