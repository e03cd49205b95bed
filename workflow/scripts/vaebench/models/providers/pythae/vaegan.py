"""VAEGAN (Larsen et al. 2016): a discriminator's inner layer compares images, and three optimizers take turns."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from pythae.models.base.base_utils import ModelOutput
from torch import Tensor, nn
from torch.nn import functional

from vaebench.models.interface import Objective
from vaebench.models.providers.pythae.model import PythaeModel


class Model(PythaeModel):
    """It ignores `reconstruction_loss`; a batch may skip the update of its discriminator or its decoder."""

    ignores_reconstruction_loss = True
    discriminator: nn.Module

    def loss_function(
        self, recon_x: Tensor, x: Tensor, z: Tensor, z_prior: Tensor, mu: Tensor, log_var: Tensor
    ) -> tuple[Tensor | bool, ...]:
        """pythae's, to the last bit, but that the last two of its values, whether to update decoder and discriminator,
        are tensors, and that its labels are made on the device: nothing in a step waits for it."""
        kl = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp(), dim=-1)
        level = self.reconstruction_layer
        of_x, of_y = (
            self.discriminator(images, output_layer_levels=[level])[f"embedding_layer_{level}"].reshape(len(x), -1)
            for images in (x, recon_x)
        )
        reconstruction = 0.5 * functional.mse_loss(of_x, of_y, reduction="none").sum(dim=-1)
        generated = self.decoder(z_prior).reconstruction
        real, fake = (self.discriminator(images).embedding.flatten() for images in (x, generated))
        of_real = functional.binary_cross_entropy(real, torch.ones_like(real))
        of_fake = functional.binary_cross_entropy(fake, torch.zeros_like(fake))
        discriminator = of_real + of_fake
        share = self.adversarial_loss_scale
        decoder = (1 - share) * reconstruction - share * discriminator
        low, high = self.equilibrium - self.margin, self.equilibrium + self.margin
        is_ahead = (of_real < low) | (of_fake < low)
        is_behind = (of_real > high) | (of_fake > high)
        losses = (each.mean(dim=0) for each in (reconstruction, kl + reconstruction, decoder, discriminator))
        return *losses, True, ~is_behind | is_ahead, ~is_ahead | is_behind

    def waiting(self, output: ModelOutput) -> Mapping[str, bool | Tensor]:
        """A discriminator that is ahead of the decoder waits for it, and the other way round; not both."""
        return {name: ~output[f"update_{name}"] for name in ("decoder", "discriminator")}

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
