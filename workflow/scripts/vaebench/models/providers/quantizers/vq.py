"""Vector quantisation (van den Oord et al. 2017, arXiv 1711.00937): each vector becomes the nearest of a codebook."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional
from vector_quantize_pytorch import VectorQuantize

from vaebench.models.interface import Moment
from vaebench.models.providers.quantizers.quantizer import (
    Quantised,
    Quantizer,
    positions,
    untouched,
    vector_size,
)


def codebook_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as the package has them, for one device: no other process takes part."""
    gradient = options["update"] == "gradient"
    return {
        "codebook_size": options["codebook_size"],
        "ema_update": not gradient,
        "learnable_codebook": gradient,
        "decay": options["decay"],
        "commitment_weight": options["commitment"],
        "use_cosine_sim": options["normalised"],
        "kmeans_init": options["kmeans"],
        "threshold_ema_dead_code": options["restart_below"],
        "rotation_trick": options["through"] == "rotation",
        "sync_codebook": False,
        "sync_kmeans": False,
    }


class Vectors(Quantizer):
    """The package's VectorQuantize.

    The loss is `commitment` times the squared distance of the encoder's vectors and their codes, of which the codebook
    gets a gradient too where it is trained by gradients, less `entropy` times the entropy of the codes at each
    position over the batch.
    """

    nearest = True

    def __init__(self, channels: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.layer = VectorQuantize(
            dim=channels,
            accept_image_fmap=True,
            codebook_diversity_loss_weight=options["entropy"],
            **codebook_arguments(options),
        )
        self.weights = options["commitment"], options["entropy"]
        self.normalised = options["normalised"]

    @property
    def size(self) -> int:
        """The number of vectors in the codebook."""
        return int(self.layer.codebook_size)

    def forward(self, grid: Tensor, moment: Moment) -> Quantised:
        """Quantise a grid (B, D, h, w), with the loss, which is that of an unchanging codebook outside training."""
        if self.training:
            return self._with_loss(grid, frozen=False)
        with untouched(self.layer, training=True):
            return self._with_loss(grid, frozen=True)

    def encode(self, grid: Tensor) -> Quantised:
        """The nearest vectors."""
        with untouched(self.layer, training=False):
            _, codes, _ = self.layer(grid)
            return Quantised(self.embed(codes).to(grid), codes)

    def embed(self, codes: Tensor) -> Tensor:
        """The vectors of codes."""
        return self.layer.get_output_from_indices(codes)

    def compared(self, grid: Tensor) -> Tensor:
        """Of length 1 where the codebook's are."""
        return functional.normalize(grid, dim=1, eps=1e-6) if self.normalised else grid

    def _with_loss(self, grid: Tensor, frozen: bool) -> Quantised:
        vectors, codes, _, parts = self.layer(grid, freeze_codebook=frozen, return_loss_breakdown=True)
        commitment, entropy = self.weights
        loss = commitment * vector_size(grid) * parts.commitment
        if entropy:
            loss = loss + entropy * positions(grid) * parts.codebook_diversity
        return Quantised(vectors, codes, loss)


BUILD = Vectors
