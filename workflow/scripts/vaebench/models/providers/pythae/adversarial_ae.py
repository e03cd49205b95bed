"""Adversarial_AE, whose discriminator judges latents, and whose posterior may be a point."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vaebench.models.posterior import Point, Posterior
from vaebench.models.providers.pythae.model import PythaeModel


class Model(PythaeModel):
    """A Gaussian posterior unless `deterministic_posterior` is set."""

    def loss_function(self, recon_x: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """pythae's, with its labels made on the device, so that no step waits for it."""
        stock: Any = super()
        with torch.device(recon_x.device):
            found: tuple[Tensor, ...] = stock.loss_function(recon_x, *others)
        return found

    def encode(self, x: Tensor) -> Posterior:
        """A Gaussian or a point."""
        return Point(self.encoder(x).embedding) if self.deterministic_posterior else super().encode(x)

    def probabilities(self) -> Sequence[tuple[nn.Module, str]]:
        """Its discriminator's answer too is compared by cross-entropy."""
        return [*super().probabilities(), (self.discriminator, "embedding")]
