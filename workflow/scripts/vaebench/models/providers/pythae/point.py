"""Autoencoders without a distribution over their latents: AE, WAE_MMD, RAE_GP."""

from torch import Tensor

from vaebench.models.posterior import Point, Posterior
from vaebench.models.providers.pythae.model import PythaeModel


class Model(PythaeModel):
    """Its posterior is a point."""

    def encode(self, x: Tensor) -> Posterior:
        """The encoder's vector."""
        return Point(self.encoder(x).embedding)
