"""The network of the sampler `transformer`: a causal transformer over grids of codes, of one level or several.

A grid is read position by position in reading order, and at each position level by level: a sequence of h·w·levels
codes. Decoder-only and pre-norm (Vaswani et al. 2017, Radford et al. 2019), with what a grid offers: each code is
predicted at its own row, column and level, and sees, besides all codes before it through attention, the last one and
those of the position above it directly.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

SHORT = 128  # codes, see `_kernels`
STD = 0.02  # of initial weights (Radford et al. 2019)


class Past:
    """The keys and values that one layer has computed for the codes so far, with room for a whole sequence."""

    def __init__(self, keys: Tensor) -> None:
        self.keys, self.values, self.length = keys, torch.empty_like(keys), 0

    def extended(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """All of them, with those of the next codes (B, heads, n, width / heads) behind."""
        first, self.length = self.length, self.length + key.shape[2]
        self.keys[:, :, first : self.length] = key
        self.values[:, :, first : self.length] = value
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inputs = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, past: Past | None) -> Tensor:
        """A whole sequence (B, T, width), or the code behind those in `past`, (B, 1, width)."""
        query, key, value = self.inputs(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if past is not None:
            key, value = past.extended(key, value)
        with sdpa_kernel(_kernels(query)):
            y = functional.scaled_dot_product_attention(query, key, value, is_causal=past is None)
        mixed: Tensor = self.output(y.transpose(1, 2).flatten(2))
        return mixed


def _kernels(query: Tensor) -> list[SDPBackend]:
    """What computes attention: on a CPU the plain products are the faster for short sequences."""
    plain = query.device.type == "cpu" and query.shape[2] <= SHORT
    return [SDPBackend.MATH] if plain else [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


class Block(nn.Module):
    """Attention, then two layers on each code alone; either reads normalised numbers and adds to what it was given."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention = Attention(width, heads)
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, past: Past | None) -> Tensor:
        """Keep the shape (B, n, width)."""
        x = x + self.attention(self.norms[0](x), past)
        mixed: Tensor = x + self.layers(self.norms[1](x))
        return mixed


class CausalTransformer(nn.Module):
    """Logits of each code of a sequence given those before it.

    codes: how many there are, of each level. shape: of a grid, (h, w) or (levels, h, w). labels: how many numbers, of 0
    and 1, tell what all codes are given besides; these stand before the codes of a sequence, and what each is worth is
    added to the input of every code.
    """

    def __init__(self, codes: int, shape: Sequence[int], width: int, layers: int, heads: int, labels: int = 0) -> None:
        super().__init__()
        self.labels = labels
        self.shape = tuple(shape)
        *levels, self.rows, self.columns = shape
        self.codes, self.levels, self.heads = codes, (levels or [1])[0], heads
        self.nothing = codes * self.levels  # stands for a code where there is none: before the first, above the top row
        self.last, self.above = (nn.Embedding(self.nothing + 1, width) for _ in range(2))
        self.row, self.column = nn.Embedding(self.rows, width), nn.Embedding(self.columns, width)
        self.level = nn.Embedding(self.levels, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Parameter(torch.empty(self.levels, codes, width))
        self.given = nn.Linear(labels, width, bias=False) if labels else None
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=STD)

    @property
    def length(self) -> int:
        """How many codes a sequence has."""
        return self.rows * self.columns * self.levels

    def sequences(self, grids: Tensor, given: Tensor | None = None) -> Tensor:
        """Grids (B, *shape) as sequences, (B, length), or with their labels, rows (B, K), (B, K + length)."""
        codes = grids.reshape(len(grids), self.levels, -1).transpose(1, 2).flatten(1)
        return codes if given is None else torch.cat([given.to(codes), codes], 1)

    def grids(self, sequences: Tensor) -> Tensor:
        """Sequences as grids again, without the labels."""
        return (
            sequences[:, self.labels :]
            .reshape(len(sequences), -1, self.levels)
            .transpose(1, 2)
            .reshape(-1, *self.shape)
        )

    def forward(self, sequences: Tensor) -> Tensor:
        """Sequences (B, K + length) int64 -> logits (B, length, codes)."""
        x = self._inputs(sequences, 0, self.length)
        for block in self.blocks:
            x = block(x, None)
        by_level = self.norm(x).unflatten(1, (-1, self.levels)).unbind(2)
        logits = [functional.linear(x, output) for x, output in zip(by_level, self.output, strict=True)]
        return torch.stack(logits, 2).flatten(1, 2)

    def pasts(self, count: int) -> list[Past]:
        """What `next_logits` keeps of `count` sequences, a `Past` a layer, before their first code."""
        heads = self.heads, self.length, self.norm.normalized_shape[0] // self.heads
        return [Past(self.output.new_empty(count, *heads)) for _ in self.blocks]

    def next_logits(self, beginnings: Tensor, pasts: Sequence[Past]) -> Tensor:
        """Logits (B, codes) of the code behind beginnings (B, K + n) of sequences: called for n = 0, 1, 2 and so on."""
        place = beginnings.shape[1] - self.labels
        x = self._inputs(beginnings, place, place + 1)
        for block, past in zip(self.blocks, pasts, strict=True):
            x = block(x, past)
        return functional.linear(self.norm(x[:, 0]), self.output[place % self.levels])

    def _inputs(self, sequences: Tensor, first: int, end: int) -> Tensor:
        """What the network reads in order to predict the codes at places `first` to `end`, (B, end - first, width)."""
        places = torch.arange(first, end, device=sequences.device)
        positions, levels = places // self.levels, places % self.levels
        x: Tensor = self.row(positions // self.columns) + self.column(positions % self.columns) + self.level(levels)
        x = x + self.last(self._codes_at(sequences, places - 1))
        for level in range(self.levels):
            x = x + self.above(self._codes_at(sequences, (positions - self.columns) * self.levels + level))
        if self.given is not None:
            x = x + self.given(sequences[:, None, : self.labels].to(x))
        return x

    def _codes_at(self, sequences: Tensor, places: Tensor) -> Tensor:
        """The codes at places of the sequences, those of each level with numbers of their own, (B, n)."""
        if sequences.shape[1] == self.labels:
            return places.new_full((len(sequences), len(places)), self.nothing)
        found = sequences[:, self.labels + places.clamp(min=0)] + self.codes * (places % self.levels)
        codes: Tensor = found.where(places >= 0, self.nothing)
        return codes
