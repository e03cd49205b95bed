"""VQVAE (van den Oord et al. 2017, arXiv 1711.00937): a codebook of vectors."""

from collections.abc import Callable
from typing import Any

import torch
from pythae.models.base.base_utils import ModelOutput
from torch import Tensor

from vaebench.models.posterior import Codes, Posterior
from vaebench.models.providers.pythae.codebooks import look_codes_up
from vaebench.models.providers.pythae.model import PythaeModel


class Model(PythaeModel):
    """A codebook.

    vq_scale: `mean`, pythae 0.1.2's average over all numbers of the grid, or `per_image`, the sum over the grid as in
    the paper (eq. 3), which is on the scale of the reconstruction term.
    """

    quantizer: Any

    @property
    def codebook_size(self) -> int:
        """The number of code vectors."""
        return len(self.codebook())

    def codebook(self) -> Tensor:
        """The code vectors (K, D); the EMA variant keeps them as a buffer, the other as an embedding layer."""
        embeddings = self.quantizer.embeddings
        return embeddings if isinstance(embeddings, Tensor) else embeddings.weight.detach()

    def adjusted(self, terms: dict[str, Tensor], output: ModelOutput) -> dict[str, Tensor]:
        """The terms, with the quantisation loss on the scale that `vq_scale` asks for."""
        if self.vq_scale == "per_image":
            terms["vq"] = terms["vq"] * output.z[0].numel()
            terms["loss"] = terms["reconstruction_loss"] + terms["vq"]
        return terms

    def encode(self, x: Tensor) -> Posterior:
        """Codes: of a grid, or of a flat encoder's one vector."""
        answer = self.encoder(x).embedding
        grid = answer if answer.ndim == 4 else answer.reshape(len(answer), 1, 1, -1)
        found = self.quantizer(grid.permute(0, 2, 3, 1))
        latent = found.quantized_vector
        quantised = latent if answer.ndim == 4 else latent.reshape(answer.shape)
        return Codes(found.quantized_indices.squeeze(1), quantised, grid, self._quantise_as(quantised.shape[1:]))

    def embed_codes(self, codes: Tensor) -> Tensor:
        """(n, D, h, w), or (n, h·w·D) when the encoder gives a vector."""
        vectors = self.codebook()[codes.to(self.codebook().device)].permute(0, 3, 1, 2)
        flat = len(self.latent_shape) == 1
        return vectors.reshape(len(vectors), -1) if flat else vectors.contiguous()

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """A grid of vectors, or a vector where the encoder gives one."""
        probe = torch.zeros(1, *self.input_shape).to(next(self.parameters()))
        with torch.no_grad():
            return tuple(self.encoder(probe).embedding.shape[1:])

    def prepare_training(self) -> None:
        """Codes are looked up, where pythae multiplies one-hot vectors with the whole book."""
        look_codes_up(self)

    def _quantise_as(self, shape: torch.Size) -> Callable[[Tensor], Tensor]:
        return lambda grid: self.quantizer(grid.permute(0, 2, 3, 1)).quantized_vector.reshape(-1, *shape)
