"""PoincareVAE (Mathieu et al. 2019): latents in the Poincaré ball."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from pythae.models.base.base_utils import ModelOutput
from pythae.models.pvae.pvae_utils import _project
from torch import Tensor

from vaebench.models.interface import Prior
from vaebench.models.posterior import Posterior, finite_rows, standard_normal
from vaebench.models.providers.pythae.model import PythaeModel


@dataclass(frozen=True)
class WrappedNormal(Posterior):
    """A normal on the ball, wrapped or Riemannian as the model's, around `mean` with ln σ² `log_variance`, both (B, L).

    `log_variance` may be (B, 1).
    """

    mean: Tensor
    log_variance: Tensor
    model: "Model"

    def mode(self) -> Tensor:
        """The location."""
        return self.mean

    @torch.no_grad()
    def sample(self, generator: np.random.Generator) -> Tensor:
        """A draw in the ball; NaN for images whose encoding is not finite."""
        return self._in_float64()._sample(generator).to(self.mean)

    @torch.no_grad()
    def draw(self, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """A draw and its log ratio."""
        exact = self._in_float64()
        z = exact._sample(generator)
        valid = torch.isfinite(z).all(1)
        inside = z.where(valid[:, None], 0.0).unsqueeze(0)
        log_q = exact._harmless(valid, 0.0).distribution().log_prob(inside)
        ratio = log_q - self.model.ball_prior().log_prob(inside)
        return z.to(self.mean), ratio.double().sum(-1).squeeze(0).where(valid, torch.nan)

    def distribution(self, rows: slice = slice(None)) -> torch.distributions.Distribution:
        """pythae's distribution of some rows."""
        scale = torch.exp(0.5 * self.log_variance[rows])
        return self.model.posterior(loc=self.mean[rows], scale=scale, manifold=self.model.latent_manifold)

    def _in_float64(self) -> "WrappedNormal":
        """Near the rim of the ball 1 - |z|² keeps few digits: in float32 a rate is off by 0.2 % and more."""
        return replace(self, mean=self.mean.double(), log_variance=self.log_variance.double())

    def _sample(self, generator: np.random.Generator) -> Tensor:
        """A draw in the precision of the mean; NaN for images whose encoding is not finite."""
        valid = finite_rows(self.mean)
        return self._harmless(valid, 1.0)._drawn(generator).where(valid[:, None], torch.nan)

    def _harmless(self, valid: Tensor, log_variance: float) -> "WrappedNormal":
        """The centre of the ball, and a number, in rows that are not valid: pythae's distributions stop at NaN."""
        mean = self.mean.where(valid[:, None], 0.0)
        return replace(self, mean=mean, log_variance=self.log_variance.where(valid[:, None], log_variance))

    def _drawn(self, generator: np.random.Generator) -> Tensor:
        """A normal in the tangent space at 0, carried to the location (Nagano et al. 2019).

        The Riemannian normal, which only pythae can sample, is drawn image by image, each from its own seed.
        """
        if self.model.model_config.posterior_distribution == "wrapped_normal":
            ball, origin = self.model.latent_manifold, torch.zeros_like(self.mean)
            tangent = standard_normal(self.mean, generator) * torch.exp(0.5 * self.log_variance)
            tangent = tangent / ball.lambda_x(origin, keepdim=True)
            return ball.expmap(self.mean, ball.transp(origin, self.mean, tangent))
        draws = []
        with torch.random.fork_rng(devices=[self.mean.device] if self.mean.is_cuda else []):
            for i, seed in enumerate(generator.integers(2**63, size=len(self.mean))):
                torch.manual_seed(int(seed))
                draws.append(self.distribution(slice(i, i + 1)).rsample(torch.Size([1])).squeeze(0))
        return torch.cat(draws)


class Model(PythaeModel):
    """Its latents lie in a ball.

    pythae takes the encoder's answer for the location as it is. Beyond the rim the formulas of the divergence have no
    meaning and no lower bound: it falls to hundreds of nats below zero, the spread grows with it, and the loss ends as
    NaN. The location is therefore put back onto the ball, within pythae's own distance of its rim, and what is within
    stays as it is. The gradient goes straight through, so that the divergence draws what is outside back.
    """

    def forward(self, inputs: Mapping[str, Tensor], **options: Any) -> ModelOutput:
        """pythae's, with the location within the ball, save where its own training is repeated."""
        x = inputs["data"]
        q = self.encode(x).distribution()
        z = q.rsample(torch.Size([1]))
        y = self.decoder(z.squeeze(0)).reconstruction
        loss, reconstruction_loss, kl = self.loss_function(y, x, z, q)
        return ModelOutput(recon_loss=reconstruction_loss, reg_loss=kl, loss=loss, recon_x=y, z=z.squeeze(0))

    def encode(self, x: Tensor) -> WrappedNormal:
        """Location and spread; the Riemannian normal's encoder calls the latter a concentration."""
        output = self.encoder(x)
        log_variance = output.get("log_covariance", output.get("log_concentration"))
        mean = output.embedding if self.as_stock else self.within(output.embedding)
        return WrappedNormal(mean, log_variance, self)

    def within(self, places: Tensor) -> Tensor:
        """Places (B, L) on the ball: each the nearest one, where it lies beyond the rim."""
        return _project(places, self.latent_manifold.c).detach() + (places - places.detach())

    def priors(self) -> Mapping[str, Prior]:
        """The prior on the ball."""
        return {"poincare": Prior(self.draw_prior)}

    def ball_prior(self) -> torch.distributions.Distribution:
        """pythae's distribution."""
        return self.prior(loc=self._pz_mu, scale=self._pz_logvar.exp(), manifold=self.latent_manifold)

    @torch.no_grad()
    def draw_prior(self, count: int, options: Mapping[str, object], generator: np.random.Generator) -> Tensor:
        """Draws from torch's global random numbers, (count, L)."""
        return self.ball_prior().rsample(torch.Size([count])).reshape(count, -1)
