"""Fitting an autoregressive flow to the latents of the training images, and drawing from it."""

import numpy as np
import torch

from vaebench.base.devices import random_numbers_kept
from vaebench.sampling import fitting
from vaebench.sampling.autoregressive_flow import AutoregressiveFlow
from vaebench.sampling.latent_density import as_latents, held_out_latents, standardisation, training_latents
from vaebench.sampling.request import Drawn, Request


def draw_by_flow(request: Request, quick_density: bool) -> Drawn:
    """Draws of a flow with the options layers, width and those of `fitting.fit`."""
    options, device = request.options, request.device
    seed = int(request.generator.integers(2**31))
    held_out = held_out_latents(request)
    rows = {split: torch.from_numpy(z.astype(np.float32)).to(device) for split, z in held_out.items()}
    train = torch.from_numpy(training_latents(request).astype(np.float32)).to(device)
    with random_numbers_kept(device):
        torch.manual_seed(seed)
        flow = AutoregressiveFlow(*standardisation(train), options["layers"], options["width"], quick_density)
    flow = flow.to(device)
    fitting.fit(flow, flow.nats, (train, fitting.validation_rows(rows)), options, seed)
    nats = {split: fitting.nats_of(flow, flow.nats, z, options["batch_size"]) for split, z in rows.items()}
    noise = request.noise().flatten(1)
    with torch.no_grad():
        drawn = torch.cat([flow.from_noise(part) for part in noise.split(1024)])
    return Drawn(as_latents(drawn.cpu().numpy(), request), latent_nats=nats)
