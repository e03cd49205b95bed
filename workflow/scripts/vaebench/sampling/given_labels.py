"""Latents of a conditional model: drawn for labels that are distributed as those of the training images."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch

from vaebench.sampling.request import Drawn, Request


def draw_given_labels(
    draw: Callable[[Request], Drawn], request: Request, conditions: Mapping[str, np.ndarray]
) -> tuple[Drawn, np.ndarray]:
    """What a sampler draws, and the labels that each latent is for, as rows (count, K).

    conditions: the rows of the images of each split. For each row that occurs the sampler is asked once, with the
    images of these labels alone: a density that it fits is one of latents given the labels.
    """
    train = conditions["train"]
    chosen = train[request.generator.integers(len(train), size=request.count)]
    latents = torch.empty(request.count, *request.model.latent_shape)
    nats: dict[str, np.ndarray] = {}
    for row in np.unique(chosen, axis=0):
        places = (chosen == row).all(1).nonzero()[0]
        alike = {split: (rows == row).all(1) for split, rows in conditions.items()}
        images = {split: request.images[split][which] for split, which in alike.items() if which.any()}
        with request.model.given(torch.from_numpy(row)[None].to(request.device)):
            drawn = draw(replace(request, count=len(places), images=images))
        latents[torch.from_numpy(places)] = drawn.latents.cpu()
        for split, values in drawn.latent_nats.items():
            nats.setdefault(split, np.full(len(alike[split]), np.nan))[alike[split]] = values
    return Drawn(latents, latent_nats=nats), chosen
