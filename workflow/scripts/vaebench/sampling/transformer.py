"""Codes from a small transformer that is fitted to those of the training images (Esser et al. 2021, section 3.2).

It serves grids of one level and of several, as residual quantisers give them.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from math import cos, pi
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from vaebench.base.errors import UserError
from vaebench.sampling.causal_transformer import CausalTransformer
from vaebench.sampling.codes import image_codes, size_of
from vaebench.sampling.request import Drawn, Request
from vaebench.training.precision import multiplies_in_bfloat16

OPTIONS: dict[str, object] = {
    "epochs": 6,
    "width": 128,
    "layers": 2,
    "heads": 4,
    "batch_size": 32,
    "learning_rate": 2e-3,
    "weight_decay": 0.05,
    "temperature": 1.0,
    "top_k": None,
}
WARM_UP = 0.1  # of the steps
BETAS = (0.9, 0.95)
LARGEST_GRADIENT = 1.0
NUMBERS = 2**26  # of keys and values in memory at one time when codes are drawn: 256 MB


def draw(request: Request) -> Drawn:
    """Codes from a prior that is fitted to the codes of the training images."""
    model, options = request.model, request.options
    seed = int(request.generator.integers(2**31))
    codes = {split: image_codes(model, images) for split, images in request.images.items()}
    prior = fit_transformer(codes["train"], codes["eval"], size_of(model), options, seed)
    nats = {split: code_nats(prior, codes[split], options["batch_size"]) for split in request.held_out}
    drawn = sample_codes(prior, request.count, seed, options["temperature"], options["top_k"])
    with torch.no_grad():
        return Drawn(model.embed_codes(drawn), nats)


def fit_transformer(
    train: Tensor, held_out: Tensor, codes: int, options: Mapping[str, Any], seed: int
) -> CausalTransformer:
    """Fit a transformer to grids (n, h, w) or (n, levels, h, w); keep the epoch of least held-out loss.

    Used of the options: epochs, width, layers, heads, batch_size, learning_rate, which rises linearly and then falls as
    a cosine (Loshchilov & Hutter 2017), and weight_decay. On the device of `train`, in bfloat16 where that multiplies
    in it. Raises UserError for a width that the heads cannot share, and for a fit that diverges.
    """
    if options["width"] % options["heads"]:
        raise UserError(f"sampler.options: width {options['width']} is no multiple of heads {options['heads']}")
    device = train.device
    with torch.random.fork_rng(devices=[device] if train.is_cuda else []):
        torch.manual_seed(seed)
        prior = CausalTransformer(codes, train.shape[1:], options["width"], options["layers"], options["heads"])
    prior = prior.to(device)
    optimizer = torch.optim.AdamW(
        prior.parameters(), lr=options["learning_rate"], betas=BETAS, weight_decay=options["weight_decay"]
    )
    steps = options["epochs"] * -(-len(train) // options["batch_size"])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    order = np.random.default_rng(seed)
    best_state: dict[str, Tensor] | None = None
    best_loss = float("inf")
    progress = tqdm(range(options["epochs"]), desc="fitting the code prior", unit="epoch")
    for _ in progress:
        for rows in torch.split(torch.from_numpy(order.permutation(len(train))), options["batch_size"]):
            batch = prior.sequences(train[rows.to(device)])
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=multiplies_in_bfloat16(device)):
                logits = prior(batch)
            torch.autograd.backward(functional.cross_entropy(logits.flatten(0, 1).float(), batch.flatten()))
            torch.nn.utils.clip_grad_norm_(prior.parameters(), LARGEST_GRADIENT)
            optimizer.step()
            schedule.step()
        loss = float(code_nats(prior, held_out, options["batch_size"]).mean())
        progress.set_postfix(held_out_nats_per_image=round(loss, 1))
        if loss < best_loss:
            best_loss, best_state = loss, deepcopy(prior.state_dict())
    if best_state is None:
        raise UserError("the prior over the codes cannot be fitted: its loss is not finite; lower its learning_rate")
    prior.load_state_dict(best_state)
    return prior.eval()


def _rate(step: int, steps: int) -> float:
    """The share of the learning rate that a step is made with."""
    rising = max(WARM_UP * steps, 1)
    return min((step + 1) / rising, 0.5 * (1 + cos(pi * max(step - rising, 0) / max(steps - rising, 1))))


@torch.no_grad()
def code_nats(prior: CausalTransformer, codes: Tensor, batch_size: int) -> np.ndarray:
    """-ln p of each grid of codes in nats, summed over its codes: (n,) float64."""
    nats = []
    for sequences in prior.sequences(codes).split(batch_size):
        each = functional.cross_entropy(prior(sequences).transpose(1, 2), sequences, reduction="none")
        nats.append(each.double().sum(1))
    return torch.cat(nats).cpu().numpy()


@torch.no_grad()
def sample_codes(prior: CausalTransformer, count: int, seed: int, temperature: float, top_k: int | None) -> Tensor:
    """Draw `count` grids of codes one code after another, (count, *shape) int64.

    The logits are divided by `temperature`; of the codes only the `top_k` likeliest can be drawn, or all with None.
    """
    device = prior.output.device
    generator = torch.Generator(device).manual_seed(seed)
    numbers_of_one = sum(2 * past.keys[0].numel() for past in prior.pasts(1))
    drawn = []
    for size in _blocks(count, max(NUMBERS // numbers_of_one, 1)):
        sequences, pasts = torch.empty(size, 0, dtype=torch.int64, device=device), prior.pasts(size)
        for _ in range(prior.length):
            logits = prior.next_logits(sequences, pasts) / temperature
            if top_k is not None and top_k < prior.codes:
                logits = logits.masked_fill(logits < logits.topk(top_k).values[:, -1:], -torch.inf)
            code = torch.multinomial(logits.softmax(1), 1, generator=generator)
            sequences = torch.cat([sequences, code], 1)
        drawn.append(prior.grids(sequences))
    return torch.cat(drawn)


def _blocks(count: int, most: int) -> Iterator[int]:
    """`count` in parts of at most `most`."""
    for start in range(0, count, most):
        yield min(most, count - start)
