"""pythae's codebooks for training, with codes looked up where pythae multiplies one-hot vectors with the whole book.

The codes, the losses and the state are pythae's; the arithmetic and the memory are a fraction of it.
"""

from typing import Any

import torch
from pythae.models.base.base_utils import ModelOutput
from pythae.models.vq_vae.vq_vae_utils import Quantizer, QuantizerEMA
from torch import Tensor, nn
from torch.nn import functional

SMOOTHING = 1e-5  # pythae's: keeps the size of an unused code's cluster above zero


class LookupQuantizer(Quantizer):
    """A codebook that is trained by gradients (van den Oord et al. 2017, arXiv 1711.00937)."""

    def forward(self, z: Tensor, uses_ddp: bool = False) -> ModelOutput:
        """Quantise z, (B, h, w, embedding_dim); `uses_ddp` is pythae's and has no meaning on one device."""
        indices = nearest_codes(z, self.embeddings.weight)
        factors = self.commitment_loss_factor, self.quantization_loss_factor
        return _output(indices, *_Lookup.apply(z, self.embeddings.weight, indices, factors))


class LookupQuantizerEMA(QuantizerEMA):
    """A codebook whose codes follow moving averages of what they stand for (the same paper, appendix A.1)."""

    def forward(self, z: Tensor, uses_ddp: bool = False) -> ModelOutput:
        """Quantise z, (B, h, w, embedding_dim); when training, the codes move afterwards."""
        indices = nearest_codes(z, self.embeddings)
        output = _output(indices, *_Lookup.apply(z, self.embeddings, indices, (self.commitment_loss_factor, 0.0)))
        if self.training:
            self._follow(z.detach(), indices)
        return output

    @torch.no_grad()
    def _follow(self, z: Tensor, indices: Tensor) -> None:
        """Move the averages of each code's cluster, its size and its sum, and put each code in the middle of it."""
        z, indices = z.reshape(-1, self.embedding_dim), indices.reshape(-1)
        sizes = torch.zeros_like(self.cluster_size).index_add_(0, indices, torch.ones_like(z[:, 0]))
        sums = torch.zeros_like(self.ema_embed).index_add_(0, indices, z)
        self.cluster_size.mul_(self.decay).add_(sizes * (1 - self.decay))
        self.ema_embed.mul_(self.decay).add_(sums * (1 - self.decay))
        total = self.cluster_size.sum()
        self.cluster_size.add_(SMOOTHING).div_(total + self.num_embeddings * SMOOTHING).mul_(total)
        self.embeddings.copy_(self.ema_embed / self.cluster_size[:, None])


def look_codes_up(model: nn.Module) -> None:
    """Replace the codebook of a VQ model by one with the same state that looks codes up; other models stay as they are.

    To be done before optimizers are made. The names and values of the parameters and buffers stay.
    """
    quantizer = getattr(model, "quantizer", None)
    if quantizer is None:
        return
    quantizer.__class__ = LookupQuantizerEMA if isinstance(quantizer, QuantizerEMA) else LookupQuantizer


@torch.no_grad()
def nearest_codes(z: Tensor, codebook: Tensor) -> Tensor:
    """The code (its row in `codebook`, (K, D)) nearest to each vector of z, (..., D): int64 (...)."""
    vectors = z.reshape(-1, z.shape[-1])
    # |z - e|² less |z|², which is the same for all codes
    distances = torch.addmm(codebook.square().sum(-1), vectors, codebook.T, alpha=-2)
    return distances.min(-1).indices.reshape(z.shape[:-1])  # twice as fast as argmin on a CPU


class _Lookup(torch.autograd.Function):
    """The codes of a codebook (K, D) at `indices`, and the loss that draws latents z, (..., D), and codes together.

    `factors`: of commitment and of quantization loss. The loss is their sum times the mean squared distance
    of z and its codes; z gets the gradient of the first, and the codes that of the second. The gradient of the
    quantised vectors goes straight through to z.
    """

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, codebook: Tensor, indices: Tensor, factors: tuple[float, float]
    ) -> tuple[Tensor, Tensor]:
        """The codes, like z, and the loss, a scalar."""
        codes = functional.embedding(indices, codebook)
        difference = z - codes
        ctx.save_for_backward(difference, indices)
        ctx.factors, ctx.size = factors, len(codebook)
        return codes, difference.square().mean() * sum(factors)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, codes: Tensor, loss: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of z and the codebook, from those of the codes and of the loss."""
        difference, indices = ctx.saved_tensors
        to_z, to_codebook = (loss * (2 * factor / difference.numel()) for factor in ctx.factors)
        book = None
        if ctx.needs_input_grad[1]:
            moves = difference.reshape(-1, difference.shape[-1]) * -to_codebook
            book = torch.zeros_like(moves[:1]).expand(ctx.size, -1).clone().index_add_(0, indices.reshape(-1), moves)
        return torch.addcmul(codes, difference, to_z), book, None, None


def _output(indices: Tensor, codes: Tensor, loss: Tensor) -> ModelOutput:
    """pythae's answer."""
    return ModelOutput(quantized_vector=codes.permute(0, 3, 1, 2), quantized_indices=indices.unsqueeze(1), loss=loss)
