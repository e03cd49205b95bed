"""What samplers that fit a density to the latents of images share."""

import numpy as np
import torch
from torch import Tensor

from vaebench.base.errors import UserError
from vaebench.models.batches import batches
from vaebench.models.inference import encode, latents_of
from vaebench.sampling.request import Request

LEAST_DEVIATION = 1e-3  # relative to the largest of any dimension: one that never changes has a density all the same


def training_latents(request: Request) -> np.ndarray:
    """The modes of (up to the option `fit_images`) training images, flat: (n, L) float64.

    Raises UserError where one is not finite.
    """
    return _finite(latents_of(request.model, request.train[: request.options["fit_images"]]))


def held_out_latents(request: Request) -> dict[str, np.ndarray]:
    """The modes of the images of each other split, flat."""
    return {split: _finite(latents_of(request.model, request.images[split])) for split in request.held_out}


def drawn_latents(request: Request) -> dict[str, np.ndarray]:
    """A draw from the posterior of (up to `fit_images`) training images and of each held-out one, by split: (n, L)."""
    device, shown = str(request.device), {**request.images, "train": request.train[: request.options["fit_images"]]}
    with torch.no_grad():
        found = {
            split: [encode(request.model, x).sample(request.generator) for x in batches(images, 256, device)]
            for split, images in shown.items()
        }
    return {split: _finite(torch.cat(parts).flatten(1).double().cpu().numpy()) for split, parts in found.items()}


def standardisation(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each dimension of latents (n, L) float32; no deviation is 0.

    Raises UserError for a single latent.
    """
    refuse_one(len(latents))
    deviation = latents.std(0, correction=0)
    least = max(LEAST_DEVIATION * float(deviation.max()), torch.finfo(torch.float32).tiny)
    return latents.mean(0), deviation.clamp(min=least)


def refuse_one(count: int) -> None:
    """Raise UserError where there is one latent, as of labels that only one training image has."""
    if count < 2:
        raise UserError(
            "a density is fitted to the latents of at least 2 training images, of each combination of labels where the "
            "model is given any; take normal, fitted_gaussian or aggregate_posterior"
        )


def _finite(latents: np.ndarray) -> np.ndarray:
    if not np.isfinite(latents).all():
        raise UserError("the model's encoder gives values that are not finite; it diverged or is damaged")
    return latents


def as_latents(rows: np.ndarray, request: Request) -> Tensor:
    """Rows (count, L) in the shape of the model's latents, float32."""
    return torch.from_numpy(rows.astype(np.float32)).reshape(-1, *request.model.latent_shape)
