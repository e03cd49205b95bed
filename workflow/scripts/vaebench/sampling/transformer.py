"""Codes from a small transformer that is fitted to those of the training images (Esser et al. 2021, section 3.2).

It serves grids of one level and of several, as residual quantisers give them, and is given the labels of a conditional
model: one network for all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vaebench.base.devices import random_numbers_kept
from vaebench.base.errors import UserError
from vaebench.models.sampler_options import why_no_patches
from vaebench.sampling import fitting
from vaebench.sampling.causal_transformer import CausalTransformer, Size
from vaebench.sampling.codes import image_codes, size_of
from vaebench.sampling.request import Drawn, Request
from vaebench.training.precision import multiplies_in_bfloat16

TAKES_LABELS = True
NUMBERS = 2**26  # of keys and values in memory at one time when codes are drawn: 256 MB


@dataclass(frozen=True)
class Sharpening:
    """Makes likely codes likelier: divides logits by `temperature`, and leaves out all but the `top_k` likeliest."""

    temperature: float = 1.0
    top_k: int | None = None

    def applied(self, logits: Tensor) -> Tensor:
        """Sharpened logits (B, codes); codes that are as likely as the last one kept are kept too."""
        logits = logits / self.temperature
        if self.top_k is None or self.top_k >= logits.shape[1]:
            return logits
        return logits.masked_fill(logits < logits.topk(self.top_k).values[:, -1:], -torch.inf)


def draw(request: Request) -> Drawn:
    """Codes from a prior that is fitted to the codes of the training images."""
    model, options = request.model, request.options
    seed = int(request.generator.integers(2**31))
    given = {split: torch.from_numpy(rows).to(request.device) for split, rows in request.conditions.items()}
    codes = {
        split: image_codes(model, images, request.conditions.get(split)) for split, images in request.images.items()
    }
    labels = (given["train"], given["eval"]) if given else None
    prior = fit_transformer((codes["train"], codes["eval"]), size_of(model), options, seed, labels)
    size = options["batch_size"]
    nats = {split: code_nats(prior, codes[split], size, given.get(split)) for split in request.held_out}
    wanted = None if request.wanted is None else torch.from_numpy(request.wanted)
    sharpening = Sharpening(options["temperature"], options["top_k"])
    drawn = sample_codes(prior, request.count, seed, sharpening, wanted)
    with torch.no_grad():
        return Drawn(model.embed_codes(drawn), nats)


def fit_transformer(
    grids: tuple[Tensor, Tensor],
    codes: int,
    options: Mapping[str, Any],
    seed: int,
    given: tuple[Tensor, Tensor] | None = None,
) -> CausalTransformer:
    """Fit a transformer to the first of the grids (n, h, w) or (n, levels, h, w); the second choose the epoch.

    On their device, in bfloat16 where that multiplies in it. given: the labels of both, rows (n, K). Options: width,
    layers, heads, of which width is a multiple, patch, and those of `fitting.fit`. Raises UserError for a grid that is
    not made of whole patches, and a fit that diverges.
    """
    size = Size(*(options[name] for name in ("width", "layers", "heads", "patch")))
    *_, rows, columns = grids[0].shape
    if reason := why_no_patches(options, (rows, columns)):
        raise UserError(f"sampler.options: {reason}")
    device = grids[0].device
    with random_numbers_kept(device):
        torch.manual_seed(seed)
        labels = 0 if given is None else given[0].shape[1]
        prior = CausalTransformer(codes, grids[0].shape[1:], size, labels).to(device)
    fast = multiplies_in_bfloat16(device)

    def nats(sequences: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=fast and prior.training):
            return _nats(prior, sequences).sum(1)

    train, held_out = map(prior.sequences, grids, given or (None, None))
    fitting.fit(prior, nats, (train, held_out), options, seed)
    return prior


def code_nats(prior: CausalTransformer, codes: Tensor, batch_size: int, given: Tensor | None = None) -> np.ndarray:
    """-ln p of each grid of codes in nats, (n,) float64; of levels (n, levels), each given what comes before.

    given: the labels of the grids, rows (n, K), for a prior that is given labels.
    """

    def nats(sequences: Tensor) -> Tensor:
        by_level: Tensor = _nats(prior, sequences).unflatten(1, (-1, prior.levels)).sum(1)
        return by_level.squeeze(1) if len(prior.shape) == 2 else by_level

    return fitting.nats_of(prior, nats, prior.sequences(codes, given), batch_size)


def _nats(prior: CausalTransformer, sequences: Tensor) -> Tensor:
    """-ln p of each code of sequences, given those before it, (B, length)."""
    logits, codes = prior(sequences), sequences[:, prior.labels :]
    logits = logits.float() if logits.dtype == torch.bfloat16 else logits
    # a code a row, since on a CPU a softmax over another than the last dimension takes several times as long
    return functional.cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="none").view_as(codes)


@torch.no_grad()
def sample_codes(
    prior: CausalTransformer,
    count: int,
    seed: int,
    sharpening: Sharpening = Sharpening(),
    given: Tensor | None = None,
) -> Tensor:
    """Draw `count` grids of codes one code after another, (count, *shape) int64.

    given: the labels that they are drawn for, rows (count, K), for a prior that is given labels.
    """
    device = prior.output.device
    generator = torch.Generator(device).manual_seed(seed)
    numbers_of_one = sum(2 * past.keys.numel() for past in prior.drawing(1).pasts)
    most = max(NUMBERS // numbers_of_one, 1)
    beginnings = (torch.empty(count, 0) if given is None else given).to(device, torch.int64)
    drawn = []
    for sequences in beginnings.split(most):
        drawing = prior.drawing(len(sequences))
        for _ in range(prior.length):
            logits = sharpening.applied(prior.next_logits(sequences, drawing))
            code = torch.multinomial(logits.softmax(1), 1, generator=generator)
            sequences = torch.cat([sequences, code], 1)
        drawn.append(prior.grids(sequences))
    return torch.cat(drawn)
