"""The evidence lower bound of each image: its rate and its distortion, as expectations over the posterior.

-ELBO = E_q[-ln p(x|z)] + KL(q(z|x) ‖ p(z)): distortion plus rate (Alemi et al. 2018, "Fixing a broken ELBO"). The mean
over the posterior's draws is taken, never the value at its mode, which bounds nothing.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from pythae.models import BaseAE
from scipy.special import gammaln, ive
from torch import Tensor

from vaebench.metrics.reconstruction import BCE_MARGIN
from vaebench.models.draws import Draw, ball_posterior, draw
from vaebench.models.kl import kl_per_dimension
from vaebench.models.posterior import Encoding, decode

IGNORE_RECONSTRUCTION_LOSS = ("VAEGAN", "MSSSIM_VAE")
POINT = "none"  # the family of models whose code is a point: it has no density, and no finite rate


def trained_on_cross_entropy(model: BaseAE) -> bool:
    """Whether the model was trained as a product of Bernoullis; all others count as N(x̂(z), I)."""
    loss = getattr(model.model_config, "reconstruction_loss", "mse")
    return loss == "bce" and model.model_name not in IGNORE_RECONSTRUCTION_LOSS


@torch.no_grad()
def bound_terms(
    model: BaseAE, x: Tensor, encoding: Encoding, generators: Sequence[np.random.Generator]
) -> dict[str, Tensor]:
    """rate, distortion, neg_elbo and neg_elbo_draw_error of each image in nats, (B,) float64 by metric.

    One draw per generator. `distortion` and `neg_elbo` are those of N(x̂(z), I) up to the constant ½ D ln 2π; a model
    trained on cross-entropy also gets `neg_elbo_bernoulli`. The rate is exact where the divergence has a closed form,
    else the mean over the draws of ln q(z|x) - ln p(z). neg_elbo_draw_error: the standard error of the image's mean
    over draws, absent for a single draw. Models whose code is a point have a distortion alone, and a VQ model's rate is
    not known here (`code_terms`).
    """
    if encoding.family == POINT:
        return {"distortion": half_squared_error(x, decode(model, encoding.mean, clamp=False))}
    exact = closed_rate(encoding)
    bernoulli = trained_on_cross_entropy(model)
    rates, distortions, entropies = [], [], []
    for generator in generators:
        found = draw(model, x, encoding, generator)
        y = decode(model, found.latent, clamp=False)
        rates.append(log_ratio(model, encoding, found) if exact is None else exact)
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
def code_terms(model: BaseAE, x: Tensor, encoding: Encoding, code_nats: Tensor) -> dict[str, Tensor]:
    """rate, distortion and neg_elbo of a VQ model, whose posterior is one code grid: no draws, and no error of draws.

    code_nats: -ln p(codes) of each image under the prior that draws the codes, (B,) float64; NaN where it is not known.
    """
    distortion = half_squared_error(x, decode(model, encoding.quantised, clamp=False))
    code_nats = code_nats.to(distortion)
    return {"rate": code_nats, "distortion": distortion, "neg_elbo": distortion + code_nats}


def closed_rate(encoding: Encoding) -> Tensor | None:
    """KL(q(z|x) ‖ p(z)) of each image where it has a closed form, (B,) float64, else None."""
    if encoding.family == "gaussian":
        return kl_per_dimension(encoding.mean, encoding.log_variance).sum(1)
    if encoding.family == "von_mises_fisher":
        return sphere_divergence(encoding.concentration, encoding.mean.shape[1])
    return None


@torch.no_grad()
def log_ratio(model: BaseAE, encoding: Encoding, found: Draw) -> Tensor:
    """ln q(z|x) - ln p(z) of one draw for each image, (B,) float64: its mean over draws is the rate.

    Priors: standard normal for flows and Hamiltonian posteriors (which are in the extended space of z and momenta), the
    learned mixture of VAMP, PoincareVAE's own. NaN where the flow folds (`flow_folds`).
    """
    if flow_folds(model):
        return torch.full((len(found.latent),), torch.nan, dtype=torch.float64, device=found.latent.device)
    valid = torch.isfinite(found.latent).all(1)
    z = found.latent.where(valid[:, None], 0.0)
    if encoding.family == "wrapped_normal":
        safe = Encoding(
            encoding.family, *(p.where(valid[:, None], 0.0) for p in (encoding.mean, encoding.log_variance))
        )
        prior = model.prior(loc=model._pz_mu, scale=model._pz_logvar.exp(), manifold=model.latent_manifold)
        ratio = ball_posterior(model, safe).log_prob(z.unsqueeze(0)) - prior.log_prob(z.unsqueeze(0))
        return ratio.double().sum(-1).squeeze(0).where(valid, torch.nan)
    log_q = -0.5 * (encoding.log_variance.double() + found.noise.double().square()).sum(1)
    if found.correction is not None:
        log_q = log_q + found.correction
    log_p = model._log_p_z(z).double() if encoding.family == "vamp" else -0.5 * z.double().square().sum(1)
    return (log_q - log_p).where(valid, torch.nan)


def flow_folds(model: BaseAE) -> bool:
    """Whether a planar flow of VAE_LinNF is not invertible, which pythae lets happen: w·u < -1 (Rezende et al. 2015).

    Two base points then share a latent, and the determinant does not give its density.
    """
    layers = model.net if model.model_name == "VAE_LinNF" else ()
    return any((layer.w.detach() * layer.u.detach()).sum().item() < -1 for layer in layers if hasattr(layer, "w"))


def sphere_divergence(concentration: Tensor, size: int) -> Tensor:
    """KL of a von Mises-Fisher distribution from the uniform one on the sphere in `size` dimensions: (B, 1) -> (B,).

    Davidson et al. 2018, eq. 14, in float64: κ I_{m/2}(κ) / I_{m/2-1}(κ) + ln C_m(κ) + ln |S^{m-1}|.
    """
    kappa, half = concentration.double().flatten().cpu().numpy(), size / 2
    below = ive(half - 1, kappa)  # e^-κ I_{m/2-1}(κ)
    with np.errstate(divide="ignore", invalid="ignore"):  # an order that underflows gives NaN, and an empty cell
        mean_cosine = ive(half, kappa) / below
        log_normaliser = (half - 1) * np.log(kappa) - half * math.log(2 * math.pi) - np.log(below) - kappa
    log_area = math.log(2) + half * math.log(math.pi) - gammaln(half)
    return torch.from_numpy(kappa * mean_cosine + log_normaliser + log_area).to(concentration.device)


def half_squared_error(x: Tensor, y: Tensor) -> Tensor:
    """½ Σ (x - y)² over an image: -ln N(x; y, I) without its constant ½ D ln 2π. -> (B,) float64."""
    return 0.5 * (x - y).double().square().flatten(1).sum(1)


def bernoulli_log_mass(x: Tensor, y: Tensor) -> Tensor:
    """Σ x ln y + (1 - x) ln (1 - y) over an image, y clamped to [1e-7, 1 - 1e-7]: -> (B,) float64."""
    p, x = y.double().clamp(BCE_MARGIN, 1 - BCE_MARGIN), x.double()
    return (x * p.log() + (1 - x) * (1 - p).log()).flatten(1).sum(1)
