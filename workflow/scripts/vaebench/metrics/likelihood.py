"""The marginal likelihood by importance sampling with the posterior as proposal (Burda et al. 2016)."""

import math

import numpy as np
import torch
from pythae.models import BaseAE
from torch import Tensor

from vaebench.inference import Encoding, decode, encode, standard_normal
from vaebench.metrics.reconstruction import BCE_MARGIN

CHUNK = 512  # decoded images at a time


@torch.no_grad()
def importance_weighted_bound(
    model: BaseAE, x: Tensor, samples: int, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """ln 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x) in nats, and the effective number of samples; both (B,) float64.

    For Gaussian posteriors and a standard normal prior. p(x|z) is N(x̂(z), I), with its constant -½ D ln 2π, or a
    product of Bernoullis when the model was trained on cross-entropy. A lower bound in expectation, tight as K grows.
    """
    encoding = encode(model, x)
    log_weights = [_log_weights(model, x, encoding, i, samples, generator) for i in range(len(x))]
    log_weights = torch.stack(log_weights)
    bound = torch.logsumexp(log_weights, 1) - math.log(samples)
    effective = torch.exp(2 * torch.logsumexp(log_weights, 1) - torch.logsumexp(2 * log_weights, 1))
    return bound, effective


def _log_weights(
    model: BaseAE, x: Tensor, encoding: Encoding, i: int, samples: int, generator: np.random.Generator
) -> Tensor:
    mean, log_variance = encoding.mean[i].double(), encoding.log_variance[i].double()
    noise = standard_normal(encoding.mean[i].expand(samples, -1), generator).double()
    z = mean + noise * torch.exp(0.5 * log_variance)
    log_prior_over_posterior = -0.5 * (z.square() - noise.square() - log_variance).sum(1)
    log_likelihood = [_log_likelihood(model, x[i], part) for part in z.to(x.dtype).split(CHUNK)]
    return log_prior_over_posterior + torch.cat(log_likelihood)


def _log_likelihood(model: BaseAE, x: Tensor, z: Tensor) -> Tensor:
    """ln p(x|z) of one image under each latent, (K,) float64."""
    if model.model_config.reconstruction_loss == "bce":
        p = decode(model, z).double().clamp(BCE_MARGIN, 1 - BCE_MARGIN)
        return (x * p.log() + (1 - x) * (1 - p).log()).flatten(1).sum(1)
    error = (decode(model, z, clamp=False) - x).double().square().flatten(1).sum(1)
    return -0.5 * (error + x.numel() * math.log(2 * math.pi))
