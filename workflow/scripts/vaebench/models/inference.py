"""A trained model at work: posteriors, reconstructions, and interpolations between two images.

The reconstruction is deterministic, and always in [0, 1]; what is not finite is NaN and stays within its image.
"""

import numpy as np
import torch
from torch import Tensor

from vaebench.models.batches import batches
from vaebench.models.interface import Autoencoder
from vaebench.models.posterior import Posterior, along, finite_rows


@torch.no_grad()
def encode(model: Autoencoder, x: Tensor) -> Posterior:
    """Encode images x, float32 (B, C, H, W) in [0, 1], on the model's device; the model is in eval mode."""
    return model.encode(x).only_finite()


@torch.no_grad()
def decode(model: Autoencoder, z: Tensor, clamp: bool = True) -> Tensor:
    """Images, float32 (B, C, H, W) clamped to [0, 1] unless `clamp` is false, of latents as the decoder takes them.

    What is not finite is NaN: values that the decoder gives so, and all of an image whose latent is not finite, since
    clamping or a saturated sigmoid would make it look like an answer.
    """
    images = model.decode(z)
    valid = torch.isfinite(images) & along(finite_rows(z), images)
    return torch.where(valid, images.clamp(0, 1) if clamp else images, torch.nan)


def reconstruct(model: Autoencoder, x: Tensor) -> Tensor:
    """Reconstructions of x, float32 (B, C, H, W) in [0, 1], on x's device: the decoder at the posterior's mode."""
    with torch.no_grad():
        z = encode(model, x).mode()
    return decode(model, z)


def latents_of(model: Autoencoder, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """The mode of each of uint8 images (n, C, H, W), flat: (n, L) float64."""
    device = str(next(model.parameters()).device)
    found = [encode(model, x).mode() for x in batches(images, batch_size, device)]
    return torch.cat(found).flatten(1).double().cpu().numpy()
