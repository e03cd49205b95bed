"""What a sampler is given, and what it gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaebench.models.interface import Autoencoder


@dataclass(frozen=True)
class Request:
    """What a sampler is given: the model, how many latents, its options, the random stream, and the images by split.

    conditions: of a conditional model, and for a sampler that takes labels, the rows of the images of each split,
    (n, K); wanted: those that latents are drawn for, (count, K).
    """

    model: Autoencoder
    count: int
    options: Mapping[str, Any]
    generator: np.random.Generator
    images: Mapping[str, np.ndarray]
    conditions: Mapping[str, np.ndarray] = field(default_factory=dict)
    wanted: np.ndarray | None = None

    @property
    def train(self) -> np.ndarray:
        """The training images, uint8 (n, C, H, W)."""
        return self.images["train"]

    @property
    def held_out(self) -> list[str]:
        """The other splits."""
        return [split for split in self.images if split != "train"]

    @property
    def device(self) -> torch.device:
        """The device that the model is on."""
        return next(self.model.parameters()).device

    def noise(self) -> Tensor:
        """Standard normal numbers in the shape of latents, (count, ...)."""
        drawn = self.generator.standard_normal((self.count, *self.model.latent_shape), dtype=np.float32)
        return torch.from_numpy(drawn).to(self.device)


@dataclass(frozen=True)
class Drawn:
    """What a sampler gives: latents (count, ...) as the decoder takes them, and -ln p of each held-out image by split.

    code_nats: of its codes, which is what they cost, (n,) float64; of codes of several levels (n, levels), each level
    given what comes before. latent_nats: of its latent under a density that was fitted, (n,) float64.
    """

    latents: Tensor
    code_nats: Mapping[str, np.ndarray] = field(default_factory=dict)
    latent_nats: Mapping[str, np.ndarray] = field(default_factory=dict)
