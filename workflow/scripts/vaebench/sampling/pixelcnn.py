"""An autoregressive prior over the codes of a VQ model: a small PixelCNN (van den Oord et al. 2016).

pythae's own sampler fails on EMA codebooks and feeds the code's number to the network as if it were a quantity.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from vaebench.base.errors import UserError
from vaebench.sampling import fitting
from vaebench.sampling.codes import image_codes, size_of
from vaebench.sampling.request import Drawn, Request

LOGITS = 2**26  # that are in memory at one time when codes are drawn: 256 MB


def draw(request: Request) -> Drawn:
    """Codes from a prior that is fitted to the codes of the training images."""
    model = request.model
    seed = int(request.generator.integers(2**31))
    codes = {split: image_codes(model, images) for split, images in request.images.items()}
    prior = fit_pixelcnn(codes["train"], fitting.validation_rows(codes), size_of(model), request.options, seed)
    height, width = codes["train"].shape[1:]
    drawn = sample_codes(prior, request.count, (height, width), seed)
    nats = {split: code_nats(prior, codes[split], request.options["batch_size"]) for split in request.held_out}
    with torch.no_grad():
        return Drawn(model.embed_codes(drawn), nats)


class MaskedConvolution(nn.Conv2d):
    """A convolution that sees only positions before its own in reading order; `own` lets it see its own too."""

    mask: Tensor

    def __init__(self, channels_in: int, channels_out: int, size: int, own: bool) -> None:
        super().__init__(channels_in, channels_out, size, padding=size // 2)
        mask = torch.ones(size, size)
        mask[size // 2, size // 2 + own :] = 0
        mask[size // 2 + 1 :] = 0
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, h, w) -> (B, channels_out, h, w)."""
        convolved: Tensor = self._conv_forward(x, self.weight * self.mask, self.bias)
        return convolved


class PixelCNN(nn.Module):
    """Logits of the code at each position given those before it; codes enter through a learned embedding."""

    def __init__(self, codes: int, channels: int, layers: int, size: int = 3) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, channels)
        self.first = MaskedConvolution(channels, channels, size, own=False)
        self.blocks = nn.ModuleList(MaskedConvolution(channels, channels, size, own=True) for _ in range(layers))
        self.logits = nn.Conv2d(channels, codes, 1)

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (B, h, w) int64 -> logits (B, K, h, w)."""
        x: Tensor = self.first(self.embedding(codes).permute(0, 3, 1, 2))
        for block in self.blocks:
            x = x + block(functional.relu(x))
        logits: Tensor = self.logits(functional.relu(x))
        return logits


def fit_pixelcnn(train: Tensor, held_out: Tensor, codes: int, options: Mapping[str, Any], seed: int) -> PixelCNN:
    """Fit a PixelCNN over a codebook of size `codes` to grids (n, h, w); keep the epoch of least held-out loss.

    Stops after `options["patience"]` epochs without improvement. Also used: epochs, channels, layers, batch_size,
    learning_rate. On the device of `train`.
    """
    with torch.random.fork_rng(devices=[train.device] if train.is_cuda else []):
        torch.manual_seed(seed)
        prior = PixelCNN(codes, options["channels"], options["layers"]).to(train.device)
    optimizer = torch.optim.Adam(prior.parameters(), lr=options["learning_rate"])
    order = np.random.default_rng(seed)
    best_state: dict[str, Tensor] | None = None
    best_loss, since_best = float("inf"), 0
    progress = tqdm(range(options["epochs"]), desc="fitting the code prior", unit="epoch")
    for _ in progress:
        for rows in torch.split(torch.from_numpy(order.permutation(len(train))), options["batch_size"]):
            batch = train[rows.to(train.device)]
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(functional.cross_entropy(prior(batch), batch))
            optimizer.step()
        loss = _loss(prior, held_out, options["batch_size"])
        progress.set_postfix(nats_per_code=round(loss, 4))
        since_best += 1
        if loss < best_loss:
            best_loss, best_state, since_best = loss, deepcopy(prior.state_dict()), 0
        if since_best == options["patience"]:
            break
    if best_state is None:
        raise UserError("the prior over the codes cannot be fitted: its loss is not finite; lower its learning_rate")
    prior.load_state_dict(best_state)
    return prior.eval()


@torch.no_grad()
def _loss(prior: PixelCNN, codes: Tensor, batch_size: int) -> float:
    totals = [float(functional.cross_entropy(prior(b), b)) * len(b) for b in torch.split(codes, batch_size)]
    return sum(totals) / len(codes)


@torch.no_grad()
def code_nats(prior: PixelCNN, codes: Tensor, batch_size: int) -> np.ndarray:
    """-ln p of each grid of codes (n, h, w) in nats, summed over its positions: (n,) float64."""
    nats = [functional.cross_entropy(prior(part), part, reduction="none") for part in torch.split(codes, batch_size)]
    return torch.cat([values.double().sum((1, 2)) for values in nats]).cpu().numpy()


@torch.no_grad()
def sample_codes(prior: PixelCNN, count: int, grid: tuple[int, int], seed: int) -> Tensor:
    """Draw `count` grids of codes, position by position in reading order: (count, h, w) int64."""
    device = next(prior.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    codes = torch.zeros(count, *grid, dtype=torch.int64, device=device)
    logits_of_one = grid[0] * grid[1] * prior.logits.out_channels
    for part in torch.split(codes, max(LOGITS // logits_of_one, 1)):
        for i in range(grid[0]):
            for j in range(grid[1]):
                probabilities = prior(part[:, : i + 1])[:, :, i, j].softmax(1)  # later rows cannot matter
                part[:, i, j] = torch.multinomial(probabilities, 1, generator=generator).squeeze(1)
    return codes
