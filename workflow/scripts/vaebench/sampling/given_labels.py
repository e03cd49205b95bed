"""Latents of a conditional model: drawn for labels that are distributed as those of the training images."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from vaebench.sampling.choice import Sampler
from vaebench.sampling.request import Drawn, Request


def draw_given_labels(
    sampler: Sampler, request: Request, conditions: Mapping[str, np.ndarray]
) -> tuple[Drawn, np.ndarray]:
    """What a sampler draws, and the labels that each latent is for, as rows (count, K).

    conditions: the rows of the images of each split. A sampler that takes no labels is asked once for each row that
    occurs, with the images of these labels alone: a density that it fits is one of latents given the labels.
    """
    train = conditions["train"]
    chosen = train[request.generator.integers(len(train), size=request.count)]
    if sampler.takes_labels:
        return sampler.draw(replace(request, conditions=conditions, wanted=chosen)), chosen
    latents = torch.empty(request.count, *request.model.latent_shape)
    code_nats: dict[str, np.ndarray] = {}
    latent_nats: dict[str, np.ndarray] = {}
    for row in np.unique(chosen, axis=0):
        places = (chosen == row).all(1).nonzero()[0]
        alike = {split: (rows == row).all(1) for split, rows in conditions.items()}
        images = {split: request.images[split][which] for split, which in alike.items() if which.any()}
        with request.model.given(torch.from_numpy(row)[None].to(request.device)):
            drawn = sampler.draw(replace(request, count=len(places), images=images))
        latents[torch.from_numpy(places)] = drawn.latents.cpu()
        _put_back(code_nats, drawn.code_nats, alike)
        _put_back(latent_nats, drawn.latent_nats, alike)
    return Drawn(latents, code_nats, latent_nats), chosen


def _put_back(found: dict[str, np.ndarray], nats: Mapping[str, np.ndarray], alike: Mapping[str, np.ndarray]) -> None:
    """Nats of some images of each split where these are among all; NaN for images that no row was drawn for."""
    for split, values in nats.items():
        missing = np.full((len(alike[split]), *values.shape[1:]), np.nan)
        found.setdefault(split, missing)[alike[split]] = values
