"""SVAE (Davidson et al. 2018): latents on a sphere, a von Mises-Fisher posterior, and the uniform prior."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from scipy.special import betaincinv, gammaln, ive, ndtri
from torch import Tensor
from torch.nn import functional

from vaebench.models.interface import Prior
from vaebench.models.posterior import Posterior, finite_rows
from vaebench.models.providers.pythae.model import PythaeModel

PROPOSALS = 24  # of a rejection sampler that accepts at least 2 in 3 (Ulrich 1984): all refused with p < 1e-11


@dataclass(frozen=True)
class VonMisesFisher(Posterior):
    """A von Mises-Fisher distribution around `mean`, (B, L) of length 1, with a `concentration` (B, 1).

    rotate: carries draws around the first axis to around a mean.
    """

    mean: Tensor
    concentration: Tensor
    rotate: Callable[[Tensor, Tensor], Tensor]

    def mode(self) -> Tensor:
        """The mean direction."""
        return self.mean

    def sample(self, generator: np.random.Generator) -> Tensor:
        """By Ulrich's (1984) rejection of the cosine and a uniform tangent (Davidson et al. 2018).

        Every image takes the same number of uniform values: a fixed number of proposals, of which the first accepted
        one counts, and the normal values of the tangent.
        """
        valid = finite_rows(self.mean)
        safe = replace(
            self, mean=self.mean.where(valid[:, None], 1.0), concentration=self.concentration.where(valid[:, None], 1.0)
        )
        return safe._drawn(generator).where(valid[:, None], torch.nan)

    def kl(self) -> Tensor | None:
        """The divergence from the uniform distribution on the sphere."""
        return sphere_divergence(self.concentration, self.mean.shape[1])

    def between(self, other: Self, weight: float) -> Tensor:
        """The line, put back on the sphere."""
        return functional.normalize(super().between(other, weight))

    @torch.no_grad()
    def _drawn(self, generator: np.random.Generator) -> Tensor:
        size = self.mean.shape[1]
        concentration = self.concentration.double().cpu().numpy()
        uniform = generator.random((len(self.mean), 2 * PROPOSALS + size - 1))
        proposed, tested, tangent = np.split(uniform, [PROPOSALS, 2 * PROPOSALS], axis=1)
        found = vmf_cosine(concentration, size, proposed, tested)
        direction = torch.from_numpy(ndtri(tangent.clip(1e-16))).to(self.mean)
        direction = functional.normalize(direction)
        cosine = torch.from_numpy(found).to(self.mean)
        z = torch.cat([cosine, torch.sqrt((1 - cosine.square()).clamp(0)) * direction], dim=1)
        return self.rotate(self.mean, z)


class Model(PythaeModel):
    """Its latents lie on a sphere."""

    def encode(self, x: Tensor) -> Posterior:
        """A direction and a concentration of at least 1."""
        output = self.encoder(x)
        concentration = functional.softplus(output.log_concentration) + 1
        direction = output.embedding / output.embedding.norm(dim=-1, keepdim=True)
        return VonMisesFisher(direction, concentration, self._householder_rotation)

    def priors(self) -> Mapping[str, Prior]:
        """The uniform distribution on the sphere."""
        return {"hypersphere": Prior(self.draw_prior)}

    def draw_prior(self, count: int, options: Mapping[str, object], generator: np.random.Generator) -> Tensor:
        """Points spread evenly on the sphere, (count, L)."""
        drawn = generator.standard_normal((count, *self.latent_shape), dtype=np.float32)
        z = torch.from_numpy(drawn).to(next(self.parameters()).device)
        return z / z.norm(dim=1, keepdim=True)


def vmf_cosine(concentration: np.ndarray, size: int, proposed: np.ndarray, tested: np.ndarray) -> np.ndarray:
    """Cosines (B, 1) to the mean direction of von Mises-Fisher draws in `size` dimensions, by rejection.

    concentration: (B, 1); proposed and tested: uniform values (B, P), those of the proposals and of their tests.
    """
    degrees = size - 1
    root = np.sqrt(4 * concentration**2 + degrees**2)
    b = degrees / (root + 2 * concentration)  # (root - 2κ) / (m - 1) without its cancellation
    a = (degrees + 2 * concentration + root) / 4
    d = 4 * a * b / (1 + b) - degrees * np.log(degrees)
    beta = betaincinv(degrees / 2, degrees / 2, proposed)
    cosine = (1 - (1 + b) * beta) / (1 - (1 - b) * beta)
    t = 2 * a * b / (1 - (1 - b) * beta)
    accepted = degrees * np.log(t) - t + d >= np.log(tested.clip(1e-300))
    first = np.argmax(accepted, axis=1)[:, None]
    return np.take_along_axis(cosine, first, axis=1)


def sphere_divergence(concentration: Tensor, size: int) -> Tensor:
    """KL of a von Mises-Fisher distribution from the uniform one on the sphere in `size` dimensions: (B, 1) -> (B,).

    Davidson et al. 2018, eq. 14, in float64: κ I_{m/2}(κ) / I_{m/2-1}(κ) + ln C_m(κ) + ln |S^{m-1}|.
    """
    kappa, half = concentration.double().flatten().cpu().numpy(), size / 2
    below = ive(half - 1, kappa)  # e^-κ I_{m/2-1}(κ)
    with np.errstate(divide="ignore", invalid="ignore"):  # an order that underflows gives NaN, and an empty cell
        mean_cosine = ive(half, kappa) / below
        log_normaliser = (half - 1) * np.log(kappa) - half * math.log(2 * math.pi) - np.log(below) - kappa
    log_area = math.log(2) + half * math.log(math.pi) - gammaln(half)
    return torch.from_numpy(kappa * mean_cosine + log_normaliser + log_area).to(concentration.device)
