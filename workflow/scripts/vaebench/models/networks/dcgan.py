"""The dcgan family: the networks for 64x64 of Tolstikhin et al. 2018 and Ghosh et al. 2020, after DCGAN's.

Layers, sizes and padding are those of the code of Ghosh et al. (rae_celeba.py); that of Tolstikhin et al. (models.py)
has a ReLU behind the decoder's first layer as well. Its classes use nothing of this package, so that stock pythae can
open a saved model without it.
"""

from itertools import pairwise
from typing import Any

import torch
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch import Tensor, nn

from vaebench.models.catalog import SECOND

WIDTHS = (128, 256, 512, 1024)
KERNEL = 5
COARSEST, FIRST = 4, 8  # sides of the encoder's last grid and of the decoder's first one
STEEPEST = 10  # the log variance is in (-10, 10), and the log deviation in (-5, 5)


def build_dcgan(role: str, head: str, config: Any) -> nn.Module:
    """The encoder, which gives what `head` says (`catalog.ModelInfo.head`), or the decoder."""
    if role == "encoder":
        return DcganEncoder(config.input_dim, config.latent_dim, SECOND[head])
    return DcganDecoder(config.input_dim, config.latent_dim)


def halved(inputs: int, outputs: int) -> nn.Sequential:
    """Half the side of an even grid, padded as TensorFlow's "same": one more row below than above."""
    return nn.Sequential(
        nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(inputs, outputs, KERNEL, 2), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Doubled(nn.Module):
    """Twice the side of a grid: the transpose of the padding and the convolution that halve it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(inputs, outputs, KERNEL, 2, 1)
        self.rest = nn.Sequential(nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, outputs, 2h, 2w)."""
        return self.rest(self.convolution(x)[..., :-1, :-1])


class DcganEncoder(BaseEncoder):
    """Images (B, C, 64, 64) to `embedding` (B, latent_dim); with `second` also to `log_covariance`, 10 tanh of one."""

    def __init__(self, input_dim: tuple[int, int, int], latent_dim: int, second: str | None) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(halved(*pair) for pair in pairwise((input_dim[0], *WIDTHS))), nn.Flatten())
        features = WIDTHS[-1] * COARSEST * COARSEST
        self.embedding = nn.Linear(features, latent_dim)
        self.log_deviation = nn.Linear(features, latent_dim) if second is not None else None

    def forward(self, x: Tensor) -> ModelOutput:
        """Encode images x in [0, 1]."""
        features = self.layers(x)
        output = ModelOutput(embedding=self.embedding(features))
        if self.log_deviation is not None:
            output["log_covariance"] = STEEPEST * torch.tanh(self.log_deviation(features))
        return output


class DcganDecoder(BaseDecoder):
    """Latents (B, latent_dim) to `reconstruction` (B, C, 64, 64) in [0, 1]."""

    def __init__(self, input_dim: tuple[int, int, int], latent_dim: int) -> None:
        super().__init__()
        self.first = nn.Linear(latent_dim, WIDTHS[-1] * FIRST * FIRST)
        self.layers = nn.Sequential(
            *(Doubled(*pair) for pair in pairwise(WIDTHS[::-1])),
            nn.ConvTranspose2d(WIDTHS[0], input_dim[0], KERNEL, 1, 2),
            nn.Sigmoid(),
        )

    def forward(self, z: Tensor) -> ModelOutput:
        """Decode latents z."""
        return ModelOutput(reconstruction=self.layers(self.first(z).reshape(len(z), -1, FIRST, FIRST)))


BUILD = build_dcgan
