"""The codes of images."""

import numpy as np
import torch
from torch import Tensor

from vaebench.base.errors import UserError
from vaebench.models.inference import posteriors_of
from vaebench.models.interface import Autoencoder


def image_codes(model: Autoencoder, images: np.ndarray, conditions: np.ndarray | None = None) -> Tensor:
    """The codes of uint8 images, int64 (n, h, w), of several levels (n, levels, h, w).

    conditions: the rows of a conditional model, (n, K); None where one row for all is given already, and for other
    models. Raises `UserError` when the encoder's answer is not finite.
    """
    found = [posterior.codes for posterior in posteriors_of(model, images, conditions=conditions)]
    codes = torch.cat([part for part in found if part is not None])
    if (codes < 0).any():
        raise UserError("the model's encoder gives values that are not finite; it diverged or is damaged")
    return codes


def size_of(model: Autoencoder) -> int:
    """How many codes the model has; `UserError` for one without codes."""
    if model.codebook_size is None:
        raise UserError(f"{model.name} has no codes")
    return model.codebook_size
