"""What a quantiser is to the model around it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Quantised:
    """Of a grid: its `vectors`, (B, D, h, w) as the decoder takes them, and `codes`, (B, h, w) int64.

    loss: what is minimised besides, summed over an image and averaged over the batch; None for nothing.
    """

    vectors: Tensor
    codes: Tensor
    loss: Tensor | None = None


class Quantizer(nn.Module, ABC):
    """nearest: whether a code is the vector nearest to the encoder's, so that their distance means something."""

    nearest: bool = False

    @property
    @abstractmethod
    def size(self) -> int:
        """How many codes there are."""

    @abstractmethod
    def forward(self, grid: Tensor) -> Quantised:
        """Quantise a grid (B, D, h, w)."""

    @abstractmethod
    def embed(self, codes: Tensor) -> Tensor:
        """Codes (B, h, w) as vectors (B, D, h, w)."""
