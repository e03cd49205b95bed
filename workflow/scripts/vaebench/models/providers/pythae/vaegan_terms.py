"""The terms that a VAEGAN is trained on, per image, as pythae defines them (Larsen et al. 2016)."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vaebench.models.batches import ALIGNMENT
from vaebench.models.kl import kl_per_dimension
from vaebench.models.posterior import Gaussian, Posterior, standard_normal
from vaebench.models.providers.pythae.model import PythaeModel


@torch.no_grad()
def diagnostics(
    model: PythaeModel, x: Tensor, y: Tensor, posterior: Posterior, generator: np.random.Generator
) -> dict[str, Tensor]:
    """feature_recon, encoder_loss, decoder_loss, discriminator_loss, total_loss: each (B,) float64.

    x: images (B, C, H, W); y: their reconstructions; the discriminator is also shown images generated from prior draws
    of `generator`, one for each x. Averaged over a batch they are pythae's losses for that x, y and those draws.
    """
    if not isinstance(posterior, Gaussian):
        raise TypeError("a VAEGAN has a Gaussian posterior")
    noise = standard_normal(posterior.mean, generator)
    rows = (x, y, posterior.mean, posterior.log_variance, noise)
    blocks = zip(*(tensor.split(ALIGNMENT) for tensor in rows), strict=True)  # of one size: see aligned_batches
    terms = [
        _block_terms(model, x, y, Gaussian(mean, log_variance), noise) for x, y, mean, log_variance, noise in blocks
    ]
    return {name: torch.cat([term[name] for term in terms]) for name in terms[0]}


def _block_terms(model: PythaeModel, x: Tensor, y: Tensor, posterior: Gaussian, noise: Tensor) -> dict[str, Tensor]:
    layer = model.reconstruction_layer
    features = [
        model.discriminator(images, output_layer_levels=[layer])[f"embedding_layer_{layer}"] for images in (x, y)
    ]
    feature_recon = 0.5 * (features[0] - features[1]).double().square().flatten(1).sum(1)
    generated = model.decoder(noise).reconstruction
    discriminator = _cross_entropy(model, x, 1.0) + _cross_entropy(model, generated, 0.0)
    share = model.adversarial_loss_scale
    encoder = feature_recon + kl_per_dimension(posterior.mean, posterior.log_variance).sum(1)
    decoder = (1 - share) * feature_recon - share * discriminator
    return {
        "feature_recon": feature_recon,
        "encoder_loss": encoder,
        "decoder_loss": decoder,
        "discriminator_loss": discriminator,
        "total_loss": encoder + decoder + discriminator,
    }


def _cross_entropy(model: PythaeModel, images: Tensor, label: float) -> Tensor:
    score = model.discriminator(images).embedding.reshape(len(images), -1).mean(1)
    return functional.binary_cross_entropy(score, torch.full_like(score, label), reduction="none").double()
