"""The marginal likelihood by importance sampling with the posterior as proposal (Burda et al. 2016)."""

import math

import numpy as np
import torch
from pythae.models import BaseAE
from torch import Tensor

from vaebench.metrics.rate import bernoulli_log_mass, half_squared_error, trained_on_cross_entropy
from vaebench.models.posterior import Encoding, decode, encode, standard_normal

CHUNK = 512  # decoded images at a time


@torch.no_grad()
def importance_weighted_bounds(
    model: BaseAE, x: Tensor, samples: int, generator: np.random.Generator
) -> dict[str, Tensor]:
    """ln 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x) in nats, and the effective number of samples: (B,) float64 by metric.

    For Gaussian posteriors and a standard normal prior. `log_likelihood_gaussian` takes the density
    p(x|z) = N(x̂(z), I), with its constant -½ D ln 2π; a model trained on cross-entropy also has
    `log_likelihood_bernoulli`, of the probability mass of a product of Bernoullis, and its `effective_samples` are
    those of the mass. Each is a lower bound in expectation, tight as K grows.
    """
    encoding = encode(model, x)
    found = [_bounds_of_one(model, x, encoding, i, samples, generator) for i in range(len(x))]
    return {name: torch.stack([one[name] for one in found]) for name in found[0]}


def _bounds_of_one(
    model: BaseAE, x: Tensor, encoding: Encoding, i: int, samples: int, generator: np.random.Generator
) -> dict[str, Tensor]:
    mean, log_variance = encoding.mean[i].double(), encoding.log_variance[i].double()
    noise = standard_normal(encoding.mean[i].expand(samples, -1), generator).double()
    z = mean + noise * torch.exp(0.5 * log_variance)
    log_ratio = -0.5 * (z.square() - noise.square() - log_variance).sum(1)
    images = [decode(model, part, clamp=False) for part in z.to(x.dtype).split(CHUNK)]
    constant = 0.5 * x[i].numel() * math.log(2 * math.pi)
    densities = torch.cat([-half_squared_error(x[i : i + 1], y) - constant for y in images])
    log_weights = {"log_likelihood_gaussian": log_ratio + densities}
    if trained_on_cross_entropy(model):
        log_weights["log_likelihood_bernoulli"] = log_ratio + torch.cat([bernoulli_log_mass(x[i], y) for y in images])
    bounds = {name: torch.logsumexp(weights, 0) - math.log(samples) for name, weights in log_weights.items()}
    own = list(log_weights.values())[-1]
    return bounds | {"effective_samples": torch.exp(2 * torch.logsumexp(own, 0) - torch.logsumexp(2 * own, 0))}
