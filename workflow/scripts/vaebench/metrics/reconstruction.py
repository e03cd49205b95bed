"""Distances between an image and its reconstruction that need no network: one float64 number per image."""

import torch
from torch import Tensor

from vaebench.errors import UserError

BCE_MARGIN = 1e-7
SSIM_WINDOW = 11


def mse(x: Tensor, y: Tensor) -> Tensor:
    """Mean over channels and pixels of (x - y)²: (B, C, H, W) twice in [0, 1] -> (B,) float64."""
    return (x - y).double().square().flatten(1).mean(1)


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

    return piq.ssim(y, x, kernel_size=SSIM_WINDOW, data_range=1.0, reduction="none").double()


def gmsd(x: Tensor, y: Tensor) -> Tensor:
    """Gradient magnitude similarity deviation (Xue et al. 2014), data range 1: -> (B,) float64."""
    import piq

    return piq.gmsd(y, x, data_range=1.0, reduction="none").double()


def finite_rows(images: Tensor) -> Tensor:
    """Which images hold finite values only: (B, ...) -> (B,) bool."""
    return torch.isfinite(images).flatten(1).all(1)
