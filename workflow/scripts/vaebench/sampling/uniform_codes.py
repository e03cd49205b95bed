"""Every code equally likely at every position: the original study's variant."""

import math

import numpy as np
import torch

from vaebench.sampling.codes import image_codes, size_of
from vaebench.sampling.request import Drawn, Request


def draw(request: Request) -> Drawn:
    """Independent codes."""
    grid, size = tuple(image_codes(request.model, request.train[:1]).shape[1:]), size_of(request.model)
    codes = request.generator.integers(size, size=(request.count, *grid))
    each, levels = math.prod(grid[-2:]) * math.log(size), grid[:-2]
    nats = {split: np.full((len(request.images[split]), *levels), each) for split in request.held_out}
    with torch.no_grad():
        return Drawn(request.model.embed_codes(torch.from_numpy(codes).to(request.device)), nats)
