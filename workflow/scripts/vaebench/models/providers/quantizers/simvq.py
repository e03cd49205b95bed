"""SimVQ (Zhu et al. 2024, arXiv 2411.02038): a codebook of fixed vectors, of which a linear map is trained.

A step moves the whole codebook, so that no code falls out of use.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from vector_quantize_pytorch import SimVQ

from vaebench.models.interface import Moment
from vaebench.models.providers.quantizers.quantizer import Quantised, Quantizer, vector_size


class MappedVectors(Quantizer):
    """The package's SimVQ. The loss: ‖sg(z) - e‖² + `commitment` ‖z - sg(e)‖²."""

    nearest = True

    def __init__(self, channels: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.layer = SimVQ(
            dim=channels,
            codebook_size=options["codebook_size"],
            channel_first=True,
            rotation_trick=options["through"] == "rotation",
            input_to_quantize_commit_loss_weight=options["commitment"],
        )

    @property
    def size(self) -> int:
        """The number of vectors in the codebook."""
        return int(self.layer.codebook_size)

    def forward(self, grid: Tensor, moment: Moment) -> Quantised:
        """Quantise a grid (B, D, h, w), with the loss in either mode."""
        vectors, codes, loss = self.layer(grid)
        return Quantised(vectors, codes, loss * vector_size(grid))

    def encode(self, grid: Tensor) -> Quantised:
        """The nearest vectors."""
        _, codes, _ = self.layer(grid)
        return Quantised(self.embed(codes), codes)

    def embed(self, codes: Tensor) -> Tensor:
        """The vectors of codes."""
        return self.layer.indices_to_codes(codes)


BUILD = MappedVectors
