"""Hierarchical refinement quantisation, the H, R and Q of HRQ-VAE (Hosking et al. 2022, ACL, arXiv 2203.03463).

A vector is the sum of one vector from the codebook of each level, and each level refines what the former ones leave.
In training codes are drawn, by a Gumbel softmax that grows colder, and deeper levels are left out at random.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vaebench.models.interface import Moment
from vaebench.models.providers.quantizers.quantizer import Quantised, Quantizer, positions

HOTTEST, COLDEST = 2.0, 0.5  # temperatures


class Hierarchy(Quantizer):
    """`depth` codebooks, each of `codebook_size` vectors.

    The loss, for each vector: `kl` times the divergence of the codes' posterior from the uniform prior, of all levels,
    and `norm_loss`. At first the vectors of a level have length `scale`, those of each further one `scale_decay` times
    that of the former.
    """

    nearest = True

    def __init__(self, channels: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.options = options
        self.levels = options["depth"]
        directions = functional.normalize(torch.randn(self.levels, options["codebook_size"], channels), dim=-1)
        lengths = options["scale"] * options["scale_decay"] ** torch.arange(self.levels)
        self.codebooks = nn.Parameter(directions * lengths[:, None, None])

    @property
    def size(self) -> int:
        """The number of vectors in each codebook."""
        return self.codebooks.shape[1]

    def temperature(self, epoch: int) -> float:
        """Of the Gumbel softmax: max(2 exp(-t / γ), 0.5), with t the epochs that are over and γ in epochs."""
        return max(HOTTEST * math.exp(-(epoch - 1) / self.options["temperature_decay"]), COLDEST)

    def forward(self, grid: Tensor, moment: Moment) -> Quantised:
        """Codes are drawn in training mode; outside of it they are the nearest ones, of all levels."""
        rest = grid.movedim(1, -1).flatten(0, -2)
        vectors, codes, divergence = [], [], rest.new_zeros(len(rest))
        for codebook in self.codebooks:
            logits = -square_distances(rest, codebook)
            if self.training:
                chosen = functional.gumbel_softmax(logits, self.temperature(moment.epoch), hard=True)
            else:
                chosen = functional.one_hot(logits.argmax(1), self.size).to(logits)
            divergence = divergence + divergence_from_uniform(logits)
            codes.append(chosen.argmax(1))
            vectors.append(chosen @ codebook)
            rest = rest - vectors[-1]
        found = torch.stack(vectors, 1)
        loss = self.options["kl"] * divergence.mean() + self.options["norm_weight"] * self.norm_loss(found)
        kept = self.depths_kept(len(found)).to(found) if self.training else torch.ones_like(found[..., :1])
        total = (found * kept).sum(1).reshape(*grid.movedim(1, -1).shape).movedim(-1, 1)
        shape = (len(grid), *grid.shape[-2:], self.levels)
        return Quantised(total, torch.stack(codes, 1).reshape(shape).movedim(-1, 1), loss * positions(grid))

    def norm_loss(self, vectors: Tensor) -> Tensor:
        """Of (N, levels, D): mean (max(`norm_scale` ‖v_d‖ / ‖v_(d-1)‖, 1) - 1)² over all but the first level.

        It is 0 where each level is shorter than the former by that factor.
        """
        lengths = vectors.norm(dim=-1)
        ratios = self.options["norm_scale"] * lengths[:, 1:] / lengths[:, :-1]
        return (ratios.clamp(min=1) - 1).square().mean()

    def depths_kept(self, count: int) -> Tensor:
        """(count, levels, 1), 1 for what is kept: from each level on the rest is left out with `depth_drop`."""
        kept = torch.rand(count, self.levels, 1, device=self.codebooks.device) >= self.options["depth_drop"]
        return kept.cumprod(1)

    def encode(self, grid: Tensor) -> Quantised:
        """The nearest codes, level by level."""
        rest = grid.movedim(1, -1)
        codes = []
        for codebook in self.codebooks:
            distances = square_distances(rest.flatten(0, -2), codebook)
            codes.append(distances.argmin(1).reshape(rest.shape[:-1]))
            rest = rest - codebook[codes[-1]]
        found = torch.stack(codes, 1)
        return Quantised(self.embed(found), found)

    def embed(self, codes: Tensor) -> Tensor:
        """The sum of the levels' vectors."""
        vectors = [codebook[level] for codebook, level in zip(self.codebooks, codes.unbind(1), strict=True)]
        return torch.stack(vectors).sum(0).movedim(-1, 1)


def square_distances(vectors: Tensor, codebook: Tensor) -> Tensor:
    """‖v - c‖² of vectors (N, D) and those of a codebook (K, D): (N, K)."""
    return vectors.square().sum(1, keepdim=True) + codebook.square().sum(1) - 2 * vectors @ codebook.T


def divergence_from_uniform(logits: Tensor) -> Tensor:
    """KL(softmax(logits) ‖ uniform) = ln K - H in nats, of (N, K): (N,)."""
    logs = logits.log_softmax(1)
    return math.log(logits.shape[1]) + (logs.exp() * logs).sum(1)


BUILD = Hierarchy
