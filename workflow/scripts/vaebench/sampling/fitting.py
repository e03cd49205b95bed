"""Fitting a density to codes or latents by maximum likelihood: what its samplers share."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from math import cos, inf, pi
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from vaebench.base.errors import UserError

WARM_UP = 0.1  # of the steps
BETAS = (0.9, 0.95)
LARGEST_GRADIENT = 1.0

Nats = Callable[[Tensor], Tensor]  # from rows (B, ...) to their -ln p in nats, (B,)


def fit(density: nn.Module, nats: Nats, rows: tuple[Tensor, Tensor], options: Mapping[str, Any], seed: int) -> None:
    """Minimise the mean of `nats` over the first of the `rows`; keep the epoch of the least mean over the second.

    By AdamW with the options epochs, batch_size, weight_decay and learning_rate, which rises linearly and then falls as
    a cosine (Loshchilov & Hutter 2017). `density`, whose parameters `nats` uses, is in training mode while it is fitted
    and in evaluation mode else. Raises UserError when no epoch has a finite mean.
    """
    train, held_out = rows
    settings = {"lr": options["learning_rate"], "weight_decay": options["weight_decay"]}
    optimizer = torch.optim.AdamW(density.parameters(), betas=BETAS, fused=True, **settings)
    steps = options["epochs"] * -(-len(train) // options["batch_size"])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step, steps))
    order = np.random.default_rng(seed)
    best_state: dict[str, Tensor] | None = None
    best = inf
    progress = tqdm(range(options["epochs"]), desc="fitting the density that is sampled", unit="epoch")
    for _ in progress:
        density.train()
        for chosen in torch.from_numpy(order.permutation(len(train))).split(options["batch_size"]):
            batch = train[chosen.to(train.device)]
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(nats(batch).mean() / batch[0].numel())
            torch.nn.utils.clip_grad_norm_(density.parameters(), LARGEST_GRADIENT)
            optimizer.step()
            schedule.step()
        found = float(nats_of(density, nats, held_out, options["batch_size"]).mean())
        progress.set_postfix(held_out_nats_per_image=round(found, 1))
        if found < best:
            best, best_state = found, deepcopy(density.state_dict())
    if best_state is None:
        raise UserError("the density that is sampled cannot be fitted: its loss is not finite; lower its learning_rate")
    density.load_state_dict(best_state)


def validation_rows(rows: Mapping[str, Tensor]) -> Tensor:
    """The rows of the split eval, by which the epoch of a fit is chosen; `UserError` where a label has none."""
    if "eval" not in rows:
        raise UserError(
            "no validation image has these labels, by which a fit is chosen; take gaussian_mixture, or transformer"
        )
    return rows["eval"]


@torch.no_grad()
def nats_of(density: nn.Module, nats: Nats, rows: Tensor, batch_size: int) -> np.ndarray:
    """-ln p of each row, (n,) float64."""
    density.eval()
    return torch.cat([nats(part).double() for part in rows.split(batch_size)]).cpu().numpy()


def _share(step: int, steps: int) -> float:
    """The share of the learning rate that a step is made with."""
    rising = max(WARM_UP * steps, 1)
    return min((step + 1) / rising, 0.5 * (1 + cos(pi * max(step - rising, 0) / max(steps - rising, 1))))
