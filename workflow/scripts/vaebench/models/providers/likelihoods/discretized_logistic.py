"""The mass of a logistic distribution between the borders of each of 256 levels (Kingma et al. 2016, arXiv 1606.04934).

A mass, unlike a density, says how many bits an image takes, so that it may be compared with the literature's bits per
dimension.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from vaebench.models.providers.likelihoods.likelihood import Scaled

LEVEL = 1 / 255  # between two levels of grey


class DiscretizedLogistic(Scaled):
    """scale: of the logistic distribution, in units of the range of values; a number, or learned."""

    metric = "bits_per_dim"
    kind = "discretized logistic"

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options["scale"], LEVEL / 16)

    def best(self, x: Tensor, y: Tensor) -> Tensor:
        """There is no closed form."""
        raise NotImplementedError("the scale of a discretized logistic distribution has no closed form")

    def nats_at(self, x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
        """-Σ ln (F(x + ½ level) - F(x - ½ level)); the outermost levels reach to infinity.

        With a and b the borders in units of the scale, σ(b) - σ(a) = σ(b) σ(-a) (1 - e^(a-b)), which no rounding hurts.
        """
        scale = scale.clamp(min=self.smallest)
        width, middle = LEVEL / scale, (x - y) / scale
        below, above = logsigmoid(middle + width / 2), logsigmoid(width / 2 - middle)
        inner = below + above + torch.log(-torch.expm1(-width))
        found = torch.where(x < LEVEL / 2, below, torch.where(x > 1 - LEVEL / 2, above, inner))
        return -found.flatten(1).sum(1)


BUILD = DiscretizedLogistic
