"""Latents from the aggregate posterior: the mixture of the posteriors of the training images."""

import torch

from vaebench.models.batches import batches
from vaebench.models.inference import encode
from vaebench.sampling.request import Drawn, Request


def draw(request: Request) -> Drawn:
    """A draw from the posterior of a random training image for each sample."""
    model, generator = request.model, request.generator
    chosen = generator.integers(len(request.train), size=request.count)
    found = batches(request.train[chosen], 256, str(request.device))
    with torch.no_grad():
        return Drawn(torch.cat([encode(model, x).sample(generator) for x in found]))
