"""The compact family: convolutional networks small enough to train on two CPU cores.

It takes images of any size from 28x28 on. It works on a grid of a quarter of the image's height and width: one strided
convolution goes down to it, one convolution with a pixel shuffle (Shi et al. 2016, arXiv 1609.05158) comes back up. Its
classes use nothing of this package, so that stock pythae can open a saved model without it.
"""

from itertools import pairwise
from math import ceil
from typing import Any

import torch
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseDiscriminator, BaseEncoder
from torch import Tensor, nn
from torch.nn import functional

from vaebench.models.catalog import GRID, SECOND, grid_size

PATCH = 4  # pixels of the image per cell of the grid, in either direction
STEM = 48  # channels on that grid
WIDTHS = (96, 128)  # channels after each halving; the last one repeats
EDGES = 16  # channels at full size with which the discriminator begins
COARSEST = 4  # a flat latent is read off a grid of at most this side


def build_compact(role: str, head: str, config: Any) -> nn.Module:
    """The network for the `role`, whose encoder gives what `head` says (`catalog.ModelInfo.head`)."""
    if role == "discriminator":
        return CompactDiscriminator(config.input_dim)
    if head == GRID:
        network = GridEncoder if role == "encoder" else GridDecoder
        grid = grid_size(config.input_dim[1:], getattr(config, "downsampling", None))
        return network(config.input_dim, config.latent_dim, grid)
    if role == "decoder":
        return CompactDecoder(config.input_dim, config.latent_dim)
    return CompactEncoder(config.input_dim, config.latent_dim, SECOND[head])


def halvings(size: tuple[int, int]) -> list[tuple[int, int]]:
    """The grid of an image of `size` (height, width), then each halving of it (rounded up) down to `COARSEST`."""
    sizes = [(ceil(size[0] / PATCH), ceil(size[1] / PATCH))]
    while max(sizes[-1]) > COARSEST:
        sizes.append((ceil(sizes[-1][0] / 2), ceil(sizes[-1][1] / 2)))
    return sizes


def halvings_to(grid: tuple[int, int], size: tuple[int, int]) -> int:
    """How often the grid of an image of `size` is halved until it is `grid`."""
    sides, count = halvings(size)[0], 0
    while sides != grid:
        sides, count = (ceil(sides[0] / 2), ceil(sides[1] / 2)), count + 1
    return count


def widths(steps: int) -> list[int]:
    """Channels of the grid and of each of `steps` halvings."""
    return [STEM, *(WIDTHS[min(step, len(WIDTHS) - 1)] for step in range(steps))]


def down(inputs: int, outputs: int) -> nn.Sequential:
    """Halve a grid, rounding up."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def up(inputs: int, outputs: int) -> nn.Sequential:
    """Double a grid."""
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def same(inputs: int, outputs: int) -> nn.Sequential:
    """Look at a cell's neighbours; the grid keeps its size."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def keep_energy(convolution: nn.Conv2d) -> None:
    """Set the weights so that, after half of the outputs are rectified, a sum of squares is about that of the input."""
    numbers = convolution.out_channels / (convolution.in_channels * convolution.stride[0] * convolution.stride[1])
    nn.init.normal_(convolution.weight, std=(2 / (numbers * convolution.weight[0].numel())) ** 0.5)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


class Residual(nn.Module):
    """x + f(x) with two convolutions (He et al. 2016, arXiv 1603.05027)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(same(channels, channels), nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, channels, h, w)."""
        return x + self.layers(x)


class PatchConv2d(nn.Conv2d):
    """A convolution whose kernel steps over the image without overlap, computed as one of a single column.

    As many pixels side by side as the kernel is wide are one pixel with as many times the channels. The sums are those
    of the plain convolution, which oneDNN 3.13 gets wrong in bfloat16 on AMX (with 16 or 24 channels and side 4).
    """

    def __init__(self, inputs: int, outputs: int, side: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, side, side, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to (B, outputs, H // side, W // side); what is left over is not seen."""
        side = self.kernel_size[0]
        x = x[..., : x.shape[-1] // side * side]
        batch, channels, height, width = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(batch, height, width // side, side * channels).permute(0, 3, 1, 2)
        kernel = self.weight.permute(0, 2, 3, 1).reshape(-1, side, 1, side * channels).permute(0, 3, 1, 2)
        return functional.conv2d(rows, kernel, self.bias, (side, 1))


class Patches(nn.Module):
    """Images (B, C, H, W) to a grid (B, `outputs`, H/4, W/4), rounded up: black is added below and at the right."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            PatchConv2d(channels, outputs, PATCH, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        """The grid of images x."""
        missing = -x.shape[-2] % PATCH, -x.shape[-1] % PATCH
        if any(missing):
            x = functional.pad(x, (0, missing[1], 0, missing[0]))
        return self.layers(x)


class Pixels(nn.Module):
    """A grid (B, `inputs`, H/4, W/4) to images (B, C, H, W) in [0, 1].

    All pixels of a cell start with equal weights, so that no pattern of the grid shows (Aitken et al. 2017,
    arXiv:1707.02937).
    """

    def __init__(self, inputs: int, input_dim: tuple[int, int, int]) -> None:
        super().__init__()
        self.size = tuple(input_dim[1:])
        per_cell = PATCH * PATCH
        convolution = nn.Conv2d(inputs, per_cell * input_dim[0], 3, 1, 1)
        with torch.no_grad():
            for parameter in convolution.parameters():
                parameter.copy_(parameter[::per_cell].repeat_interleave(per_cell, 0))
        self.layers = nn.Sequential(convolution, nn.PixelShuffle(PATCH), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Images of the grid x, cut to size."""
        convolution, shuffle, sigmoid = list(self.layers)
        numbers = convolution(x)
        batch, _, height, width = numbers.shape
        side = shuffle.upscale_factor
        cells = numbers.reshape(batch, -1, side, side, height, width).permute(0, 1, 4, 2, 5, 3)  # shuffled row by row
        images = cells.reshape(batch, -1, side * height, side * width)
        return sigmoid(images)[..., : self.size[0], : self.size[1]]


class CompactEncoder(BaseEncoder):
    """Images to `embedding` (B, latent_dim), and to a second answer where the model wants one.

    `second` is None, log_covariance (B, latent_dim) or log_concentration (B, 1).
    """

    def __init__(self, input_dim: tuple[int, int, int], latent_dim: int, second: str | None) -> None:
        super().__init__()
        sizes = halvings(input_dim[1:])
        channels = widths(len(sizes) - 1)
        steps = [down(*pair) for pair in pairwise(channels)]
        self.layers = nn.Sequential(Patches(input_dim[0], STEM), *steps, nn.Flatten())
        features = channels[-1] * sizes[-1][0] * sizes[-1][1]
        self.embedding = nn.Linear(features, latent_dim)
        self.second = second
        if second is not None:
            self.heads = nn.ModuleDict(
                {second: nn.Linear(features, 1 if second == "log_concentration" else latent_dim)}
            )

    def forward(self, x: Tensor) -> ModelOutput:
        """Encode images x, (B, C, H, W) in [0, 1]."""
        features = self.layers(x)
        output = ModelOutput(embedding=self.embedding(features))
        if self.second is not None:
            output[self.second] = self.heads[self.second](features)
        return output


class CompactDecoder(BaseDecoder):
    """Latents (B, latent_dim) to `reconstruction` (B, C, H, W) in [0, 1]."""

    def __init__(self, input_dim: tuple[int, int, int], latent_dim: int) -> None:
        super().__init__()
        self.sizes = halvings(input_dim[1:])[::-1]
        channels = widths(len(self.sizes) - 1)[::-1]
        self.first = nn.Linear(latent_dim, channels[0] * self.sizes[0][0] * self.sizes[0][1])
        self.steps = nn.ModuleList(up(*pair) for pair in pairwise(channels))
        self.last = Pixels(STEM, input_dim)

    def forward(self, z: Tensor) -> ModelOutput:
        """Decode latents z."""
        grid = torch.relu(self.first(z)).reshape(len(z), -1, *self.sizes[0])
        for step, (height, width) in zip(self.steps, self.sizes[1:], strict=True):
            grid = step(grid)[..., :height, :width]
        return ModelOutput(reconstruction=self.last(grid))


class GridEncoder(BaseEncoder):
    """Images to `embedding` (B, latent_dim, h, w), a vector for each cell of `grid` (h, w)."""

    def __init__(self, input_dim: tuple[int, int, int], latent_dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        count = halvings_to(grid, input_dim[1:])
        steps = [down(*pair) for pair in pairwise([STEM, *[WIDTHS[0]] * count])] or [same(STEM, WIDTHS[0])]
        self.layers = nn.Sequential(
            Patches(input_dim[0], STEM), *steps, Residual(WIDTHS[0]), nn.Conv2d(WIDTHS[0], latent_dim, 1)
        )

    def forward(self, x: Tensor) -> ModelOutput:
        """Encode images x, (B, C, H, W) in [0, 1]."""
        return ModelOutput(embedding=self.layers(x))


class GridDecoder(BaseDecoder):
    """A grid of vectors (B, latent_dim, h, w) to `reconstruction` (B, C, H, W) in [0, 1]."""

    def __init__(self, input_dim: tuple[int, int, int], latent_dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.size = halvings(input_dim[1:])[0]
        count = halvings_to(grid, input_dim[1:])
        steps = [up(*pair) for pair in pairwise([*[WIDTHS[0]] * count, STEM])] or [same(WIDTHS[0], STEM)]
        self.layers = nn.Sequential(same(latent_dim, WIDTHS[0]), Residual(WIDTHS[0]), *steps)
        self.last = Pixels(STEM, input_dim)

    def forward(self, z: Tensor) -> ModelOutput:
        """Decode grids z."""
        grid = self.layers(z)[..., : self.size[0], : self.size[1]]
        return ModelOutput(reconstruction=self.last(grid))


class CompactDiscriminator(BaseDiscriminator):
    """Images to `embedding` (B, 1), the probability that they are real; VAEGAN also compares its inner layers.

    The first layer goes over every pixel, in no step with the decoder's cells, so that a pattern of theirs cannot
    escape its comparison. No batch norm: it would hide a difference in brightness or contrast between real and
    reconstructed batches. Instead every layer begins by keeping squared differences as large as in the images, so that
    comparing any layer is on the scale of comparing pixels.
    """

    def __init__(self, input_dim: tuple[int, int, int]) -> None:
        super().__init__()
        height, width = (ceil(side // PATCH / 2) for side in input_dim[1:])
        self.layers = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(input_dim[0], EDGES, 3, 1, 1), nn.LeakyReLU(0.2)),
                nn.Sequential(PatchConv2d(EDGES, STEM, PATCH), nn.LeakyReLU(0.2)),
                nn.Sequential(nn.Conv2d(STEM, WIDTHS[0], 3, 2, 1), nn.LeakyReLU(0.2)),
                nn.Sequential(nn.Flatten(), nn.Linear(WIDTHS[0] * height * width, 1), nn.Sigmoid()),
            ]
        )
        layers: list[Any] = list(self.layers)
        for convolution, _ in layers[:3]:
            keep_energy(convolution)
        self.depth = len(self.layers)

    def forward(self, x: Tensor, output_layer_levels: list[int] | None = None) -> ModelOutput:
        """Judge images x; with `output_layer_levels`, also give layer i (1 to depth) under `embedding_layer_i`."""
        output = ModelOutput()
        levels = output_layer_levels or [self.depth]
        for level in range(1, max(levels) + 1):
            x = self.layers[level - 1](x)
            if output_layer_levels is not None and level in levels:
                output[f"embedding_layer_{level}"] = x
        if max(levels) == self.depth:
            output["embedding"] = x
        return output


BUILD = build_compact
