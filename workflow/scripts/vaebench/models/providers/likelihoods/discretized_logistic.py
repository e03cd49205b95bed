"""The mass of a logistic distribution between the borders of each of 256 levels (Kingma et al. 2016, arXiv 1606.04934).

A mass, unlike a density, says how many bits an image takes, so that it may be compared with the literature's bits per
dimension. A mixture of such distributions (Salimans et al. 2017, PixelCNN++, arXiv 1701.05517) has heavier tails.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from vaebench.models.providers.likelihoods.likelihood import Scaled
from vaebench.models.providers.likelihoods.pixel_parameters import PixelParameters

LEVEL = 1 / 255  # between two levels of grey


class DiscretizedLogistic(Scaled):
    """scale: of the logistic distribution, in units of the range of values; a number, or learned.

    mixtures: how many distributions are mixed. Their weights, scales and distances from the decoder's answer are
    learned and are the same for all pixels, as decoders answer one number for each; the first begins as the only one.
    per_pixel: they differ from pixel to pixel (as in PixelCNN++), by a network on the decoder's answer that is trained
    with it and begins with the same for all; `channels`, of the images, is then among the options.
    """

    metric = "bits_per_dim"
    kind = "discretized logistic"

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options["scale"], LEVEL / 16)
        self.mixtures = options["mixtures"]
        self.pixels: PixelParameters | None = None
        if self.mixtures > 1:
            self.logits = nn.Parameter(torch.zeros(self.mixtures))
            self.offsets = nn.Parameter(torch.zeros(self.mixtures))
            self.log_factors = nn.Parameter(-math.log(2) * torch.arange(self.mixtures, dtype=torch.float32))
        if options["per_pixel"]:
            self.pixels = PixelParameters(options["channels"], 1 if self.mixtures == 1 else 3 * self.mixtures)

    def nats_at(self, x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
        """-Σ ln Σ_k π_k (F_k(x + ½ level) - F_k(x - ½ level)); the outermost levels reach to infinity."""
        own = self.pixels(y) if self.pixels is not None else None
        if self.mixtures == 1:
            return -self._log_mass(x, y, scale if own is None else scale * own[0].exp()).flatten(1).sum(1)
        logits, offsets, log_factors = (part.to(x) for part in (self.logits, self.offsets, self.log_factors))
        if own is not None:
            added = own.unflatten(0, (3, self.mixtures))
            logits, offsets, log_factors = (
                part.view(-1, 1, 1, 1, 1) + more
                for part, more in zip((logits, offsets, log_factors), added, strict=True)
            )
        parts = zip(logits.log_softmax(0), offsets, log_factors.exp(), strict=True)
        masses = [weight + self._log_mass(x, y + offset, scale * factor) for weight, offset, factor in parts]
        return -torch.stack(masses).logsumexp(0).flatten(1).sum(1)

    def _log_mass(self, x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
        """ln of the mass of each value.

        With a and b the borders in units of the scale, σ(b) - σ(a) = σ(b) σ(-a) (1 - e^(a-b)), which no rounding hurts.
        """
        scale = scale.clamp(min=self.smallest)
        width, middle = LEVEL / scale, (x - y) / scale
        below, above = logsigmoid(middle + width / 2), logsigmoid(width / 2 - middle)
        inner = below + above + torch.log(-torch.expm1(-width))
        return torch.where(x < LEVEL / 2, below, torch.where(x > 1 - LEVEL / 2, above, inner))


BUILD = DiscretizedLogistic
