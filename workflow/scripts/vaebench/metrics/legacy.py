"""The original study's arithmetic, kept only so that its numbers can stand beside ours.

Its defects are deliberate here: one draw of z per image, LPIPS on [0, 1] images, means of unequal batches, mean MSE
added to a summed KL, reg_loss divided by a beta it never held, and "generation" that measures self-reconstruction.
"""

import numpy as np
import torch
from torch import Tensor

from vaebench.metrics.perceptual import Perceptual
from vaebench.models.batches import batches
from vaebench.models.interface import OriginalStudy

SEED, GENERATED, BATCH, IMAGES = 999, 64, 64, 10000


def legacy_reconstruction(study: OriginalStudy, lpips: Perceptual, images: np.ndarray, device: str) -> dict[str, float]:
    """The study's reconstruction metrics of the first 10,000 images (uint8): unweighted means over batches of 64.

    The study did not seed this part; here torch is seeded with 999.
    """
    torch.manual_seed(SEED)
    found = [_batch_metrics(study, lpips, x) for x in batches(images[:IMAGES], BATCH, device)]
    names = [name for name in found[0] if all(name in values for values in found)]
    return {name: float(np.mean([values[name] for values in found])) for name in names}


def legacy_generation(study: OriginalStudy, lpips: Perceptual) -> dict[str, float]:
    """The study's "generation" metrics: 64 images generated with seed 999 against their own reconstruction.

    Its script takes only flat EMA codebooks; other VQ models draw their codes over the grid in the same order.
    """
    torch.manual_seed(SEED)
    with torch.no_grad():
        generated = study.generate(GENERATED)
    return _batch_metrics(study, lpips, generated)


@torch.no_grad()
def _batch_metrics(study: OriginalStudy, lpips: Perceptual, x: Tensor) -> dict[str, float]:
    y, values = study.terms(x)
    if not torch.isfinite(y).all():
        return {}
    return {name: float(value.mean()) for name, value in (values | _perceptual(lpips, x, y)).items()}


def _perceptual(lpips: Perceptual, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    import piq

    as_if_scaled = [(image + 1) / 2 for image in (x, y)]  # our LPIPS maps [0, 1] to [-1, 1]; this undoes it
    distance = lpips.distance(*(lpips.features(image) for image in as_if_scaled))
    return {"lpips": distance, "ssim": piq.ssim(y, x, data_range=1.0), "gmsd": piq.gmsd(y, x, data_range=1.0)}
