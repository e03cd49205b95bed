"""The strided family: the networks of VQ-VAE (van den Oord et al. 2017), on a grid of a quarter of the image's side.

Two strided convolutions and residual blocks, without batch norm, in the sizes of visual-tokenizer-pytorch (its
SimpleCNN, whose CelebA results are in workflow/published/tokenizers.yaml). Its classes use nothing of this package, so
that stock pythae can open a saved model without it.
"""

from typing import Any

from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch import Tensor, nn

WIDTH = 256
BLOCKS = 2
SLOPE = 0.01  # of the rectifiers below zero


def build_strided(role: str, head: str, config: Any) -> nn.Module:
    """The encoder or the decoder, of grids (B, latent_dim, H/4, W/4)."""
    network = StridedEncoder if role == "encoder" else StridedDecoder
    return network(config.input_dim, config.latent_dim)


class StridedBlock(nn.Module):
    """x + a 1x1 convolution of a 3x3 convolution, each behind a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 3, 1, 1, bias=False)),
            *(nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 1, bias=False)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, WIDTH, h, w)."""
        return x + self.layers(x)


class StridedEncoder(BaseEncoder):
    """Images (B, C, H, W) to `embedding` (B, latent_dim, H/4, W/4)."""

    def __init__(self, input_dim: tuple[int, int, int], latent_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(input_dim[0], WIDTH // 2, 4, 2, 1), nn.LeakyReLU(SLOPE)),
            *(nn.Conv2d(WIDTH // 2, WIDTH, 4, 2, 1), nn.LeakyReLU(SLOPE)),
            nn.Conv2d(WIDTH, WIDTH, 3, 1, 1),
            *(StridedBlock() for _ in range(BLOCKS)),
            nn.Conv2d(WIDTH, latent_dim, 1),
        )

    def forward(self, x: Tensor) -> ModelOutput:
        """Encode images x in [0, 1]."""
        return ModelOutput(embedding=self.layers(x))


class StridedDecoder(BaseDecoder):
    """Grids (B, latent_dim, H/4, W/4) to `reconstruction` (B, C, H, W) in [0, 1]."""

    def __init__(self, input_dim: tuple[int, int, int], latent_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(latent_dim, WIDTH, 1),
            *(StridedBlock() for _ in range(BLOCKS)),
            *(nn.LeakyReLU(SLOPE), nn.Conv2d(WIDTH, WIDTH, 3, 1, 1)),
            *(nn.LeakyReLU(SLOPE), nn.ConvTranspose2d(WIDTH, WIDTH // 2, 4, 2, 1)),
            *(nn.LeakyReLU(SLOPE), nn.ConvTranspose2d(WIDTH // 2, input_dim[0], 4, 2, 1)),
            nn.Sigmoid(),
        )

    def forward(self, z: Tensor) -> ModelOutput:
        """Decode grids z."""
        return ModelOutput(reconstruction=self.layers(z))


BUILD = build_strided
