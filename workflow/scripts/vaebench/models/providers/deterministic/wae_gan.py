"""The Wasserstein autoencoder whose latents are compared with the prior by a discriminator (Tolstikhin et al. 2018)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from vaebench.models.interface import Losses, Moment, Objective
from vaebench.models.providers.deterministic.point_model import PointModel


class LatentDiscriminator(nn.Module):
    """Latents (B, L) to a logit, (B, 1): above 0 for draws of the prior."""

    def __init__(self, latent_dim: int, hidden: int, layers: int) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for inputs in (latent_dim, *[hidden] * (layers - 1)):
            steps += [nn.Linear(inputs, hidden), nn.ReLU()]
        self.layers = nn.Sequential(*steps, nn.Linear(hidden, 1))

    def forward(self, z: Tensor) -> Tensor:
        """Judge latents."""
        found: Tensor = self.layers(z)
        return found


class WaeGan(PointModel):
    """Algorithm 1 of arXiv 1711.01558: the autoencoder's loss is the error minus `reg_weight` ln D(z), D a sigmoid.

    The discriminator's is -ln D(prior) - ln (1 - D(z)). One answer to z serves both: each optimizer takes the gradient
    of its own loss in its own parameters.
    """

    def __init__(
        self, shape: tuple[int, int, int], networks: tuple[nn.Module, nn.Module], fields: Mapping[str, Any]
    ) -> None:
        super().__init__(shape, networks, fields)
        self.reg_weight = float(fields["reg_weight"])
        self.discriminator = LatentDiscriminator(fields["latent_dim"], fields["hidden"], fields["layers"])

    @property
    def name(self) -> str:
        """As in the catalog."""
        return "WAE_GAN"

    def losses(self, x: Tensor, moment: Moment) -> Losses:
        """loss, autoencoder_loss, discriminator_loss, reconstruction_loss and adversarial."""
        z = self.encoder(x).embedding
        error, judged = self.error(x, self.decode(z)), self.discriminator(z)
        adversarial = softplus(-judged).mean()
        discriminator = softplus(-self.discriminator(torch.randn_like(z))).mean() + softplus(judged).mean()
        autoencoder = error + self.reg_weight * adversarial
        terms = {
            "loss": autoencoder + discriminator,
            "autoencoder_loss": autoencoder,
            "discriminator_loss": discriminator,
            "reconstruction_loss": error,
            "adversarial": adversarial,
        }
        return Losses(terms)

    def objectives(self) -> Sequence[Objective]:
        """The autoencoder's and the discriminator's."""
        own = [*self.encoder.parameters(), *self.decoder.parameters()]
        judging = list(self.discriminator.parameters())
        return [
            Objective("autoencoder", "autoencoder_loss", own),
            Objective("discriminator", "discriminator_loss", judging),
        ]


def build(
    name: str, shape: tuple[int, int, int], networks: tuple[nn.Module, nn.Module], fields: Mapping[str, Any]
) -> WaeGan:
    """WAE_GAN."""
    return WaeGan(shape, networks, fields)
