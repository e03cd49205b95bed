"""VAEGAN (Larsen et al. 2016): a discriminator's inner layer compares images, and three optimizers take turns."""

from collections.abc import Sequence
from dataclasses import replace

from pythae.models.base.base_utils import ModelOutput
from torch import Tensor, nn

from vaebench.models.interface import Objective
from vaebench.models.providers.pythae.model import PythaeModel


class Model(PythaeModel):
    """It ignores `reconstruction_loss`; a batch may skip the update of its discriminator or its decoder."""

    ignores_reconstruction_loss = True
    discriminator: nn.Module

    def adjusted(self, terms: dict[str, Tensor], output: ModelOutput) -> dict[str, Tensor]:
        """With the KL divergence, which is in the encoder's loss."""
        terms["kl"] = terms["encoder_loss"] - terms["reconstruction_loss"]
        return terms

    def objective(self, name: str) -> Objective:
        """The decoder follows (1 - a) reconstruction loss - a discriminator loss, a being `adversarial_loss_scale`.

        The encoder's loss is the reconstruction loss and a KL divergence, which no parameter of the decoder changes.
        """
        found, scale = super().objective(name), self.adversarial_loss_scale
        mixture = {"encoder": 1 - scale, "discriminator": -scale}
        return replace(found, mixture=mixture) if name == "decoder" else found

    def probabilities(self) -> Sequence[tuple[nn.Module, str]]:
        """Its discriminator's answer too is compared by cross-entropy."""
        return [*super().probabilities(), (self.discriminator, "embedding")]
