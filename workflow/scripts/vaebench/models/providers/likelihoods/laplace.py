"""The density of Laplace: independent exponential errors on either side of x̂(z), with one scale b for all pixels."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vaebench.models.providers.likelihoods.likelihood import ROUNDING, Calibrated


class Laplace(Calibrated):
    """scale: a number, `learned` or `optimal`; the optimal one is the mean absolute error."""

    kind = "Laplace"

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options["scale"], (ROUNDING / 2) ** 0.5)

    def best(self, x: Tensor, y: Tensor) -> Tensor:
        """mean |x - y|."""
        return (x - y).abs().mean()

    def nats_at(self, x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
        """Σ |x - y| / b + ln 2b."""
        error = (x - y).abs().flatten(1).sum(1)
        return error / scale + x[0].numel() * (math.log(2) + scale.log())


BUILD = Laplace
