"""What samplers that fit a density to the latents of images share."""

import numpy as np
import torch
from torch import Tensor

from vaebench.base.errors import UserError
from vaebench.models.inference import latents_of
from vaebench.sampling.request import Request


def training_latents(request: Request) -> np.ndarray:
    """The modes of (up to the option `fit_images`) training images, flat: (n, L) float64.

    Raises UserError where one is not finite.
    """
    return _finite(latents_of(request.model, request.train[: request.options["fit_images"]]))


def held_out_latents(request: Request) -> dict[str, np.ndarray]:
    """The modes of the images of each other split, flat."""
    return {split: _finite(latents_of(request.model, request.images[split])) for split in request.held_out}


def _finite(latents: np.ndarray) -> np.ndarray:
    if not np.isfinite(latents).all():
        raise UserError("the model's encoder gives values that are not finite; it diverged or is damaged")
    return latents


def as_latents(rows: np.ndarray, request: Request) -> Tensor:
    """Rows (count, L) in the shape of the model's latents, float32."""
    return torch.from_numpy(rows.astype(np.float32)).reshape(-1, *request.model.latent_shape)
