"""Encoder and decoder in the space of an image's frequencies: the spectral family.

An image is its lowest frequencies in each direction, each divided by the amplitude that it has in natural images, which
falls as one over the frequency (Field 1987). So scaled, all coefficients are alike to an optimizer that gives every
weight steps of one size. A linear map leads to the latent and back, and a perceptron of two hidden layers adds to it.
No grid of cells or patches is left in the images. The classes use nothing of this package, so that stock pythae
can open a saved model without it.
"""

import math
from typing import Any

import torch
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch import Tensor, nn

from vaebench.models.catalog import SECOND

FEWEST = 28  # frequencies that are kept in each direction, at least; of larger images half of them
CONTRAST = 0.1  # the amplitude of the lowest frequency, over the side of the image in pixels
HIDDEN = 512


class Spectrum(nn.Module):
    """The orthonormal cosine transform of images (B, C, H, W), cut to low frequencies and scaled to one amplitude."""

    rows: Tensor
    columns: Tensor
    amplitude: Tensor

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.channels, *sides = shape
        rows, columns = [cosines(side, min(side, max(FEWEST, math.ceil(side / 2)))) for side in sides]
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)
        frequency = torch.hypot(torch.arange(float(len(rows)))[:, None], torch.arange(float(len(columns))))
        amplitude = CONTRAST * math.sqrt(sides[0] * sides[1]) / (1 + frequency)
        self.register_buffer("amplitude", amplitude, persistent=False)
        self.numbers = self.channels * amplitude.numel()

    def forward(self, x: Tensor) -> Tensor:
        """Images to coefficients, (B, numbers)."""
        return ((self.rows @ (x @ self.columns.T)) / self.amplitude).flatten(1)

    def inverse(self, coefficients: Tensor) -> Tensor:
        """Coefficients to images."""
        scaled = coefficients.view(-1, self.channels, *self.amplitude.shape) * self.amplitude
        return (self.rows.T @ scaled) @ self.columns


class Maps(nn.Module):
    """A linear map plus a perceptron, which starts as nothing.

    A step of an optimizer such as Adam changes the answer of many inputs by more than that of few; where there are more
    than `HIDDEN`, they are scaled down, so that one learning rate does for all layers.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.scale = min(1, HIDDEN / inputs) ** 0.5
        self.straight = nn.Linear(inputs, outputs)
        nn.init.normal_(self.straight.weight, std=inputs**-0.5 / self.scale)
        nn.init.zeros_(self.straight.bias)
        last = nn.Linear(HIDDEN, outputs)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.bent = nn.Sequential(
            *(nn.Linear(inputs, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU()),
            *(nn.Linear(HIDDEN, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU()),
            last,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) to (B, outputs)."""
        mapped: Tensor = self.straight(self.scale * x) + self.bent(x)
        return mapped


class SpectralEncoder(BaseEncoder):
    """Images to `embedding` (B, latent_dim), and to a second answer where the model wants one.

    `second` is None, log_covariance (B, latent_dim) or log_concentration (B, 1).
    """

    def __init__(self, input_dim: tuple[int, int, int], latent_dim: int, second: str | None) -> None:
        super().__init__()
        self.spectrum = Spectrum(input_dim)
        self.second = second
        self.widths = [latent_dim, {None: 0, "log_covariance": latent_dim, "log_concentration": 1}[second]]
        self.maps = Maps(self.spectrum.numbers, sum(self.widths))

    def forward(self, x: Tensor) -> ModelOutput:
        """Encode images x, (B, C, H, W) in [0, 1]."""
        embedding, second = self.maps(self.spectrum(x - 0.5)).split(self.widths, 1)
        output = ModelOutput(embedding=embedding)
        if self.second is not None:
            output[self.second] = second
        return output


class SpectralDecoder(BaseDecoder):
    """Latents (B, latent_dim) to `reconstruction` (B, C, H, W) in [0, 1]."""

    def __init__(self, input_dim: tuple[int, int, int], latent_dim: int) -> None:
        super().__init__()
        self.spectrum = Spectrum(input_dim)
        self.maps = Maps(latent_dim, self.spectrum.numbers)
        self.sigmoid = nn.Sigmoid()

    def forward(self, z: Tensor) -> ModelOutput:
        """Decode latents z; 4 is the inverse of the sigmoid's slope in the middle."""
        return ModelOutput(reconstruction=self.sigmoid(4 * self.spectrum.inverse(self.maps(z))))


def cosines(side: int, kept: int) -> Tensor:
    """The `kept` first rows of the orthonormal type-II cosine transform of `side` numbers, (kept, side)."""
    pixel, frequency = torch.arange(side) + 0.5, torch.arange(kept)[:, None]
    waves = torch.cos(math.pi / side * pixel * frequency) * math.sqrt(2 / side)
    waves[0] /= math.sqrt(2)
    return waves


def build_spectral(role: str, head: str, config: Any) -> nn.Module:
    """The encoder, which gives what `head` says (`catalog.ModelInfo.head`), or the decoder."""
    if role == "encoder":
        return SpectralEncoder(config.input_dim, config.latent_dim, SECOND[head])
    return SpectralDecoder(config.input_dim, config.latent_dim)


BUILD = build_spectral
