"""VAMP (Tomczak & Welling 2018): the prior is the mixture of the posteriors of learned pseudo-inputs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vaebench.models.interface import Prior
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
    """A Gaussian posterior against a learned prior."""

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
        device = next(self.parameters()).device
        shape = (self.number_components, *self.input_shape)
        output = self.encoder(self.pseudo_inputs(self.idle_input.to(device)).reshape(shape))
        chosen = torch.from_numpy(generator.integers(len(output.embedding), size=count)).to(device)
        means, log_variances = output.embedding[chosen], output.log_covariance[chosen]
        return means + standard_normal(means, generator) * torch.exp(0.5 * log_variances)
