"""The density N(x; x̂(z), σ² I), with one σ for all pixels."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vaebench.models.providers.likelihoods.likelihood import ROUNDING, Calibrated


class Gaussian(Calibrated):
    """sigma: a number, `learned` or `optimal`; the optimal one is the root of the mean squared error."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options["sigma"], ROUNDING**0.5)
        self.kind = "gaussian" if options["sigma"] == 1 else "calibrated Gaussian"

    def best(self, x: Tensor, y: Tensor) -> Tensor:
        """sqrt(mean (x - y)²)."""
        return (x - y).square().mean().sqrt()

    def nats_at(self, x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
        """Σ (x - y)² / 2σ² + ½ ln 2πσ²."""
        error = (x - y).square().flatten(1).sum(1)
        return error / (2 * scale.square()) + x[0].numel() * (0.5 * math.log(2 * math.pi) + scale.log())


BUILD = Gaussian
