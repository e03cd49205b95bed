"""Parameters of a likelihood that differ from pixel to pixel: a small network on what the decoder gives."""

from torch import Tensor, nn

WIDTH = 32


class PixelParameters(nn.Module):
    """From an answer of `channels` to `each` numbers for every value of it, all 0 before training.

    Two layers of 3x3 and one of 1x1: each pixel's numbers follow from the 5x5 outputs around it, such as an edge.
    """

    def __init__(self, channels: int, each: int) -> None:
        super().__init__()
        self.each = each
        self.inner = nn.Sequential(
            nn.Conv2d(channels, WIDTH, 3, padding=1), nn.SiLU(), nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.SiLU()
        )
        self.output = nn.Conv2d(WIDTH, channels * each, 1)
        for parameter in self.output.parameters():
            nn.init.zeros_(parameter)

    def forward(self, y: Tensor) -> Tensor:
        """(B, C, H, W) -> (each, B, C, H, W) of the same type; computed in that of the weights."""
        found: Tensor = self.output(self.inner(y.to(self.output.weight.dtype)))
        return found.to(y).unflatten(1, (self.each, -1)).transpose(0, 1)
