"""Structural similarity and the deviation of gradient similarity, as their papers define them: a number per image.

The window is separable: two matrix products take a quarter of the time of a convolution of each channel with it.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2  # (K L)² of Wang et al. 2004, L = 1
GMSD_CONSTANT = 170 / 255**2  # Xue et al. 2014, for images in [0, 1]
LUMINANCE = (0.299, 0.587, 0.114)
BLOCK = 16  # images at a time, whose maps stay in a processor's cache


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """SSIM of images in [0, 1], (B, C, H, W) of at least 11 x 11 pixels, mean over channels: -> (B,) float64.

    As the authors' code advises, images whose shorter side is many times 256 pixels are first averaged down.
    """
    factor = max(1, round(min(x.shape[-2:]) / 256))
    x, y = (functional.avg_pool2d(images, factor) if factor > 1 else images for images in (x, y))
    return _by_blocks(lambda a, b: _similarity(a, b)[0].mean(1), x, y)


def ms_ssim(x: Tensor, y: Tensor, weights: Sequence[float]) -> Tensor:
    """MS-SSIM over as many halved scales as there are weights, which are scaled to sum 1: -> (B,) float64.

    Negative terms count as 0.
    """
    return _by_blocks(partial(_of_scales, weights=torch.tensor(weights, dtype=x.dtype, device=x.device)), x, y)


def gmsd(x: Tensor, y: Tensor) -> Tensor:
    """GMSD of images in [0, 1], on the luminance of colour images and at half the size: -> (B,) float64."""
    return _by_blocks(_gradient_deviation, x, y)


def _by_blocks(function: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    blocks = zip(x.split(BLOCK), y.split(BLOCK), strict=True)
    return torch.cat([function(*block).double() for block in blocks])


def _similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The means over positions of SSIM, and of its contrast and structure alone, of each channel: (B, C) each."""
    blur = _Window(x)
    x, y = x - 0.5, y - 0.5  # a variance is the difference of two numbers, which are to be small
    mean_x, mean_y = blur(x), blur(y)
    covariance = blur(x * y) - mean_x * mean_y
    variances = blur(x.square() + y.square()) - mean_x.square() - mean_y.square()
    contrast = (2 * covariance + C2) / (variances + C2)
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    luminance = (2 * mean_x * mean_y + C1) / (mean_x.square() + mean_y.square() + C1)
    return (luminance * contrast).mean((-1, -2)), contrast.mean((-1, -2))


def _of_scales(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    terms = []
    for scale in range(len(weights)):
        if scale:
            x, y = _halved(x), _halved(y)
        whole, contrast = _similarity(x, y)
        terms.append(contrast if scale + 1 < len(weights) else whole)
    exponents = (weights / weights.sum()).view(-1, 1, 1)
    return (torch.stack(terms).relu() ** exponents).prod(0).mean(1)


def _halved(x: Tensor) -> Tensor:
    """Means of 2 x 2 pixels; where a side is odd, the first row and column are repeated."""
    if x.shape[-1] % 2 or x.shape[-2] % 2:
        x = functional.pad(x, (1, 0, 1, 0), mode="replicate")
    return functional.avg_pool2d(x, 2)


class _Window:
    """The mean under the Gaussian window wherever that fits, of images of one size; rows and columns change places."""

    def __init__(self, like: Tensor) -> None:
        self.rows, self.columns = (_bands(side).to(like) for side in like.shape[-2:])

    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, W - 10, H - 10)."""
        return (images @ self.columns).transpose(-1, -2) @ self.rows


def _bands(side: int) -> Tensor:
    """The window's weights at each of its places along a side, (side, side - 10) float64."""
    places = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = torch.exp(-places.square() / (2 * SIGMA**2))
    bands = torch.zeros(side, side - WINDOW + 1, dtype=torch.float64)
    for offset, weight in enumerate(weights / weights.sum()):
        bands.diagonal(-offset).fill_(weight)
    return bands


def _gradient_deviation(x: Tensor, y: Tensor) -> Tensor:
    of_x, of_y = _gradient(x), _gradient(y)
    similarity = (2 * of_x * of_y + GMSD_CONSTANT) / (of_x.square() + of_y.square() + GMSD_CONSTANT)
    return similarity.flatten(1).std(1, correction=0)


def _gradient(x: Tensor) -> Tensor:
    """The length of the gradient by Prewitt's operator, with zeros around, of the luminance at half the size."""
    if x.shape[1] == 3:
        x = (x * torch.tensor(LUMINANCE).to(x).view(1, 3, 1, 1)).sum(1, keepdim=True)
    if x.shape[-1] % 2 or x.shape[-2] % 2:
        x = functional.pad(x, (0, 1, 0, 1))
    across = torch.tensor([[-1.0, 0.0, 1.0]] * 3).to(x) / 3
    both = torch.stack([across, across.T])[:, None]
    return functional.conv2d(functional.avg_pool2d(x, 2), both, padding=1).square().sum(1).sqrt()
