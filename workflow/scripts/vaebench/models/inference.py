"""A trained model at work: posteriors, reconstructions, and interpolations between two images.

The reconstruction is deterministic, and always in [0, 1]; what is not finite is NaN and stays within its image.
"""

from collections.abc import Iterator

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


def between(first: Tensor | None, second: Tensor | None, weight: float) -> Tensor | None:
    """What a conditional model is given at `weight` of the way from one image to another; None for other models."""
    return None if first is None or second is None else torch.lerp(first, second, weight)


def posteriors_of(
    model: Autoencoder, images: np.ndarray, batch_size: int = 256, conditions: np.ndarray | None = None
) -> Iterator[Posterior]:
    """The posteriors of uint8 images (n, C, H, W), a batch at a time.

    conditions: the rows of a conditional model, (n, K); None where one row for all is given already, and for other
    models.
    """
    device = str(next(model.parameters()).device)
    rows = None if conditions is None else torch.from_numpy(conditions).to(device).split(batch_size)
    for number, x in enumerate(batches(images, batch_size, device)):
        with model.given(model.condition if rows is None else rows[number]):
            yield encode(model, x)


def latents_of(
    model: Autoencoder, images: np.ndarray, batch_size: int = 256, conditions: np.ndarray | None = None
) -> np.ndarray:
    """The mode of each of uint8 images (n, C, H, W), flat: (n, L) float64; `conditions` as of `posteriors_of`."""
    found = [posterior.mode() for posterior in posteriors_of(model, images, batch_size, conditions)]
    return torch.cat(found).flatten(1).double().cpu().numpy()
