"""LPIPS 0.1.4 and the features of its trunks: one pass through the network serves both.

The trunk's ImageNet weights come from a file of this pipeline, the linear heads from the installed `lpips` package.
Nothing is downloaded, and no weight is random.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from vaebench.base.errors import UserError

# ImageNet's mean and standard deviation, as LPIPS applies them to images in [-1, 1].
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


@dataclass(frozen=True)
class Layout:
    """A trunk in torchvision's numbering: the convolutions of each of five stages, and what LPIPS does between them.

    weights: name of the weights file; head: name of the file of linear heads; smallest: side in pixels below which the
    last stage would be empty.
    """

    weights: str
    head: str
    stages: tuple[tuple[int, ...], ...]
    strides: tuple[int, ...]
    paddings: tuple[int, ...]
    pool: tuple[int, int]
    pooled_stages: tuple[int, ...]
    smallest: int


LAYOUTS = {
    "vgg": Layout(
        "vgg16",
        "vgg.pth",
        stages=((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)),
        strides=(1, 1, 1, 1, 1),
        paddings=(1, 1, 1, 1, 1),
        pool=(2, 2),
        pooled_stages=(1, 2, 3, 4),
        smallest=16,
    ),
    "alex": Layout(
        "alexnet",
        "alex.pth",
        stages=((0,), (3,), (6,), (8,), (10,)),
        strides=(4, 1, 1, 1, 1),
        paddings=(2, 2, 1, 1, 1),
        pool=(3, 2),
        pooled_stages=(1, 2),
        smallest=31,
    ),
}


class Perceptual(nn.Module):
    """LPIPS with one trunk ("alex" or "vgg"), on images in [0, 1] of 1 or 3 channels; grey is repeated to 3.

    Raises UserError when the weights file is missing or is not the trunk's.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: str, weights: Path) -> None:
        super().__init__()
        self.layout = LAYOUTS[net]
        for name, tensor in _read_trunk(weights, self.layout).items():
            layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
            self.register_buffer(name.replace(".", "_"), tensor.contiguous(memory_format=layout))
        for i, head in enumerate(_read_heads(self.layout)):
            self.register_buffer(f"head_{i}", head)
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))

    @torch.no_grad()
    def features(self, images: Tensor) -> list[Tensor]:
        """The five stages' activations of images in [0, 1], (B, 1 or 3, H, W)."""
        if min(images.shape[-2:]) < self.layout.smallest:
            raise UserError(too_small(self.layout))
        x = (2 * images.expand(-1, 3, -1, -1) - 1 - self.shift) / self.scale
        x = x.contiguous(memory_format=torch.channels_last)  # about 15 % faster on a processor
        activations = []
        for stage, convolutions in enumerate(self.layout.stages):
            if stage in self.layout.pooled_stages:
                x = functional.max_pool2d(x, *self.layout.pool)
            for index in convolutions:
                weight, bias = getattr(self, f"features_{index}_weight"), getattr(self, f"features_{index}_bias")
                x = functional.conv2d(x, weight, bias, self.layout.strides[stage], self.layout.paddings[stage])
                x = functional.relu_(x)
            activations.append(x)
        return activations

    @torch.no_grad()
    def distance(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        """LPIPS of two sets of activations, (B,) float64."""
        total = torch.zeros(len(first[0]), dtype=torch.float64, device=first[0].device)
        for i, (a, b) in enumerate(zip(first, second, strict=True)):
            difference = (_unit(a) - _unit(b)).square()
            total += functional.conv2d(difference, getattr(self, f"head_{i}")).mean((1, 2, 3)).double()
        return total


def pooled(activations: list[Tensor]) -> Tensor:
    """The last stage averaged over positions, (B, channels) float64: the features of the Fréchet distance."""
    return activations[-1].mean((2, 3)).double()


def too_small(layout: Layout) -> str:
    """Why a trunk cannot take an image."""
    return f"{layout.weights} needs images of at least {layout.smallest} x {layout.smallest} pixels"


def _unit(activation: Tensor, epsilon: float = 1e-10) -> Tensor:
    """Each position's channel vector divided by its length, as lpips does."""
    return activation / (activation.square().sum(1, keepdim=True).sqrt() + epsilon)


def _read_trunk(path: Path, layout: Layout) -> dict[str, Tensor]:
    wanted = [f"features.{i}.{part}" for stage in layout.stages for i in stage for part in ("weight", "bias")]
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: the {layout.weights} weights are missing; the rule `weights` makes them") from None
    missing = [name for name in wanted if name not in state]
    if missing:
        raise UserError(f"{path}: not a torchvision {layout.weights}: {missing[0]} is missing")
    return {name: state[name].float() for name in wanted}


def _read_heads(layout: Layout) -> list[Tensor]:
    """The linear heads (1, C, 1, 1) of lpips 0.1, read from the installed package without importing it."""
    spec = find_spec("lpips")
    if spec is None or spec.origin is None:
        raise UserError("the package lpips is not installed, which has the linear heads of LPIPS")
    package = Path(spec.origin).parent
    state = torch.load(package / "weights" / "v0.1" / layout.head, map_location="cpu", weights_only=True)
    return [state[f"lin{i}.model.1.weight"] for i in range(len(layout.stages))]
