"""VAE_LinNF and VAE_IAF: a Gaussian whose draws go through an invertible flow (Rezende & Mohamed 2015; Kingma 2016)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vaebench.models.interface import Losses, Moment
from vaebench.models.posterior import Gaussian, Posterior
from vaebench.models.providers.pythae.model import PythaeModel


@dataclass(frozen=True)
class Flow(Gaussian):
    """The distribution of `through`(z) for z from the Gaussian.

    through: from base latents (B, L) to the latents and ln |det dz_K/dz_0|, (B,). folds: whether it is not invertible,
    which pythae lets a planar flow be: two base points then share a latent, whose density is not known.
    """

    through: Callable[[Tensor], tuple[Tensor, Tensor]]
    folds: bool = False

    def mode(self) -> Tensor:
        """The Gaussian's mean, through the flow."""
        with torch.no_grad():
            return self.through(self.mean)[0]

    @torch.no_grad()
    def sample(self, generator: np.random.Generator) -> Tensor:
        """A draw of the Gaussian, through the flow."""
        return self.through(self._drawn(generator)[1])[0]

    @torch.no_grad()
    def draw(self, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """A draw and its log ratio, NaN where the flow folds."""
        noise, base = self._drawn(generator)
        z, log_determinant = self.through(base)
        ratio = self._log_ratio(noise, z, -log_determinant.double())
        return z, torch.full_like(ratio, torch.nan) if self.folds else ratio

    def spread(self) -> Tensor | None:
        """None: what the flow makes of the Gaussian is none."""
        return None

    def kl_per_dimension(self) -> Tensor | None:
        """None: the flow mixes the dimensions."""
        return None

    def why_no_rate(self) -> str:
        """The reason, where the flow folds."""
        folded = "a planar flow is not invertible (w·u < -1), so that the posterior's density is not known"
        return folded if self.folds else ""


class Model(PythaeModel):
    """Its posterior is a flow."""

    def losses(self, x: Tensor, moment: Moment) -> Losses:
        """pythae's losses, with sums that begin as tensors on the device, so that no step waits for it."""
        with torch.device(x.device):
            return super().losses(x, moment)

    def encode(self, x: Tensor) -> Posterior:
        """The base Gaussian and the flow."""
        output = self.encoder(x)
        return Flow(output.embedding, output.log_covariance, self.through, self.folds())

    def through(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Push z (B, L) of the base Gaussian through the flow: the latent and ln |det dz_K/dz_0|, (B,)."""
        if self.model_name == "VAE_IAF":
            output = self.iaf_flow.inverse(z)
            return output.out, output.log_abs_det_jac
        log_determinant = torch.zeros(len(z), device=z.device)
        for layer in self.net:
            output = layer(z)
            z, log_determinant = output.out, log_determinant + output.log_abs_det_jac
        return z, log_determinant

    def folds(self) -> bool:
        """Whether a planar flow is not invertible: w·u < -1 (Rezende & Mohamed 2015, appendix A.1)."""
        layers = self.net if self.model_name == "VAE_LinNF" else ()
        return any((layer.w.detach() * layer.u.detach()).sum().item() < -1 for layer in layers if hasattr(layer, "w"))
