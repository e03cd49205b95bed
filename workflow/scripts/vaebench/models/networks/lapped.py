"""Convolutional encoder and decoder whose patches overlap: the lapped family.

It takes images of any size from 28x28 on. One convolution reads windows of 8x8 pixels in steps of 4, and one transposed
convolution of the same kind writes them, so that each pixel is a sum of four windows that fade out towards their
borders, as in the lapped transforms of image coding (Malvar 1990): no edges of cells or patches show. All
else is computed on that grid of a quarter of the height and width, or on coarser ones. The classes use nothing of this
package, so that stock pythae can open a saved model without it.
"""

import math
from itertools import pairwise
from math import ceil
from typing import Any

import torch
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch import Tensor, nn
from torch.nn import functional

from vaebench.models.catalog import GRID, SECOND, grid_size

STEP = 4  # pixels from one window to the next, in either direction
SIDE = 8  # of a window
WIDTHS = (64, 96, 128)  # channels of the finest grid and after each halving; the last one repeats
COARSEST = 4  # a flat latent is read off a grid of at most this side

Size = tuple[int, int]


def build_lapped(role: str, head: str, config: Any) -> nn.Module:
    """The encoder, which gives what `head` says (`catalog.ModelInfo.head`), or the decoder."""
    shape, latent = config.input_dim, config.latent_dim
    grid = grid_size(shape[1:], getattr(config, "downsampling", None)) if head == GRID else None
    if role == "encoder":
        return LappedEncoder(shape, latent, grid, SECOND.get(head))
    return LappedDecoder(shape, latent, grid)


def grids(size: Size, last: Size | None) -> list[Size]:
    """The grids that an image of `size` is seen on, from fine to coarse: down to `last`, or to `COARSEST`."""
    found = [(ceil(size[0] / STEP), ceil(size[1] / STEP))]
    while found[-1] != last if last is not None else max(found[-1]) > COARSEST:
        found.append((ceil(found[-1][0] / 2), ceil(found[-1][1] / 2)))
    return found


def widths(count: int) -> list[int]:
    """Channels of so many grids, from fine to coarse."""
    return [WIDTHS[min(step, len(WIDTHS) - 1)] for step in range(count)]


def rectified(layer: nn.Module, channels: int) -> nn.Sequential:
    """A layer, normalised over the batch and rectified."""
    return nn.Sequential(layer, nn.BatchNorm2d(channels), nn.ReLU())


class Residual(nn.Module):
    """x + f(x), which starts as x (He et al. 2016, arXiv 1603.05027)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        last = nn.Conv2d(channels, channels, 1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.layers = nn.Sequential(rectified(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), channels), last)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, channels, h, w)."""
        found: Tensor = x + self.layers(x)
        return found


class Windows(nn.Module):
    """A grid (B, `inputs`, h, w) to images (B, C, 4h, 4w): each cell adds a window of 8x8 pixels around it.

    The weights start as cosines whose amplitude falls with the square of their frequency, under a sine window: the
    squares of overlapping windows add up to one, so that a pixel varies as much wherever it lies in its cell.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.layer = nn.ConvTranspose2d(inputs, channels, SIDE, STEP, (SIDE - STEP) // 2)
        place, frequency = (torch.arange(SIDE) + 0.5) / SIDE, torch.arange(float(SIDE))
        waves = torch.cos(math.pi * frequency[:, None] * place) * torch.sin(math.pi * place)
        amplitude = 1 / (1 + frequency[:, None] ** 2 + frequency**2)
        numbers = torch.randn(inputs, channels, SIDE, SIDE) * amplitude / math.sqrt(2 * inputs)
        with torch.no_grad():
            for parameter in self.layer.parameters():
                parameter.zero_()
            self.layer.weight.copy_(torch.einsum("icuv,uy,vx->icyx", numbers, waves, waves))

    def forward(self, x: Tensor) -> Tensor:
        """Images of the grid x, before the sigmoid."""
        images: Tensor = self.layer(x)
        return images


class LappedEncoder(BaseEncoder):
    """Images to `embedding`, and to a second answer where the model wants one.

    The embedding is (B, latent_dim, h, w) on a `grid` (h, w), else (B, latent_dim). `second` is None, log_covariance,
    of the embedding's shape, or log_concentration (B, 1).
    """

    def __init__(self, input_dim: tuple[int, int, int], latent_dim: int, grid: Size | None, second: str | None) -> None:
        super().__init__()
        sizes = grids(input_dim[1:], grid)
        channels = widths(len(sizes))
        first = nn.Conv2d(input_dim[0], channels[0], SIDE, STEP, (SIDE - STEP) // 2, bias=False)
        layers: list[nn.Module] = [rectified(first, channels[0]), Residual(channels[0]), Residual(channels[0])]
        for fine, coarse in pairwise(channels):
            layers += [rectified(nn.Conv2d(fine, coarse, 3, 2, 1, bias=False), coarse), Residual(coarse)]
        self.second = second
        self.widths = [latent_dim, {None: 0, "log_covariance": latent_dim, "log_concentration": 1}[second]]
        if grid is None:
            last = [nn.Flatten(), nn.Linear(channels[-1] * sizes[-1][0] * sizes[-1][1], sum(self.widths))]
        else:
            last = [nn.Conv2d(channels[-1], sum(self.widths), 1)]
        self.layers = nn.Sequential(*layers, *last)

    def forward(self, x: Tensor) -> ModelOutput:
        """Encode images x, (B, C, H, W) in [0, 1]; grey is added below and at the right to whole steps."""
        x = functional.pad(x - 0.5, (0, -x.shape[-1] % STEP, 0, -x.shape[-2] % STEP))
        embedding, second = self.layers(x).split(self.widths, 1)
        output = ModelOutput(embedding=embedding)
        if self.second is not None:
            output[self.second] = second
        return output


class LappedDecoder(BaseDecoder):
    """Latents (B, latent_dim), or (B, latent_dim, h, w) on a `grid`, to `reconstruction` (B, C, H, W) in [0, 1]."""

    def __init__(self, input_dim: tuple[int, int, int], latent_dim: int, grid: Size | None) -> None:
        super().__init__()
        self.size = tuple(input_dim[1:])
        self.sizes = grids(input_dim[1:], grid)[::-1]
        channels = widths(len(self.sizes))[::-1]
        self.channels = channels[0]
        if grid is None:
            self.first: nn.Module = nn.Linear(latent_dim, channels[0] * self.sizes[0][0] * self.sizes[0][1])
        else:
            self.first = rectified(nn.Conv2d(latent_dim, channels[0], 3, 1, 1, bias=False), channels[0])
        self.steps = nn.ModuleList(
            nn.Sequential(Residual(coarse), rectified(nn.ConvTranspose2d(coarse, fine, 4, 2, 1, bias=False), fine))
            for coarse, fine in pairwise(channels)
        )
        self.last = nn.Sequential(Residual(channels[-1]), Residual(channels[-1]), Windows(channels[-1], input_dim[0]))
        self.sigmoid = nn.Sigmoid()

    def forward(self, z: Tensor) -> ModelOutput:
        """Decode latents z."""
        grid = self.first(z).reshape(len(z), self.channels, *self.sizes[0])
        for step, (height, width) in zip(self.steps, self.sizes[1:], strict=True):
            grid = step(grid)[..., :height, :width]
        images = self.last(grid)[..., : self.size[0], : self.size[1]]
        return ModelOutput(reconstruction=self.sigmoid(images))


BUILD = build_lapped
