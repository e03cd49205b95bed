"""What HVAE and RHVAE share: a Gaussian draw that is moved by leapfrog steps (Caterini et al. 2018)."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from vaebench.models.posterior import Gaussian, finite_rows, standard_normal
from vaebench.models.providers.pythae.model import PythaeModel


class HamiltonianModel(PythaeModel):
    """A model whose latents are moved by the slope of its density."""

    @abstractmethod
    def moved(self, x: Tensor, start: Tensor, noise: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        """`start` after the leapfrog steps, and the correction of the log density of the noise's Gaussian, (B,).

        The correction is ln q(ρ_0|z_0) - ln p(ρ_K|z_K) of the momenta, less the log determinant of the tempering: with
        it, ln q - ln p is that of the extended space, whose mean is not below the KL divergence of z alone. The steps
        count as volume-preserving, which pythae's are up to terms of the order of eps_lf².
        """


@dataclass(frozen=True)
class Hamiltonian(Gaussian):
    """A Gaussian whose draws for images x are moved by `model`; the rate is that of latents and momenta together."""

    x: Tensor
    model: HamiltonianModel
    estimate: ClassVar[str] = "estimate in the extended space of latents and momenta"

    def kl_per_dimension(self) -> Tensor | None:
        """None: the moved draws are no Gaussian."""
        return None

    def sample(self, generator: np.random.Generator) -> Tensor:
        """A moved draw."""
        return self._moved(generator)[1]

    def draw(self, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """A moved draw and its log ratio."""
        noise, z, correction = self._moved(generator)
        return z, self._log_ratio(noise, z, correction)

    @torch.no_grad()
    def _moved(self, generator: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Noise, latent, correction; NaN for images whose encoding is not finite."""
        valid = finite_rows(self.mean)
        mean, log_variance = (part.where(valid[:, None], 1.0) for part in (self.mean, self.log_variance))
        noise, momentum = standard_normal(torch.cat([mean] * 2, 1), generator).chunk(2, dim=1)
        start = mean + noise * torch.exp(0.5 * log_variance)
        z, correction = self.model.moved(self.x, start, noise, momentum)
        return noise, z.where(valid[:, None], torch.nan), correction

    def _answers(self) -> dict[str, Tensor]:
        return {name: part for name, part in self._tensors().items() if name != "x"}
