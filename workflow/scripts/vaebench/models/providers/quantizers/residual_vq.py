"""Residual vector quantisation (Zeghidour et al. 2021, arXiv 2107.03312): a level quantises what the former leave."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from vector_quantize_pytorch import ResidualVQ

from vaebench.models.interface import Moment
from vaebench.models.providers.quantizers.quantizer import Quantised, Quantizer, untouched, vector_size
from vaebench.models.providers.quantizers.vq import codebook_arguments


class Residual(Quantizer):
    """The package's ResidualVQ: `depth` codebooks, whose vectors add up. The loss is that of `vq`, of all levels."""

    nearest = True

    def __init__(self, channels: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.layer = ResidualVQ(dim=channels, num_quantizers=options["depth"], **codebook_arguments(options))
        self.levels = options["depth"]

    @property
    def size(self) -> int:
        """The number of vectors in each codebook."""
        return int(self.layer.codebook_size)

    def forward(self, grid: Tensor, moment: Moment) -> Quantised:
        """Quantise a grid (B, D, h, w), with the loss as `vq` has it."""
        if self.training:
            return self._quantised(grid, frozen=False)
        with untouched(self.layer, training=True):
            return self._quantised(grid, frozen=True)

    def encode(self, grid: Tensor) -> Quantised:
        """The nearest vectors, level by level."""
        with untouched(self.layer, training=False):
            codes = self._quantised(grid, frozen=True).codes
            return Quantised(self.embed(codes).to(grid), codes)

    def embed(self, codes: Tensor) -> Tensor:
        """The sum of the levels' vectors."""
        return self.layer.get_output_from_indices(codes.movedim(1, -1)).movedim(-1, 1)

    def _quantised(self, grid: Tensor, frozen: bool) -> Quantised:
        tokens = grid.flatten(2).transpose(1, 2)
        vectors, codes, losses = self.layer(tokens, freeze_codebook=frozen)
        shape = grid.shape[-2:]
        return Quantised(
            vectors.transpose(1, 2).unflatten(2, shape),
            codes.transpose(1, 2).unflatten(2, shape),
            losses.sum() * vector_size(grid),
        )


BUILD = Residual
