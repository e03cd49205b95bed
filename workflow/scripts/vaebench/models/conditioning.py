"""How labels reach the networks of any family: added to the images that the encoder sees, and to the latents."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vaebench.base.errors import UserError


class Conditioning(nn.Module):
    """Labels as a further input of encoder and decoder (Sohn et al. 2015), as rows (B, K) of ones and zeros.

    For each value of its labels a learned image, which starts as zeros, is added to the image that the encoder sees;
    its first layer can tell them apart as it could a further channel. The row is appended to the decoder's latents; to
    grids it is appended as one plane for each number. `size` is K.
    """

    def __init__(self, labels: Mapping[str, Sequence[str]], shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.size = sum(len(values) for values in labels.values())
        self.images = nn.Parameter(torch.zeros(self.size, *shape))

    def image(self, x: Tensor, rows: Tensor | None) -> Tensor:
        """Images x, (B, C, H, W), as the encoder sees them."""
        return x + torch.einsum("bk,kchw->bchw", self._given(rows, x), self.images.to(x.dtype))

    def latent(self, z: Tensor, rows: Tensor | None) -> Tensor:
        """Latents z, (B, L) or (B, D, h, w), as the decoder takes them: (B, L + K) or (B, D + K, h, w)."""
        found = self._given(rows, z)
        if z.ndim == 4:
            found = found[:, :, None, None].expand(-1, -1, *z.shape[2:])
        return torch.cat([z, found], 1)

    def _given(self, rows: Tensor | None, batch: Tensor) -> Tensor:
        """The rows for a batch; a single row stands for all of its images."""
        if rows is None:
            raise UserError("a conditional model was not given the labels of its images (Autoencoder.given)")
        return rows.to(batch).expand(len(batch), self.size)
