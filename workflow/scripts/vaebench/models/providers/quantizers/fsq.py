"""Finite scalar quantisation (Mentzer et al. 2024, arXiv 2309.15505): each number of a vector is rounded to a level."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from vector_quantize_pytorch import FSQ

from vaebench.models.interface import Moment
from vaebench.models.providers.quantizers.quantizer import Quantised, Quantizer


class FiniteScalar(Quantizer):
    """The package's FSQ; where the grid has another number of channels than `levels`, linear maps lie between."""

    def __init__(self, channels: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.layer = FSQ(levels=list(options["levels"]), dim=channels)

    @property
    def size(self) -> int:
        """The product of the levels."""
        return int(self.layer.codebook_size)

    def forward(self, grid: Tensor, moment: Moment) -> Quantised:
        """There is no loss: the gradient goes straight through the rounding."""
        return self.encode(grid)

    def encode(self, grid: Tensor) -> Quantised:
        """Round."""
        vectors, codes = self.layer(grid)
        return Quantised(vectors, codes.long())

    def embed(self, codes: Tensor) -> Tensor:
        """The vectors of codes."""
        return self.layer.indices_to_codes(codes)


BUILD = FiniteScalar
