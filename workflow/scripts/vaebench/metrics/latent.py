"""Diagnostics of the latent space: KL, activity of the dimensions, aggregate posterior, use of the codebook."""

from dataclasses import dataclass

import numpy as np
import torch
from pythae.models import BaseAE
from torch import Tensor

from vaebench.inference import Encoding, ball_posterior, draw_latent, standard_normal, through_flow

ACTIVE_VARIANCE = 0.01  # Burda et al. 2016: a dimension is active when the variance of its mean over images exceeds it
COLLAPSED_SHARE = 0.1


def kl_per_dimension(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) of each dimension in nats: two (B, L) -> (B, L) float64."""
    mean, log_variance = mean.double(), log_variance.double()
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp())


def vq_commitment(encoding: Encoding) -> Tensor:
    """Σ ‖z_e - e‖² over the code grid of each image: -> (B,) float64."""
    difference = encoding.mean - encoding.quantised.reshape(encoding.mean.shape)
    return difference.double().square().flatten(1).sum(1)


@torch.no_grad()
def kl_estimate(model: BaseAE, x: Tensor, encoding: Encoding, generator: np.random.Generator) -> Tensor | None:
    """The model's own KL term per image, (B,) float64, for posteriors or priors without the closed form.

    One draw of z for VAMP, flows and PoincareVAE; exact for SVAE; None where the model has no such term.
    """
    if encoding.family == "von_mises_fisher":
        return model._compute_kl(encoding.mean.shape[-1], encoding.concentration).double()
    if encoding.family == "wrapped_normal":
        z = draw_latent(model, x, encoding, generator).unsqueeze(0)
        prior = model.prior(loc=model._pz_mu, scale=model._pz_logvar.exp(), manifold=model.latent_manifold)
        ratio = ball_posterior(model, encoding).log_prob(z) - prior.log_prob(z)
        return ratio.double().sum(-1).squeeze(0)
    if encoding.family not in ("vamp", "flow"):
        return None
    noise = standard_normal(encoding.mean, generator)
    z = encoding.mean + noise * torch.exp(0.5 * encoding.log_variance)
    log_q = -0.5 * (encoding.log_variance + noise.square()).double().sum(1)
    if encoding.family == "vamp":
        return log_q - model._log_p_z(z).double()
    z, log_determinant = through_flow(model, z)
    return log_q + 0.5 * z.double().square().sum(1) - log_determinant.double()


@dataclass
class Moments:
    """Streaming mean and variance over images, in float64, merged batch by batch (Chan et al. 1979)."""

    count: int = 0
    mean: np.ndarray | float = 0.0
    squares: np.ndarray | float = 0.0

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
        return self.squares / self.count


class LatentSummary:
    """What the latent suite keeps of a stream of encodings; constant memory.

    `keep` posterior means and log variances are kept as they are, for plots.
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

    def update(self, encoding: Encoding, latent: Tensor) -> None:
        """Take in a batch: its encoding, and the latents (B, ...) that were decoded."""
        if encoding.codes is not None:
            codes = encoding.codes.flatten().cpu().numpy()
            self.code_usage += np.bincount(codes, minlength=len(self.code_usage))
            return
        self.location.update(latent.flatten(1).double().cpu().numpy())
        if encoding.family == "gaussian":
            self.kl.update(kl_per_dimension(encoding.mean, encoding.log_variance).cpu().numpy())
            self.spread.update(encoding.log_variance.double().exp().cpu().numpy())
        room = max(self.keep - self.kept, 0)
        self.kept_means.append(latent.flatten(1)[:room].float().cpu().numpy())
        if encoding.log_variance is not None:
            self.kept_log_variances.append(encoding.log_variance[:room].float().cpu().numpy())
        self.kept += min(room, len(latent))

    def metrics(self) -> dict[str, float]:
        """The metrics that apply, by name."""
        if self.code_usage is not None:
            return codebook_metrics(self.code_usage)
        values = {"aggregate_mean": float(np.abs(self.location.mean).mean())}
        if self.kl.count:
            active = self.active
            values |= {
                "aggregate_variance": float((self.location.variance + self.spread.mean).mean()),
                "active_units": int(active.sum()),
                "kl_per_dim": float(self.kl.mean.mean()),
                "posterior_collapse": int(active.mean() < COLLAPSED_SHARE),
            }
        else:
            values["aggregate_variance"] = float(self.location.variance.mean())
        return values

    @property
    def active(self) -> np.ndarray:
        """Which dimensions are active, (L,) bool."""
        return self.location.variance > ACTIVE_VARIANCE

    def arrays(self) -> dict[str, np.ndarray]:
        """What latent.npz holds; keys that do not apply are absent."""
        if self.code_usage is not None:
            return {"code_usage": self.code_usage}
        arrays = {
            "mean": self.location.mean,
            "variance": self.location.variance + (self.spread.mean if self.kl.count else 0),
            "posterior_means": np.concatenate(self.kept_means),
        }
        if self.kl.count:
            arrays |= {"kl_per_dim": self.kl.mean, "active": self.active}
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
