"""LPIPS 0.1.4 as a metric, and the features of its trunks: one pass through the network serves both."""

import torch
from torch import Tensor

from vaebench.models.terms.lpips import Lpips


class Perceptual(Lpips):
    """LPIPS with one trunk ("alex" or "vgg"), on images in [0, 1] of 1 or 3 channels, without gradients."""

    @torch.no_grad()
    def features(self, images: Tensor) -> list[Tensor]:
        """The five stages' activations of images in [0, 1], (B, 1 or 3, H, W)."""
        return self.activations(images)

    @torch.no_grad()
    def distance(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        """LPIPS of two sets of activations, (B,) float64."""
        total = torch.zeros(len(first[0]), dtype=torch.float64, device=first[0].device)
        for part in self.stage_distances(first, second):
            total += part.double()
        return total


def pooled(activations: list[Tensor]) -> Tensor:
    """The last stage averaged over positions, (B, channels) float64: the features of the Fréchet distance."""
    return activations[-1].mean((2, 3)).double()
