"""Draws of z from a trained model's posterior, for every pythae family, reproducible whatever the batches.

NumPy's generator is used because its stream, unlike torch's, does not depend on how it is cut into calls: each image
takes the same number of values from it, in a single call a batch.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from pythae.models import BaseAE
from scipy.special import betaincinv, ndtri
from torch import Tensor

from vaebench.models.posterior import Encoding, central_latent, finite_rows, standard_normal, through_flow

PROPOSALS = 24  # of a rejection sampler that accepts at least 2 in 3 (Ulrich 1984): all refused with p < 1e-11
METRIC_BYTES = 2**28  # of RHVAE's metric at one time


@dataclass(frozen=True)
class Draw:
    """One draw of z for each of B images, with what its density needs.

    latent: as the decoder takes it; noise: (B, L), the standard normal values behind a Gaussian's z, or None;
    correction: (B,) float64, what to add to the log density of the noise's Gaussian to have that of `latent`: minus the
    log determinant of a flow, or the momenta of a Hamiltonian posterior (see `_hamiltonian`); None where there is none.
    """

    latent: Tensor
    noise: Tensor | None = None
    correction: Tensor | None = None


@torch.no_grad()
def draw(model: BaseAE, x: Tensor, encoding: Encoding, generator: np.random.Generator) -> Draw:
    """One draw from q(z|x) for each image; the same images in the same order give the same draws in any batches.

    NaN for images whose encoding is not finite. Models without a distribution give their central latent.
    """
    kind = encoding.family
    if kind in ("none", "vq"):
        return Draw(central_latent(model, encoding))
    if kind in ("gaussian", "vamp", "flow"):
        noise = standard_normal(encoding.mean, generator)
        z = encoding.mean + noise * torch.exp(0.5 * encoding.log_variance)
        if kind != "flow":
            return Draw(z, noise)
        z, log_determinant = through_flow(model, z)
        return Draw(z, noise, -log_determinant.double())
    valid = finite_rows(encoding.mean)
    found = FAMILIES[kind](model, x, _harmless(encoding, valid), generator)
    return replace(found, latent=found.latent.where(valid[:, None], torch.nan))


def draw_latent(model: BaseAE, x: Tensor, encoding: Encoding, generator: np.random.Generator) -> Tensor:
    """The latent alone of `draw`."""
    return draw(model, x, encoding, generator).latent


def ball_posterior(model: BaseAE, encoding: Encoding, rows: slice = slice(None)) -> torch.distributions.Distribution:
    """PoincareVAE's posterior for some rows of an encoding."""
    scale = torch.exp(0.5 * encoding.log_variance[rows])
    return model.posterior(loc=encoding.mean[rows], scale=scale, manifold=model.latent_manifold)


def _harmless(encoding: Encoding, valid: Tensor) -> Encoding:
    """The encoding with ones in rows that are not valid, since pythae's distributions stop at NaN."""
    parts = (encoding.mean, encoding.log_variance, encoding.concentration)
    mean, log_variance, concentration = (part if part is None else part.where(valid[:, None], 1.0) for part in parts)
    if encoding.family == "wrapped_normal":
        mean = mean.where(valid[:, None], 0.0)  # the centre of the ball
    return replace(encoding, mean=mean, log_variance=log_variance, concentration=concentration)


def _wrapped_normal(model: BaseAE, x: Tensor, encoding: Encoding, generator: np.random.Generator) -> Draw:
    """PoincareVAE's posterior: a normal in the tangent space at 0, carried to the location (Nagano et al. 2019).

    The Riemannian normal, which only pythae can sample, is drawn image by image, each from its own seed.
    """
    if model.model_config.posterior_distribution == "wrapped_normal":
        ball, origin = model.latent_manifold, torch.zeros_like(encoding.mean)
        tangent = standard_normal(encoding.mean, generator) * torch.exp(0.5 * encoding.log_variance)
        tangent = tangent / ball.lambda_x(origin, keepdim=True)
        return Draw(ball.expmap(encoding.mean, ball.transp(origin, encoding.mean, tangent)))
    draws = []
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        for i, seed in enumerate(generator.integers(2**63, size=len(x))):
            torch.manual_seed(int(seed))
            draws.append(ball_posterior(model, encoding, slice(i, i + 1)).rsample(torch.Size([1])).squeeze(0))
    return Draw(torch.cat(draws))


def _von_mises_fisher(model: BaseAE, x: Tensor, encoding: Encoding, generator: np.random.Generator) -> Draw:
    """SVAE's posterior by Ulrich's (1984) rejection of the cosine and a uniform tangent (Davidson et al. 2018).

    Every image takes the same number of uniform values: a fixed number of proposals, of which the first accepted one
    counts, and the normal values of the tangent.
    """
    size = encoding.mean.shape[1]
    concentration = encoding.concentration.double().cpu().numpy()
    uniform = generator.random((len(x), 2 * PROPOSALS + size - 1))
    proposed, tested, tangent = np.split(uniform, [PROPOSALS, 2 * PROPOSALS], axis=1)
    cosine = vmf_cosine(concentration, size, proposed, tested)
    direction = torch.from_numpy(ndtri(tangent.clip(1e-16))).to(encoding.mean)
    direction = torch.nn.functional.normalize(direction)
    cosine = torch.from_numpy(cosine).to(encoding.mean)
    z = torch.cat([cosine, torch.sqrt((1 - cosine.square()).clamp(0)) * direction], dim=1)
    return Draw(model._householder_rotation(encoding.mean, z))


def vmf_cosine(concentration: np.ndarray, size: int, proposed: np.ndarray, tested: np.ndarray) -> np.ndarray:
    """Cosines (B, 1) to the mean direction of von Mises-Fisher draws in `size` dimensions, by rejection.

    concentration: (B, 1); proposed and tested: uniform values (B, P), those of the proposals and of their tests.
    """
    degrees = size - 1
    root = np.sqrt(4 * concentration**2 + degrees**2)
    b = degrees / (root + 2 * concentration)  # (root - 2κ) / (m - 1) without its cancellation
    a = (degrees + 2 * concentration + root) / 4
    d = 4 * a * b / (1 + b) - degrees * np.log(degrees)
    beta = betaincinv(degrees / 2, degrees / 2, proposed)
    cosine = (1 - (1 + b) * beta) / (1 - (1 - b) * beta)
    t = 2 * a * b / (1 - (1 - b) * beta)
    accepted = degrees * np.log(t) - t + d >= np.log(tested.clip(1e-300))
    first = np.argmax(accepted, axis=1)[:, None]
    return np.take_along_axis(cosine, first, axis=1)


def _hamiltonian(model: BaseAE, x: Tensor, encoding: Encoding, generator: np.random.Generator) -> Draw:
    """HVAE's and RHVAE's posteriors: a Gaussian draw moved by leapfrog steps (Caterini et al. 2018).

    The correction is ln q(ρ_0|z_0) - ln p(ρ_K|z_K) of the momenta, less the log determinant of the tempering: with it,
    ln q - ln p is that of the extended space, whose mean is not below the KL divergence of z alone. The steps count as
    volume-preserving, which pythae's are up to terms of the order of eps_lf².
    """
    noise, momentum = standard_normal(torch.cat([encoding.mean] * 2, 1), generator).chunk(2, dim=1)
    start = encoding.mean + noise * torch.exp(0.5 * encoding.log_variance)
    if model.model_name == "HVAE":
        return Draw(*_leapfrog(model, x, start, noise, momentum))
    rows = _rows_of_metric(model)
    parts = zip(*(values.split(rows) for values in (x, start, noise, momentum)), strict=True)
    found = [_riemannian_rows(model, *part) for part in parts]
    latent, correction = (torch.cat(values) for values in zip(*found, strict=True))
    return Draw(latent, noise, correction)


def _leapfrog(
    model: BaseAE, x: Tensor, start: Tensor, noise: Tensor, momentum: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The steps of pythae's HVAE, which leaves its tempering out: latent, noise, correction."""
    z, rho = start, momentum / model.beta_zero_sqrt
    for _ in range(model.n_lf):
        half = rho - model.eps_lf / 2 * _slope(model, z, x)
        z = z + model.eps_lf * rho
        rho = half - model.eps_lf / 2 * _slope(model, z, x)
    energies = 0.5 * (rho.double().square() - momentum.double().square()).sum(1)
    return z, noise, energies + start.shape[1] * torch.log(model.beta_zero_sqrt.double()).to(energies)


def _slope(model: BaseAE, z: Tensor, x: Tensor) -> Tensor:
    """Gradient of -ln p(x, z) in z."""
    with torch.enable_grad():
        return model._dU_dz(z.detach().requires_grad_(), x).detach()


def _riemannian_rows(model: BaseAE, *rows: Tensor) -> tuple[Tensor, Tensor]:
    """The steps of RHVAE for some images; NaN for those whose path leaves the finite numbers, at which torch stops."""
    try:
        return _riemannian_leapfrog(model, *rows)
    except (ValueError, torch.linalg.LinAlgError):
        start = rows[1]
        if len(start) == 1:
            return torch.full_like(start, torch.nan), torch.full_like(start[:, 0], torch.nan, dtype=torch.float64)
        one_by_one = [_riemannian_rows(model, *one) for one in zip(*(part.split(1) for part in rows), strict=True)]
        return tuple(torch.cat(values) for values in zip(*one_by_one, strict=True))


def _riemannian_leapfrog(
    model: BaseAE, x: Tensor, start: Tensor, noise: Tensor, momentum: Tensor
) -> tuple[Tensor, Tensor]:
    """The generalised leapfrog steps of pythae's RHVAE with the metric of its training: latent, correction."""
    with torch.enable_grad():  # the steps differentiate decoder and metric
        z = start.detach().requires_grad_()
        inverse = model.G_inv(z)
        log_volume = -torch.logdet(inverse)
        correction = -0.5 * (momentum.double().square().sum(1) + log_volume.detach().double())
        root = torch.linalg.cholesky(model.G(z))
        rho = (root @ (momentum / model.beta_zero_sqrt).unsqueeze(-1)).squeeze(-1)
        reconstruction, before = model.decoder(z)["reconstruction"], model.beta_zero_sqrt
        for k in range(model.n_lf):
            half = model._leap_step_1(reconstruction, x, z, rho, inverse, log_volume)
            z = model._leap_step_2(reconstruction, x, z, half, inverse, log_volume)
            reconstruction, inverse = model.decoder(z)["reconstruction"], model.G_inv(z)
            log_volume = -torch.logdet(inverse)
            rho = model._leap_step_3(reconstruction, x, z, half, inverse, log_volume)
            after = model._tempering(k + 1, model.n_lf)
            rho, before = before / after * rho, after
    z, rho, inverse = z.detach(), rho.detach().double(), inverse.detach().double()
    energy = torch.einsum("bi,bij,bj->b", rho, inverse, rho)
    return z, correction + 0.5 * (energy + log_volume.detach().double())


def _rows_of_metric(model: BaseAE) -> int:
    """How many images RHVAE's metric, a matrix per centroid and image, may take at once: a power of two up to 16."""
    fit = METRIC_BYTES // (4 * model.M_tens.numel())
    return 2 ** min(4, max(0, fit.bit_length() - 1))


FAMILIES = {
    "wrapped_normal": _wrapped_normal,
    "von_mises_fisher": _von_mises_fisher,
    "hamiltonian": _hamiltonian,
}
