"""Latents from a second, small VAE that is fitted to those of the training images (Dai & Wipf 2019, arXiv 1903.05789).

Where the posteriors of a trained model, taken together, do not fill its prior, a VAE of the same dimension can learn
their distribution, since nothing is compressed any more.
"""

import torch

from vaebench.base.devices import random_numbers_kept
from vaebench.sampling import fitting
from vaebench.sampling.latent_density import as_latents, drawn_latents, standardisation
from vaebench.sampling.latent_vae import LatentVAE
from vaebench.sampling.request import Drawn, Request


def draw(request: Request) -> Drawn:
    """Draws of a VAE that is fitted to a draw from the posterior of each of (up to `fit_images`) training images.

    Its nats of held-out latents, one draw from each posterior, are a bound from above.
    """
    options, device = request.options, request.device
    seed = int(request.generator.integers(2**31))
    rows = {split: torch.from_numpy(z).float().to(device) for split, z in drawn_latents(request).items()}
    train = rows.pop("train")
    with random_numbers_kept(device):
        torch.manual_seed(seed)
        second = LatentVAE(*standardisation(train), options["layers"], options["width"]).to(device)
        fitting.fit(second, second.nats, (train, fitting.validation_rows(rows)), options, seed)
        nats = {split: fitting.nats_of(second, second.nats, z, options["batch_size"]) for split, z in rows.items()}
    u, noise = request.noise().flatten(1), request.noise().flatten(1)
    with torch.no_grad():
        drawn = second.from_noise(u, noise)
    return Drawn(as_latents(drawn.cpu().numpy(), request), latent_nats=nats)
