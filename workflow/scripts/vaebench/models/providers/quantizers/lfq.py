"""Lookup-free quantisation (Yu et al. 2024, arXiv 2310.05737): each number of a vector becomes its sign."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from vector_quantize_pytorch import LFQ

from vaebench.models.interface import Moment
from vaebench.models.providers.quantizers.quantizer import Quantised, Quantizer, positions, untouched


class Signs(Quantizer):
    """The package's LFQ; where the grid has another number of channels than a code has bits, linear maps lie between.

    The loss, for each vector: `entropy` (H(code | vector) - `diversity` H(code)) + `commitment` (z - sign z)², the
    entropies in nats, those of the code over the batch, the square a mean over the bits. A vector's codes have
    probabilities in proportion to exp(-100 ‖z - code‖²). spherical: vectors have length 1.
    """

    spherical = False

    def __init__(self, channels: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.layer = LFQ(
            dim=channels,
            codebook_size=options["codebook_size"],
            entropy_loss_weight=options["entropy"],
            diversity_gamma=options["diversity"],
            commitment_loss_weight=options["commitment"],
            spherical=self.spherical,
        )

    @property
    def size(self) -> int:
        """2 to the power of the bits."""
        return int(self.layer.codebook_size)

    def forward(self, grid: Tensor, moment: Moment) -> Quantised:
        """Quantise a grid (B, D, h, w), with the loss, which the package computes in training mode only."""
        if self.training:
            return self._quantised(grid)
        with untouched(self.layer, training=True):
            return self._quantised(grid)

    def encode(self, grid: Tensor) -> Quantised:
        """The signs."""
        with untouched(self.layer, training=False):
            codes = self._quantised(grid).codes
            return Quantised(self.embed(codes), codes)

    def embed(self, codes: Tensor) -> Tensor:
        """The vectors of codes."""
        return self.layer.indices_to_codes(codes)

    def _quantised(self, grid: Tensor) -> Quantised:
        vectors, codes, loss = self.layer(grid)
        return Quantised(vectors, codes.long(), loss * positions(grid))


BUILD = Signs
