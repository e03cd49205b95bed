"""A discriminator of patches (Isola et al. 2017, arXiv 1611.07004) and how a decoder follows it (Esser et al. 2021)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vaebench.models.terms.term_fields import ADAPTIVE

SMALLEST = 1e-4  # added to the norm of the adversarial gradient
LARGEST = 1e4  # adaptive weight
WIDEST = 8  # times the first layer's channels


class PatchDiscriminator(nn.Module):
    """Images (B, C, H, W) in [0, 1] to a number for each of overlapping patches, (B, 1, h, w): above 0 for real ones.

    `layers` convolutions halve the image, two more keep its size but for a pixel. All but the first and the last are
    normalised over the batch.
    """

    def __init__(self, inputs: int, channels: int, layers: int) -> None:
        super().__init__()
        steps: list[nn.Module] = [nn.Conv2d(inputs, channels, 4, 2, 1), nn.LeakyReLU(0.2)]
        width = channels
        for layer in range(1, layers + 1):
            former, width = width, channels * min(2**layer, WIDEST)
            stride = 2 if layer < layers else 1
            steps += [nn.Conv2d(former, width, 4, stride, 1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*steps, nn.Conv2d(width, 1, 4, 1, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, images: Tensor) -> Tensor:
        """Judge images."""
        found: Tensor = self.layers(2 * images - 1)
        return found


class Adversarial(nn.Module):
    """The losses of a decoder and its discriminator, from the step `start` on (0: the first).

    weight: of the decoder's term; an adaptive one makes its gradient in the decoder's last layer as long as that of the
    reconstruction's loss. `factor` times it is taken. Outside training it is that of the last step.
    """

    last_weight: Tensor

    def __init__(self, inputs: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.start, self.weight, self.factor = options["start"], options["weight"], options["factor"]
        self.discriminator = PatchDiscriminator(inputs, options["channels"], options["layers"])
        self.register_buffer("last_weight", torch.tensor(0.0))

    def forward(self, x: Tensor, y: Tensor, reconstruction: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-D(y), the discriminator's hinge loss, and the weight of the former, all scalars.

        One answer of the discriminator serves both: each optimizer takes the gradient of its own loss in its own
        parameters (`training.objectives`).
        """
        real, made = self.discriminator(x), self.discriminator(y)
        generator = -made.mean()
        hinge = 0.5 * (torch.relu(1 - real).mean() + torch.relu(1 + made).mean())
        if self.training:
            weight = self._adaptive(reconstruction, generator, last) if self.weight == ADAPTIVE else self.weight
            self.last_weight.fill_(self.factor * weight)
        return generator, hinge, self.last_weight.clone()

    @staticmethod
    def _adaptive(reconstruction: Tensor, generator: Tensor, last: Tensor) -> Tensor:
        """‖∇ reconstruction‖ / (‖∇ generator‖ + δ) in the parameter `last`."""
        norms = [torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (reconstruction, generator)]
        found: Tensor = (norms[0] / (norms[1] + SMALLEST)).clamp(max=LARGEST)
        return found
