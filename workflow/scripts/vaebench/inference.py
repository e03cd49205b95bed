"""What a trained model says of an image: its posterior, its latent, its reconstruction, for every pythae family.

pythae's own `predict` skips the quantiser and the flows, its `reconstruct` draws z, and some `forward`s need gradients
or reconstruct half a batch. Here the reconstruction is deterministic unless asked otherwise, and always in [0, 1].
"""

from dataclasses import dataclass

import numpy as np
import torch
from pythae.models import BaseAE
from torch import Tensor

# The posterior of each model, by pythae's model_name; those not named here are Gaussian with a standard normal prior.
FAMILIES = {
    **dict.fromkeys(("AE", "WAE_MMD", "RAE_L2", "RAE_GP"), "none"),
    **dict.fromkeys(("VAE_LinNF", "VAE_IAF"), "flow"),
    **dict.fromkeys(("HVAE", "RHVAE"), "hamiltonian"),
    "VQVAE": "vq",
    "VAMP": "vamp",
    "SVAE": "von_mises_fisher",
    "PoincareVAE": "wrapped_normal",
}


@dataclass(frozen=True)
class Encoding:
    """The encoder's answer for a batch of B images.

    mean: (B, L) location of q(z|x), for VQ the unquantised grid (B, D, h, w); log_variance: (B, L) or None;
    concentration: (B, 1) of the von Mises-Fisher posterior or None; codes: (B, h, w) int64 for VQ or None;
    quantised: what the decoder takes for VQ or None.
    """

    family: str
    mean: Tensor
    log_variance: Tensor | None = None
    concentration: Tensor | None = None
    codes: Tensor | None = None
    quantised: Tensor | None = None

    def head(self, count: int) -> "Encoding":
        """The encoding of the first `count` images."""
        parts = (self.mean, self.log_variance, self.concentration, self.codes, self.quantised)
        return Encoding(self.family, *(part if part is None else part[:count] for part in parts))


def family(model: BaseAE) -> str:
    """The posterior's family: gaussian, none, vq, vamp, flow, hamiltonian, von_mises_fisher or wrapped_normal."""
    return FAMILIES.get(model.model_name, "gaussian")


@torch.no_grad()
def encode(model: BaseAE, x: Tensor) -> Encoding:
    """Encode images x, float32 (B, C, H, W) in [0, 1], on the model's device; the model is in eval mode."""
    kind = family(model)
    output = model.encoder(x)
    mean = output.embedding
    if kind == "vq":
        grid = mean if mean.ndim == 4 else mean.reshape(len(mean), 1, 1, -1)
        quantised = model.quantizer(grid.permute(0, 2, 3, 1))
        latent = quantised.quantized_vector
        return Encoding(
            kind,
            mean=grid,
            codes=quantised.quantized_indices.squeeze(1),
            quantised=latent if mean.ndim == 4 else latent.reshape(mean.shape),
        )
    if kind == "none":
        return Encoding(kind, mean)
    if kind == "von_mises_fisher":
        concentration = torch.nn.functional.softplus(output.log_concentration) + 1
        return Encoding(kind, mean / mean.norm(dim=-1, keepdim=True), concentration=concentration)
    if getattr(model, "deterministic_posterior", False):  # an option of Adversarial_AE
        return Encoding("none", mean)
    log_variance = output.get("log_covariance", output.get("log_concentration"))
    if model.model_name == "HVAE":  # this one model takes softplus of the encoder's answer as its standard deviation
        log_variance = 2 * torch.log(torch.nn.functional.softplus(log_variance))
    return Encoding(kind, mean, log_variance)


@torch.no_grad()
def central_latent(model: BaseAE, encoding: Encoding) -> Tensor:
    """The one latent that stands for each image: the posterior's mean (through the flow) or the quantised code."""
    if encoding.family == "vq":
        return encoding.quantised
    if encoding.family == "flow":
        return through_flow(model, encoding.mean)[0]
    return encoding.mean


@torch.no_grad()
def through_flow(model: BaseAE, z: Tensor) -> tuple[Tensor, Tensor]:
    """Push z (B, L) of the base Gaussian through a flow posterior: the latent and ln |det dz_K/dz_0|, (B,)."""
    if model.model_name == "VAE_IAF":
        output = model.iaf_flow.inverse(z)
        return output.out, output.log_abs_det_jac
    log_determinant = torch.zeros(len(z), device=z.device)
    for layer in model.net:
        output = layer(z)
        z, log_determinant = output.out, log_determinant + output.log_abs_det_jac
    return z, log_determinant


@torch.no_grad()
def draw_latent(model: BaseAE, x: Tensor, encoding: Encoding, generator: np.random.Generator) -> Tensor:
    """One draw of z from q(z|x) for each image; the same images in the same order give the same draws in any batches.

    NumPy's generator is used because its stream, unlike torch's, does not depend on how it is cut into calls. Families
    that only pythae can sample are drawn image by image, each from its own seed of that stream.
    """
    if encoding.family in ("none", "vq"):
        return central_latent(model, encoding)
    if encoding.family in ("gaussian", "vamp", "flow"):
        noise = standard_normal(encoding.mean, generator)
        z = encoding.mean + noise * torch.exp(0.5 * encoding.log_variance)
        return through_flow(model, z)[0] if encoding.family == "flow" else z
    if encoding.family == "wrapped_normal" and model.model_config.posterior_distribution == "wrapped_normal":
        return _draw_wrapped_normal(model, encoding, generator)
    seeds = generator.integers(2**63, size=len(x))
    draws = []
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        for i, seed in enumerate(seeds):
            torch.manual_seed(int(seed))
            draws.append(_draw_one(model, x[i : i + 1], encoding, slice(i, i + 1)))
    return torch.cat(draws)


def standard_normal(like: Tensor, generator: np.random.Generator) -> Tensor:
    """Standard normal noise of the shape, type and device of `like`, from a stream that is filled row by row."""
    return torch.from_numpy(generator.standard_normal(tuple(like.shape), dtype=np.float32)).to(like)


def _draw_wrapped_normal(model: BaseAE, encoding: Encoding, generator: np.random.Generator) -> Tensor:
    """PoincareVAE's posterior: a normal in the tangent space at 0, carried to the location (Nagano et al. 2019)."""
    ball = model.latent_manifold
    origin = torch.zeros_like(encoding.mean)
    tangent = standard_normal(encoding.mean, generator) * torch.exp(0.5 * encoding.log_variance)
    tangent = tangent / ball.lambda_x(origin, keepdim=True)
    return ball.expmap(encoding.mean, ball.transp(origin, encoding.mean, tangent))


def _draw_one(model: BaseAE, x: Tensor, encoding: Encoding, row: slice) -> Tensor:
    if encoding.family == "von_mises_fisher":
        return model._sample_von_mises(encoding.mean[row], encoding.concentration[row])
    if encoding.family == "wrapped_normal":
        return ball_posterior(model, encoding, row).rsample(torch.Size([1])).squeeze(0)
    with torch.enable_grad():  # the leapfrog steps differentiate the decoder
        return model({"data": x}).z.detach()


def ball_posterior(model: BaseAE, encoding: Encoding, rows: slice = slice(None)) -> torch.distributions.Distribution:
    """PoincareVAE's posterior for some rows of an encoding."""
    scale = torch.exp(0.5 * encoding.log_variance[rows])
    return model.posterior(loc=encoding.mean[rows], scale=scale, manifold=model.latent_manifold)


@torch.no_grad()
def decode(model: BaseAE, z: Tensor, clamp: bool = True) -> Tensor:
    """Images, float32 (B, C, H, W) clamped to [0, 1] unless told otherwise, of latents as the decoder takes them."""
    images = model.decoder(z).reconstruction.reshape(len(z), *model.model_config.input_dim)
    if model.model_name == "HVAE" and model.model_config.reconstruction_loss == "bce":
        images = torch.sigmoid(images)  # this one model's decoder gives logits
    return images.clamp(0, 1) if clamp else images


def reconstruct(
    model: BaseAE, x: Tensor, generator: np.random.Generator | None = None, stochastic: bool = False
) -> Tensor:
    """Reconstructions of x, float32 (B, C, H, W) in [0, 1], on x's device.

    Deterministic by default: the decoder at `central_latent`. With `stochastic`, z is drawn from q(z|x) by `generator`.
    """
    encoding = encode(model, x)
    if stochastic:
        return decode(model, draw_latent(model, x, encoding, generator or np.random.default_rng()))
    return decode(model, central_latent(model, encoding))
