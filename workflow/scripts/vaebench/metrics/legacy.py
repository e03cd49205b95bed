"""The original study's arithmetic, kept only so that its numbers can stand beside ours.

Its defects are deliberate here: one draw of z per image, LPIPS on [0, 1] images, means of unequal batches, mean MSE
added to a summed KL, reg_loss divided by a beta it never held, and "generation" that measures self-reconstruction.
"""

import numpy as np
import torch
from pythae.models import BaseAE
from torch import Tensor
from torch.nn import functional

from vaebench.metrics.perceptual import Perceptual
from vaebench.models.batches import batches

SEED, GENERATED, BATCH, IMAGES = 999, 64, 64, 10000


def legacy_reconstruction(model: BaseAE, lpips: Perceptual, images: np.ndarray, device: str) -> dict[str, float]:
    """The study's reconstruction metrics of the first 10,000 images (uint8): unweighted means over batches of 64.

    The study did not seed this part; here torch is seeded with 999.
    """
    torch.manual_seed(SEED)
    found = [_batch_metrics(model, lpips, x) for x in batches(images[:IMAGES], BATCH, device)]
    names = [name for name in found[0] if all(name in values for values in found)]
    return {name: float(np.mean([values[name] for values in found])) for name in names}


def legacy_generation(model: BaseAE, lpips: Perceptual, device: str) -> dict[str, float]:
    """The study's "generation" metrics: 64 images generated with seed 999 against their own reconstruction.

    Its script takes only flat EMA codebooks; other VQ models draw their codes over the grid in the same order.
    """
    torch.manual_seed(SEED)
    with torch.no_grad():
        z = _uniform_codes(model, device) if model.model_name == "VQVAE" else _prior(model, device)
        generated = model.decoder(z).reconstruction.clamp(0, 1)
    return _batch_metrics(model, lpips, generated)


def _prior(model: BaseAE, device: str) -> Tensor:
    return torch.randn(GENERATED, model.model_config.latent_dim, device=device)


def _uniform_codes(model: BaseAE, device: str) -> Tensor:
    embeddings = model.quantizer.embeddings
    codebook = embeddings if isinstance(embeddings, Tensor) else embeddings.weight
    shape = model.encoder(torch.randn(1, *model.model_config.input_dim, device=device)).embedding.shape[1:]
    positions = int(np.prod(shape)) // codebook.shape[1]
    codes = torch.randint(0, len(codebook), (GENERATED, positions), device=device)
    vectors = codebook[codes]
    if len(shape) == 1:
        return vectors.reshape(GENERATED, -1)
    return vectors.reshape(GENERATED, *shape[1:], -1).permute(0, 3, 1, 2)


@torch.no_grad()
def _batch_metrics(model: BaseAE, lpips: Perceptual, x: Tensor) -> dict[str, float]:
    output = model({"data": x})
    y = output.recon_x
    if not torch.isfinite(y).all():
        return {}
    values = {"mse": functional.mse_loss(y, x)}
    values |= MODEL_TERMS[model.model_name](model, x, y, output, values["mse"])
    values |= _perceptual(lpips, x, y)
    return {name: float(value.mean()) for name, value in values.items()}


def _beta_vae_terms(model: BaseAE, x: Tensor, y: Tensor, output: dict, mse: Tensor) -> dict[str, Tensor]:
    beta = getattr(model.model_config, "beta", 1.0)
    kl = output.reg_loss / beta if beta > 0 else torch.zeros(())
    return {"bce": output.recon_loss, "kl": kl, "elbo": output.recon_loss + output.reg_loss}


def _vqvae_terms(model: BaseAE, x: Tensor, y: Tensor, output: dict, mse: Tensor) -> dict[str, Tensor]:
    return {"bce": _cross_entropy(x, y), "vq_loss": output.vq_loss, "total_loss": output.loss}


def _vaegan_terms(model: BaseAE, x: Tensor, y: Tensor, output: dict, mse: Tensor) -> dict[str, Tensor]:
    encoded = model.encoder(x)
    mean, log_variance = encoded.embedding, encoded.log_covariance
    kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(-1).mean()
    losses = {name: output[name] for name in ("recon_loss", "encoder_loss", "decoder_loss", "discriminator_loss")}
    return {"bce": _cross_entropy(x, y), "kl": kl, "elbo": mse + kl, "total_loss": output.loss} | losses


def _cross_entropy(x: Tensor, y: Tensor) -> Tensor:
    return functional.binary_cross_entropy(y.clamp(0, 1), x)


def _perceptual(lpips: Perceptual, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    import piq

    as_if_scaled = [(image + 1) / 2 for image in (x, y)]  # our LPIPS maps [0, 1] to [-1, 1]; this undoes it
    distance = lpips.distance(*(lpips.features(image) for image in as_if_scaled))
    return {"lpips": distance, "ssim": piq.ssim(y, x, data_range=1.0), "gmsd": piq.gmsd(y, x, data_range=1.0)}


MODEL_TERMS = {
    "VAE": _beta_vae_terms,
    "BetaVAE": _beta_vae_terms,
    "VQVAE": _vqvae_terms,
    "VAEGAN": _vaegan_terms,
}
