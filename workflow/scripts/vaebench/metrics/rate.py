"""The evidence lower bound of each image: its rate and its distortion, as expectations over the posterior.

-ELBO = E_q[-ln p(x|z)] + KL(q(z|x) ‖ p(z)): distortion plus rate (Alemi et al. 2018, "Fixing a broken ELBO"). The mean
over the posterior's draws is taken, never the value at its mode, which bounds nothing.
"""

import math
from collections.abc import Sequence

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

    One draw per generator. `distortion` and `neg_elbo` are those of N(x̂(z), I) up to the constant ½ D ln 2π; a model
    trained on cross-entropy also gets `neg_elbo_bernoulli`. The rate is exact where the divergence has a closed form,
    else the mean over the draws of ln q(z|x) - ln p(z). neg_elbo_draw_error: the standard error of the image's mean
    over draws, absent for a single draw. Models whose code is a point have a distortion alone, and the rate of codes is
    not known here (`code_terms`).
    """
    if posterior.is_point:
        return {"distortion": half_squared_error(x, decode(model, posterior.mode(), clamp=False))}
    exact = posterior.kl()
    bernoulli = model.likelihood == "bernoulli"
    rates, distortions, entropies = [], [], []
    for generator in generators:
        z, ratio = posterior.draw(generator) if exact is None else (posterior.sample(generator), exact)
        y = decode(model, z, clamp=False)
        rates.append(ratio)
        distortions.append(half_squared_error(x, y))
        if bernoulli:
            entropies.append(-bernoulli_log_mass(x, y))
    rate, distortion = torch.stack(rates), torch.stack(distortions)
    totals = rate + distortion
    terms = {"rate": rate.mean(0), "distortion": distortion.mean(0), "neg_elbo": totals.mean(0)}
    if len(generators) > 1:
        terms["neg_elbo_draw_error"] = totals.std(0) / math.sqrt(len(generators))
    if bernoulli:
        terms["neg_elbo_bernoulli"] = (rate + torch.stack(entropies)).mean(0)
    return terms


@torch.no_grad()
def code_terms(model: Autoencoder, x: Tensor, posterior: Posterior, code_nats: Tensor) -> dict[str, Tensor]:
    """rate, distortion and neg_elbo of a model whose posterior is one code grid: no draws, and no error of draws.

    code_nats: -ln p(codes) of each image under the prior that draws the codes, (B,) float64; NaN where it is not known.
    """
    distortion = half_squared_error(x, decode(model, posterior.mode(), clamp=False))
    code_nats = code_nats.to(distortion)
    return {"rate": code_nats, "distortion": distortion, "neg_elbo": distortion + code_nats}


def half_squared_error(x: Tensor, y: Tensor) -> Tensor:
    """½ Σ (x - y)² over an image: -ln N(x; y, I) without its constant ½ D ln 2π. -> (B,) float64."""
    return 0.5 * (x - y).double().square().flatten(1).sum(1)


def bernoulli_log_mass(x: Tensor, y: Tensor) -> Tensor:
    """Σ x ln y + (1 - x) ln (1 - y) over an image, y clamped to [1e-7, 1 - 1e-7]: -> (B,) float64."""
    p, x = y.double().clamp(BCE_MARGIN, 1 - BCE_MARGIN), x.double()
    return (x * p.log() + (1 - x) * (1 - p).log()).flatten(1).sum(1)
