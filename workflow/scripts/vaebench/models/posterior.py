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
    quantised: what the decoder takes for VQ or None. An image for which the encoder's answer is not finite has NaN in
    each of them, and the code -1.
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

    def only_finite(self) -> "Encoding":
        """The encoding with NaN, and code -1, in every part of a row that has a value that is not finite.

        The nearest code of NaN is the first one, and no later step would know.
        """
        parts = (self.mean, self.log_variance, self.concentration, self.quantised)
        valid = torch.stack([finite_rows(part) for part in parts if part is not None]).all(0)

        def masked(part: Tensor | None, filler: float) -> Tensor | None:
            return part if part is None else part.where(valid.view(-1, *[1] * (part.ndim - 1)), filler)

        mean, log_variance, concentration, quantised = (masked(part, torch.nan) for part in parts)
        return Encoding(self.family, mean, log_variance, concentration, masked(self.codes, -1), quantised)


def family(model: BaseAE) -> str:
    """The posterior's family: gaussian, none, vq, vamp, flow, hamiltonian, von_mises_fisher or wrapped_normal."""
    return FAMILIES.get(model.model_name, "gaussian")


@torch.no_grad()
def encode(model: BaseAE, x: Tensor) -> Encoding:
    """Encode images x, float32 (B, C, H, W) in [0, 1], on the model's device; the model is in eval mode."""
    return _encode(model, x).only_finite()


def _encode(model: BaseAE, x: Tensor) -> Encoding:
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


def standard_normal(like: Tensor, generator: np.random.Generator) -> Tensor:
    """Standard normal noise of the shape, type and device of `like`, from a stream that is filled row by row."""
    return torch.from_numpy(generator.standard_normal(tuple(like.shape), dtype=np.float32)).to(like)


@torch.no_grad()
def decode(model: BaseAE, z: Tensor, clamp: bool = True) -> Tensor:
    """Images, float32 (B, C, H, W) clamped to [0, 1] unless told otherwise, of latents as the decoder takes them.

    What is not finite is NaN: values that the decoder gives so, and all of an image whose latent is not finite, since
    clamping or a saturated sigmoid would make it look like an answer.
    """
    images = model.decoder(z).reconstruction.reshape(len(z), *model.model_config.input_dim)
    if model.model_name == "HVAE" and model.model_config.reconstruction_loss == "bce":
        images = torch.sigmoid(images)  # this one model's decoder gives logits
    valid = torch.isfinite(images) & finite_rows(z).view(-1, 1, 1, 1)
    return torch.where(valid, images.clamp(0, 1) if clamp else images, torch.nan)


def reconstruct(model: BaseAE, x: Tensor) -> Tensor:
    """Reconstructions of x, float32 (B, C, H, W) in [0, 1], on x's device: the decoder at `central_latent`."""
    return decode(model, central_latent(model, encode(model, x)))


@torch.no_grad()
def interpolate(model: BaseAE, first: Encoding, second: Encoding, weight: float) -> Tensor:
    """Latents, as the decoder takes them, on the straight line between two central latents, at `weight` of the way.

    A VQ model's line runs between the unquantised grids and is then quantised; a von Mises-Fisher one's goes back to
    the sphere. A ball is convex, so that the line stays in it.
    """
    if first.family == "vq":
        grid = torch.lerp(first.mean, second.mean, weight)
        return model.quantizer(grid.permute(0, 2, 3, 1)).quantized_vector.reshape(first.quantised.shape)
    line = torch.lerp(central_latent(model, first), central_latent(model, second), weight)
    return torch.nn.functional.normalize(line) if first.family == "von_mises_fisher" else line


def finite_rows(values: Tensor) -> Tensor:
    """Which rows hold finite values only: (B, ...) -> (B,) bool."""
    return torch.isfinite(values).flatten(1).all(1)
