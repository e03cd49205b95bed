"""VAMP (Tomczak & Welling 2018): the prior is the mixture of the posteriors of learned pseudo-inputs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from vaebench.models.building import has_batch_norm
from vaebench.models.interface import Losses, Moment, Prior
from vaebench.models.posterior import Gaussian, Posterior, standard_normal
from vaebench.models.providers.pythae.model import PythaeModel


@dataclass(frozen=True)
class MixturePrior(Gaussian):
    """A Gaussian posterior whose prior is the model's mixture."""

    model: "Model"

    def kl_per_dimension(self) -> Tensor | None:
        """None: the divergence from a mixture has no closed form."""
        return None

    @torch.no_grad()
    def _log_prior(self, z: Tensor) -> Tensor:
        return self.model._log_p_z(z).double()


class Model(PythaeModel):
    """A Gaussian posterior against a learned prior.

    pythae encodes the images and the pseudo-inputs one after the other. While it trains, batch norm in the encoder then
    normalises either by its own statistics, and its running statistics, which every use after the training takes, are a
    mean of both and fit neither. Such an encoder is therefore trained on one batch of both: it is the same function of
    an image and of a pseudo-input, with statistics that the running ones estimate.
    """

    def to(self, *arguments: Any, **options: Any) -> Self:
        """Move the model and the input that chooses the pseudo-inputs, which pythae moves only when it is used."""
        moved = super().to(*arguments, **options)
        moved.idle_input = moved.idle_input.to(moved.device)
        return moved

    def losses(self, x: Tensor, moment: Moment) -> Losses:
        """pythae's; in a training with batch norm in the encoder those of one batch of images and pseudo-inputs."""
        joint = self.training and not self.as_stock and has_batch_norm(self.encoder)
        return self.joint_losses(x, moment) if joint else super().losses(x, moment)

    def joint_losses(self, x: Tensor, moment: Moment) -> Losses:
        """pythae's arithmetic, with x, (B, C, H, W), and the pseudo-inputs encoded as one batch."""
        output = self.encoder(torch.cat([x, self.pseudo_images()]))
        (mean, means), (log_variance, log_variances) = (
            (part[: len(x)], part[len(x) :]) for part in (output.embedding, output.log_covariance)
        )
        z, _ = self._sample_gauss(mean, torch.exp(0.5 * log_variance))
        y = self.decoder(z).reconstruction.reshape(x.shape)
        reconstruction_loss = self.error(x, y)
        divergences = _log_gaussian(z, mean, log_variance) - _log_mixture(z, means, log_variances)
        kl = divergences.mean()
        beta = min(1.0, moment.epoch / self.linear_scheduling) if self.linear_scheduling > 0 else 1.0
        loss = reconstruction_loss + beta * kl
        return Losses({"loss": loss, "reconstruction_loss": reconstruction_loss, "kl": kl})

    def error(self, x: Tensor, y: Tensor) -> Tensor:
        """pythae's error of reconstructions y, the mean over the images."""
        return self.errors(x, y).mean()

    def pseudo_images(self) -> Tensor:
        """The pseudo-inputs as images, (number_components, C, H, W)."""
        pseudo_inputs: Tensor = self.pseudo_inputs(self.idle_input)
        return pseudo_inputs.reshape(self.number_components, *self.input_shape)

    def encode(self, x: Tensor) -> Posterior:
        """A Gaussian."""
        output = self.encoder(x)
        return MixturePrior(output.embedding, output.log_covariance, self)

    def priors(self) -> Mapping[str, Prior]:
        """The learned one."""
        return {"vamp": Prior(self.draw_prior)}

    @torch.no_grad()
    def draw_prior(self, count: int, options: Mapping[str, object], generator: np.random.Generator) -> Tensor:
        """Draws of the mixture, whose components are all equally likely, (count, L)."""
        output = self.encoder(self.pseudo_images())
        chosen = torch.from_numpy(generator.integers(len(output.embedding), size=count)).to(output.embedding.device)
        means, log_variances = output.embedding[chosen], output.log_covariance[chosen]
        return means + standard_normal(means, generator) * torch.exp(0.5 * log_variances)


def _log_gaussian(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """ln N(z; mean, exp(log_variance)) summed over the last dimension, without the constant of the dimensions."""
    return -0.5 * (log_variance + (z - mean).square() / log_variance.exp()).sum(-1)


def _log_mixture(z: Tensor, means: Tensor, log_variances: Tensor) -> Tensor:
    """The same of equally likely Gaussians, means and log variances (components, L), for z (B, L): (B,)."""
    return torch.logsumexp(_log_gaussian(z[:, None], means, log_variances), 1) - math.log(len(means))
