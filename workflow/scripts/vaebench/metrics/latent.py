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
        """Population variance of each column, (L,)."""
        return np.asarray(self.squares) / self.count


class LatentSummary:
    """What the latent suite keeps of a stream of encodings; constant memory.

    `keep` posterior means and log variances are kept as they are, for plots. One image for which the encoder's answer
    is not finite, or has a variance beyond float32, leaves all that it would take part in without a value.
    """

    def __init__(self, keep: int = 2000, codebook: int | None = None) -> None:
        self.keep = keep
        self.location = Moments()
        self.kl = Moments()
        self.spread = Moments()
        self.kept_means: list[np.ndarray] = []
        self.kept_log_variances: list[np.ndarray] = []
        self.kept = 0
        self.code_usage = None if codebook is None else np.zeros(codebook, np.int64)
        self.images, self.not_finite = 0, 0

    def update(self, posterior: Posterior, latent: Tensor) -> None:
        """Take in a batch: its posterior, and the latents (B, ...) that were decoded."""
        self.images += len(latent)
        if posterior.codes is not None and self.code_usage is not None:
            codes = posterior.codes.flatten(1).cpu().numpy()
            known = (codes >= 0).all(1)
            self.not_finite += int((~known).sum())
            self.code_usage += np.bincount(codes[known].ravel(), minlength=len(self.code_usage))
            return
        valid = finite_rows(latent)
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
        return {
            name: Value(float(value), self.images, note="" if np.isfinite(value) else note)
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
        """What latent.npz holds; keys that do not apply are absent, and all are where an encoding was not finite."""
        if self.not_finite:
            return {}
        if self.code_usage is not None:
            return {"code_usage": self.code_usage}
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


def codebook_metrics(usage: np.ndarray) -> dict[str, float]:
    """Perplexity, exp of the entropy of code use, and the number of codes used, from counts (K,)."""
    shares = usage[usage > 0] / usage.sum()
    return {
        "codebook_perplexity": float(np.exp(-(shares * np.log(shares)).sum())),
        "codes_used": int((usage > 0).sum()),
    }
