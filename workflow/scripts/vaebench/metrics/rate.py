"""The evidence lower bound of each image: its rate and its distortion, as expectations over the posterior.

-ELBO = E_q[-ln p(x|z)] + KL(q(z|x) ‖ p(z)): distortion plus rate (Alemi et al. 2018, "Fixing a broken ELBO"). The mean
over the posterior's draws is taken, never the value at its mode, which bounds nothing.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from vaebench.metrics.reconstruction import BCE_MARGIN
from vaebench.models.inference import decode
from vaebench.models.interface import Autoencoder
from vaebench.models.posterior import Posterior


@torch.no_grad()
def bound_terms(
    model: Autoencoder, x: Tensor, posterior: Posterior, generators: Sequence[np.random.Generator]
) -> dict[str, Tensor]:
    """rate, distortion, neg_elbo and neg_elbo_draw_error of each image in nats, (B,) float64 by metric.

    One draw per generator. `distortion` and `neg_elbo` are those of N(x̂(z), I) up to the constant ½ D ln 2π; the bound
    under the likelihood that the model was trained on (`own_nats`) is added. The rate is exact where the divergence has
    a closed form, else the mean over the draws of ln q(z|x) - ln p(z). neg_elbo_draw_error: the standard error of the
    image's mean over draws, absent for a single draw. Models whose code is a point have a distortion alone, and the
    rate of codes is not known here (`code_terms`).
    """
    if posterior.is_point:
        return {"distortion": half_squared_error(x, decode(model, posterior.mode(), clamp=False))}
    exact = posterior.kl()
    rates, distortions = [], []
    own: dict[str, list[Tensor]] = {}
    for generator in generators:
        z, ratio = posterior.draw(generator) if exact is None else (posterior.sample(generator), exact)
        y = decode(model, z, clamp=False)
        rates.append(ratio)
        distortions.append(half_squared_error(x, y))
        for name, nats in own_nats(model, x, y).items():
            own.setdefault(name, []).append(ratio + nats)
    rate, distortion = torch.stack(rates), torch.stack(distortions)
    totals = rate + distortion
    terms = {"rate": rate.mean(0), "distortion": distortion.mean(0), "neg_elbo": totals.mean(0)}
    if len(generators) > 1:
        terms["neg_elbo_draw_error"] = totals.std(0) / math.sqrt(len(generators))
    return terms | {name: torch.stack(bounds).mean(0) / _unit(name, x) for name, bounds in own.items()}


@torch.no_grad()
def code_terms(model: Autoencoder, x: Tensor, posterior: Posterior, code_nats: Tensor) -> dict[str, Tensor]:
    """rate, distortion and bounds of a model whose posterior is one code grid: no draws, and no error of draws.

    code_nats: -ln p(codes) of each image under the prior that draws the codes, (B,) float64; NaN where it is not known.
    """
    y = decode(model, posterior.mode(), clamp=False)
    distortion = half_squared_error(x, y)
    code_nats = code_nats.to(distortion)
    own = {name: (code_nats + nats) / _unit(name, x) for name, nats in own_nats(model, x, y).items()}
    return {"rate": code_nats, "distortion": distortion, "neg_elbo": distortion + code_nats} | own


def own_nats(model: Autoencoder, x: Tensor, y: Tensor) -> Mapping[str, Tensor]:
    """-ln p(x|z) under the likelihood that the model was trained on, with its constants, (B,) float64.

    By the metric that it becomes with the rate: `neg_elbo_density` of a density, `neg_elbo_bernoulli`, or
    `bits_per_dim` of a mass of each of 256 levels.
    """
    found = model.own_nats(x, y)
    if found is not None:
        return found
    if model.likelihood == "bernoulli":
        return {"neg_elbo_bernoulli": -bernoulli_log_mass(x, y)}
    return {"neg_elbo_density": half_squared_error(x, y) + 0.5 * x[0].numel() * math.log(2 * math.pi)}


def _unit(metric: str, x: Tensor) -> float:
    """How many nats an image are one unit of the metric."""
    return x[0].numel() * math.log(2) if metric == "bits_per_dim" else 1.0


def half_squared_error(x: Tensor, y: Tensor) -> Tensor:
    """½ Σ (x - y)² over an image: -ln N(x; y, I) without its constant ½ D ln 2π. -> (B,) float64."""
    return 0.5 * (x - y).double().square().flatten(1).sum(1)


def bernoulli_log_mass(x: Tensor, y: Tensor) -> Tensor:
    """Σ x ln y + (1 - x) ln (1 - y) over an image, y clamped to [1e-7, 1 - 1e-7]: -> (B,) float64."""
    p, x = y.double().clamp(BCE_MARGIN, 1 - BCE_MARGIN), x.double()
    return (x * p.log() + (1 - x) * (1 - p).log()).flatten(1).sum(1)
