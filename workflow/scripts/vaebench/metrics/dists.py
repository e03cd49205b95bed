"""DISTS (Ding et al. 2020, arXiv 2004.07728): structure and texture of two images in the stages of VGG16.

The trunk is the pipeline's VGG16; the weights of the channels are the authors', from their package.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from vaebench.base.errors import UserError
from vaebench.base.plain_tensors import load_plain
from vaebench.metrics.perceptual import Perceptual

CHANNELS = (3, 64, 128, 256, 512, 512)  # of the image itself and of each stage
SMALL = 1e-6  # keeps quotients of nearly constant channels finite
SMALLEST = 16  # pixels, below which the last stage would be empty
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
CHUNK = 64  # pairs that pass through the trunk together


class Dists(nn.Module):
    """The distance with the convolutions of a VGG16 file and the channels' weights of another.

    The trunk is float32, or float64 after `.double()`; what follows it is float64. Raises UserError for a file of other
    weights.
    """

    texture: Tensor
    structure: Tensor
    blur: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, vgg16: Path, weights: Path, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.stages = Perceptual("vgg", vgg16).trunk.stages
        found = load_plain(weights)
        if not isinstance(found, dict) or any(
            not isinstance(found.get(key), Tensor) or found[key].numel() != sum(CHANNELS) for key in ("alpha", "beta")
        ):
            raise UserError(f"{weights}: not the weights of DISTS, alpha and beta of {sum(CHANNELS)} channels each")
        alpha, beta = (found[key].detach().double().flatten() for key in ("alpha", "beta"))
        total = alpha.sum() + beta.sum()
        taps = torch.tensor([0.25, 0.5, 0.25])
        buffers = {"texture": alpha / total, "structure": beta / total, "blur": torch.outer(taps, taps)}
        buffers |= {
            name: torch.tensor(values).view(1, 3, 1, 1) for name, values in (("mean", MEAN), ("deviation", DEVIATION))
        }
        for name, value in buffers.items():
            self.register_buffer(name, value)
        self.to(device)

    @torch.no_grad()
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(B,) float64 for pairs of images (B, 1 or 3, H, W) in [0, 1], of the trunk's dtype: 0 for equal ones.

        Raises UserError for images that are too small.
        """
        if min(x.shape[-2:]) < SMALLEST:
            raise UserError(f"DISTS needs images of at least {SMALLEST} x {SMALLEST} pixels")
        pairs = zip(x.split(CHUNK), y.split(CHUNK), strict=True)
        return torch.cat([self._of(a.expand(-1, 3, -1, -1), b.expand(-1, 3, -1, -1)) for a, b in pairs])

    def _of(self, x: Tensor, y: Tensor) -> Tensor:
        alike = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        first, second = self._activations(x), self._activations(y)
        weights = self.texture.split(CHANNELS), self.structure.split(CHANNELS)
        for a, b, texture, structure in zip(first, second, *weights, strict=True):
            a, b = a.double().flatten(2), b.double().flatten(2)
            mean_a, mean_b = a.mean(2), b.mean(2)
            means = (2 * mean_a * mean_b + SMALL) / (mean_a.square() + mean_b.square() + SMALL)
            covariance = (a * b).mean(2) - mean_a * mean_b
            variances = a.var(2, correction=0) + b.var(2, correction=0)
            alike += means @ texture + (2 * covariance + SMALL) / (variances + SMALL) @ structure
        return 1 - alike

    def _activations(self, images: Tensor) -> list[Tensor]:
        """The images and the activations of the five stages, between which the root of a blurred square is halved."""
        found, x = [images], (images - self.mean) / self.deviation
        for number, layers in enumerate(self.stages):
            if number:
                kernel = self.blur.expand(x.shape[1], 1, 3, 3)
                x = (functional.conv2d(x.square(), kernel, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()
            layer: nn.Module
            for layer in layers.children():
                x = functional.relu_(layer(x))
            found.append(x)
        return found
