"""The marginal likelihood by importance sampling with the posterior as proposal (Burda et al. 2016)."""

import math

import numpy as np
import torch
from torch import Tensor

from vaebench.metrics.rate import bernoulli_log_mass, half_squared_error
from vaebench.models.inference import decode, encode
from vaebench.models.interface import Autoencoder
from vaebench.models.posterior import Gaussian, standard_normal

CHUNK = 512  # decoded images at a time
# By the metric of the evidence lower bound under a model's own likelihood: a density and a mass have no common scale.
OWN = {
    "neg_elbo_density": "log_likelihood_density",
    "neg_elbo_bernoulli": "log_likelihood_bernoulli",
    "bits_per_dim": "log_likelihood_mass",
}


@torch.no_grad()
def importance_weighted_bounds(
    model: Autoencoder, x: Tensor, samples: int, generator: np.random.Generator
) -> dict[str, Tensor]:
    """ln 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x) in nats, and the effective number of samples: (B,) float64 by metric.

    For Gaussian posteriors and a standard normal prior. `log_likelihood_gaussian` takes the density p(x|z) = N(x̂(z),
    I), with its constant -½ D ln 2π; a model trained on cross-entropy also has `log_likelihood_bernoulli`, of the
    probability mass of a product of Bernoullis, and a model with its own likelihood (`Autoencoder.own_nats`) has the
    bound under that, called as in `OWN`; `effective_samples` are those of the last of them. Each is a lower bound in
    expectation, tight as K grows. Raises TypeError for another posterior.
    """
    posterior = encode(model, x)
    if not isinstance(posterior, Gaussian) or posterior.kl() is None:
        raise TypeError("importance samples need a Gaussian posterior")
    found = []
    for i in range(len(x)):
        with model.given(None if model.condition is None else model.condition[i : i + 1]):
            one = Gaussian(posterior.mean[i : i + 1], posterior.log_variance[i : i + 1])
            found.append(_bounds_of_one(model, x[i : i + 1], one, samples, generator))
    return {name: torch.stack([one[name] for one in found]) for name in found[0]}


def _bounds_of_one(
    model: Autoencoder, x: Tensor, posterior: Gaussian, samples: int, generator: np.random.Generator
) -> dict[str, Tensor]:
    """The bounds of one image x, (1, C, H, W), by its posterior."""
    mean, log_variance = posterior.mean.double(), posterior.log_variance.double()
    noise = standard_normal(posterior.mean.expand(samples, *mean.shape[1:]), generator).double()
    z = mean + noise * torch.exp(0.5 * log_variance)
    log_ratio = -0.5 * (z.square() - noise.square() - log_variance).flatten(1).sum(1)
    images = [decode(model, part, clamp=False) for part in torch.split(z.to(x.dtype), CHUNK)]
    constant = 0.5 * x[0].numel() * math.log(2 * math.pi)
    densities = torch.cat([-half_squared_error(x, y) - constant for y in images])
    log_weights = {"log_likelihood_gaussian": log_ratio + densities}
    if model.likelihood == "bernoulli":
        log_weights["log_likelihood_bernoulli"] = log_ratio + torch.cat([bernoulli_log_mass(x[0], y) for y in images])
    own_nats = [model.own_nats(x.expand_as(y), y) or {} for y in images]
    for metric, name in OWN.items():
        if metric in own_nats[0]:
            log_weights[name] = log_ratio - torch.cat([nats[metric] for nats in own_nats])
    bounds = {name: torch.logsumexp(weights, 0) - math.log(samples) for name, weights in log_weights.items()}
    own = list(log_weights.values())[-1]
    return bounds | {"effective_samples": torch.exp(2 * torch.logsumexp(own, 0) - torch.logsumexp(2 * own, 0))}
