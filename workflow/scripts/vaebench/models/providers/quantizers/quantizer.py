"""What a quantiser is to the model around it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaebench.models.interface import Moment


@dataclass(frozen=True)
class Quantised:
    """Of a grid: its `vectors`, (B, D, h, w) as the decoder takes them, and `codes`, int64 (B, h, w).

    With several levels, whose vectors add up, codes are (B, levels, h, w). loss: what is minimised besides, summed over
    an image and averaged over the batch; None for nothing.
    """

    vectors: Tensor
    codes: Tensor
    loss: Tensor | None = None


class Quantizer(nn.Module, ABC):
    """size: how many codes each level has. levels: how many codes a vector has, each of what the former ones leave.

    nearest: whether a code is the vector nearest to the encoder's, so that their distance means something.
    """

    levels: int = 1
    nearest: bool = False

    @property
    @abstractmethod
    def size(self) -> int:
        """See above."""

    @abstractmethod
    def forward(self, grid: Tensor, moment: Moment) -> Quantised:
        """Quantise a grid (B, D, h, w), with the loss; in training mode, at that moment of it, codebooks may move."""

    @abstractmethod
    def encode(self, grid: Tensor) -> Quantised:
        """Quantise a grid (B, D, h, w) without the loss; the same grid gives the same codes, and nothing moves."""

    @abstractmethod
    def embed(self, codes: Tensor) -> Tensor:
        """Codes (B, h, w), or (B, levels, h, w), as vectors (B, D, h, w)."""

    def compared(self, grid: Tensor) -> Tensor:
        """The vectors of a grid (B, D, h, w) as they are compared with those of the codes."""
        return grid


@contextmanager
def untouched(layer: nn.Module, training: bool) -> Iterator[None]:
    """Within the block a layer of the package is in the given mode, and does not begin its codebooks from what it sees.

    In training mode it then has its losses; that it does not move its codebooks either is asked of its `forward`.
    """
    former = layer.training
    waiting = [flag for name, flag in layer.named_buffers() if name.endswith("initted") and not flag]
    layer.train(training)
    try:
        for flag in waiting:
            flag.fill_(True)
        with torch.no_grad():
            yield
    finally:
        for flag in waiting:
            flag.fill_(False)
        layer.train(former)


def vector_size(grid: Tensor) -> int:
    """How many numbers the grid of one image has: by which a mean over numbers is a sum over an image."""
    return grid[0].numel()


def positions(grid: Tensor) -> int:
    """How many vectors the grid of one image has: by which a mean over vectors is a sum over an image."""
    return grid[0, 0].numel()
