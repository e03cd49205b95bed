"""The network of the sampler `transformer`: a causal transformer over grids of codes, of one level or several.

A grid is read patch by patch in reading order, and within a patch cell by cell and level by level; a patch is one cell
unless it is asked to be larger. A trunk reads the patches: decoder-only and pre-norm (Vaswani et al. 2017, Radford et
al. 2019), with what a grid offers: each patch is predicted at its own row and column, and sees, besides all patches
before it through attention, the codes of the last one and of the one above it directly. The codes of a patch follow
from the trunk's answer and from each other by perceptrons, as in Lee et al. 2022 (arXiv 2203.01941, section 3.2), where
a second transformer does it: attention, whose cost grows with the length of a sequence, is over patches alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

SHORT = 128  # patches, see `_kernels`
STD = 0.02  # of initial weights (Radford et al. 2019)


@dataclass(frozen=True)
class Size:
    """The trunk: numbers for a patch, layers, heads of attention; how many cells a patch has in either direction."""

    width: int
    layers: int
    heads: int
    patch: int = 1


class Past:
    """The keys and values that one layer has computed for the patches so far, with room for a whole grid."""

    def __init__(self, keys: Tensor) -> None:
        self.keys, self.values, self.length = keys, torch.empty_like(keys), 0

    def extended(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """All of them, with those of the next patches (B, heads, n, width / heads) behind."""
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
        """All patches (B, T, width), or the one behind those in `past`, (B, 1, width)."""
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
    """Attention, then two layers on each patch alone; either reads normalised numbers and adds to what it was given."""

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


@dataclass
class Drawing:
    """What is kept of grids whose codes are drawn one by one: a `Past` a layer, and the trunk's latest answer."""

    pasts: list[Past]
    answer: Tensor


class CausalTransformer(nn.Module):
    """Logits of each code of a sequence given those before it.

    codes: how many there are, of each level. shape: of a grid, (h, w) or (levels, h, w), h and w multiples of
    `size.patch`. labels: how many numbers, of 0 and 1, tell what all codes are given besides; these stand before the
    codes of a sequence, and what each is worth is added to the trunk's input.
    """

    def __init__(self, codes: int, shape: Sequence[int], size: Size, labels: int = 0) -> None:
        super().__init__()
        width, self.heads, self.patch, self.labels = size.width, size.heads, size.patch, labels
        self.shape = tuple(shape)
        *levels, rows, columns = shape
        self.codes, self.levels = codes, (levels or [1])[0]
        self.rows, self.columns, self.depth = rows // size.patch, columns // size.patch, self.levels * size.patch**2
        self.nothing = codes * self.depth  # stands for a code where there is none: before the first, above the top row
        self.last, self.above = (nn.Embedding(self.nothing + 1, width) for _ in range(2))
        self.row, self.column = nn.Embedding(self.rows, width), nn.Embedding(self.columns, width)
        self.blocks = nn.ModuleList(Block(width, size.heads) for _ in range(size.layers))
        self.within = nn.Embedding(self.nothing, width)
        self.perceptrons = nn.ModuleList(_perceptron(width) for _ in range(self.depth - 1))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Parameter(torch.empty(self.depth, codes, width))
        self.given = nn.Linear(labels, width, bias=False) if labels else None
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=STD)

    @property
    def length(self) -> int:
        """How many codes a sequence has."""
        return self.rows * self.columns * self.depth

    def sequences(self, grids: Tensor, given: Tensor | None = None) -> Tensor:
        """Grids (B, *shape) as sequences, (B, length), or with their labels, rows (B, K), (B, K + length)."""
        cells = grids.reshape(-1, self.levels, self.rows, self.patch, self.columns, self.patch)
        codes = cells.permute(0, 2, 4, 3, 5, 1).flatten(1)
        return codes if given is None else torch.cat([given.to(codes), codes], 1)

    def grids(self, sequences: Tensor) -> Tensor:
        """Sequences as grids again, without the labels."""
        cells = sequences[:, self.labels :].reshape(-1, self.rows, self.columns, self.patch, self.patch, self.levels)
        return cells.permute(0, 5, 1, 3, 2, 4).reshape(-1, *self.shape)

    def forward(self, sequences: Tensor) -> Tensor:
        """Sequences (B, K + length) int64 -> logits (B, length, codes)."""
        x = self._inputs(sequences, 0, self.rows * self.columns)
        for block in self.blocks:
            x = block(x, None)
        patches = sequences[:, self.labels :].unflatten(1, (-1, self.depth))
        return torch.stack([self._logits(x, patches[..., :place]) for place in range(self.depth)], 2).flatten(1, 2)

    def drawing(self, count: int) -> Drawing:
        """What `next_logits` keeps of `count` sequences, before their first code."""
        patches = self.rows * self.columns
        keys = count, self.heads, patches, self.norm.normalized_shape[0] // self.heads
        return Drawing([Past(self.output.new_empty(keys)) for _ in self.blocks], answer=self.output.new_empty(0))

    def next_logits(self, beginnings: Tensor, drawing: Drawing) -> Tensor:
        """Logits (B, codes) of the code behind beginnings (B, K + n) of sequences: called for n = 0, 1, 2 and so on."""
        patch, place = divmod(beginnings.shape[1] - self.labels, self.depth)
        if place == 0:
            x = self._inputs(beginnings, patch, patch + 1)
            for block, past in zip(self.blocks, drawing.pasts, strict=True):
                x = block(x, past)
            drawing.answer = x[:, 0]
        return self._logits(drawing.answer, beginnings[:, beginnings.shape[1] - place :])

    def _inputs(self, sequences: Tensor, first: int, end: int) -> Tensor:
        """What the trunk reads in order to predict the patches `first` to `end`, (B, end - first, width)."""
        patches = torch.arange(first, end, device=sequences.device)
        x: Tensor = self.row(patches // self.columns) + self.column(patches % self.columns)
        x = x + self.last(self._codes_of(sequences, patches - 1)).sum(2)
        x = x + self.above(self._codes_of(sequences, patches - self.columns)).sum(2)
        if self.given is not None:
            x = x + self.given(sequences[:, None, : self.labels].to(x))
        return x

    def _codes_of(self, sequences: Tensor, patches: Tensor) -> Tensor:
        """The codes of patches of the sequences, those of each place with numbers of their own, (B, n, depth)."""
        places = torch.arange(self.depth, device=sequences.device)
        if sequences.shape[1] == self.labels:
            return places.new_full((len(sequences), len(patches), self.depth), self.nothing)
        found = sequences[:, self.labels + patches.clamp(min=0)[:, None] * self.depth + places]
        codes: Tensor = (found + self.codes * places).where(patches[:, None] >= 0, self.nothing)
        return codes

    def _logits(self, answer: Tensor, before: Tensor) -> Tensor:
        """Logits of a patch's next code, (..., codes), from the trunk's answer (..., width) and its codes `before`."""
        place = before.shape[-1]
        if place:
            numbers = before + self.codes * torch.arange(place, device=before.device)
            answer = answer + self.within(numbers).sum(-2)
            answer = answer + self.perceptrons[place - 1](answer)
        return functional.linear(self.norm(answer), self.output[place])


def _perceptron(width: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
