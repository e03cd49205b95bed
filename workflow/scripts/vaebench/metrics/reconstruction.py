"""Distances between an image and its reconstruction that need no network: one float64 number per image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vaebench.base.errors import UserError
from vaebench.models.batches import ALIGNMENT

BCE_MARGIN = 1e-7
SSIM_WINDOW = 11
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, from full size down
PSNR_FLOOR = 1e-10  # of the MSE, so that an exact reconstruction has 100 dB and not infinitely many


def mse(x: Tensor, y: Tensor) -> Tensor:
    """Mean over channels and pixels of (x - y)²: (B, C, H, W) twice in [0, 1] -> (B,) float64."""
    return (x - y).double().square().flatten(1).mean(1)


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio -10 log10 MSE in dB of images in [0, 1], at most 100: -> (B,) float64."""
    return -10 * mse(x, y).clamp(PSNR_FLOOR).log10()


def bce(x: Tensor, y: Tensor) -> Tensor:
    """Mean over channels and pixels of the binary cross-entropy of target x under y, in nats: -> (B,) float64.

    y is clamped to [1e-7, 1 - 1e-7] in float64, where 1 - 1e-7 is not rounded away, so the value is at most 16.2.
    """
    p = y.double().clamp(BCE_MARGIN, 1 - BCE_MARGIN)
    x = x.double()
    return -(x * p.log() + (1 - x) * (1 - p).log()).flatten(1).mean(1)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004), window 11, sigma 1.5, data range 1, channel mean: -> (B,) float64.

    Raises UserError for images smaller than the window.
    """
    if min(x.shape[-2:]) < SSIM_WINDOW:
        raise UserError(f"SSIM needs images of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels")
    import piq

    values: Tensor = piq.ssim(y, x, kernel_size=SSIM_WINDOW, data_range=1.0, reduction="none")
    return values.double()


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Multi-scale structural similarity (Wang et al. 2003) over the scales of `scales_of`: -> (B,) float64.

    Contrast and structure at every scale, luminance at the coarsest, negative terms cut to 0, mean over channels.
    Raises UserError for images that have a single scale.
    """
    scales = scales_of(x.shape[-2:])
    if len(scales) < 2:
        raise UserError(f"MS-SSIM needs images of at least {2 * SSIM_WINDOW - 1} x {2 * SSIM_WINDOW - 1} pixels")
    import piq

    weights = torch.tensor(SCALE_WEIGHTS[: len(scales)], dtype=x.dtype, device=x.device)
    options = {"kernel_size": SSIM_WINDOW, "scale_weights": weights, "data_range": 1.0, "reduction": "none"}
    blocks = zip(torch.split(y, ALIGNMENT), torch.split(x, ALIGNMENT), strict=True)  # of one size: see aligned_batches
    return torch.cat([piq.multi_scale_ssim(*block, **options).double() for block in blocks])


def scales_of(size: Sequence[int]) -> list[int]:
    """The shorter side at each scale of MS-SSIM, from full size down: up to five that hold the window, (H, W) -> sides.

    The window must fit once more after each halving: 64 pixels have three scales, 161 all five.
    """
    side = min(size)
    fitting = [k for k in range(len(SCALE_WEIGHTS)) if side >= (SSIM_WINDOW - 1) * 2**k + 1]
    return [-(-side // 2**k) for k in fitting]  # an odd side is padded before it is halved


def scales_note(size: Sequence[int]) -> str:
    """Which scales a value of MS-SSIM is made of, in words."""
    scales = scales_of(size)
    if len(scales) == len(SCALE_WEIGHTS):
        return "the five scales of Wang et al. 2003"
    weights = ", ".join(str(weight) for weight in SCALE_WEIGHTS[: len(scales)])
    return f"{len(scales)} scales (sides {', '.join(map(str, scales))}), weights {weights} scaled to sum 1"


def gmsd(x: Tensor, y: Tensor) -> Tensor:
    """Gradient magnitude similarity deviation (Xue et al. 2014), data range 1: -> (B,) float64.

    As the authors define it, on the luminance of colour images and at half the size.
    """
    import piq

    values: Tensor = piq.gmsd(y, x, data_range=1.0, reduction="none")
    return values.double()
