"""LPIPS 0.1.4 (Zhang et al. 2018, arXiv 1801.03924): a fixed network, and the distance of images by its activations.

The trunk's ImageNet weights come from a file of this pipeline, the linear heads from the installed `lpips` package.
Nothing is downloaded, and no weight is random. They are no part of a model's state.
"""

from collections.abc import Sequence
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


class FixedConv2d(nn.Conv2d):
    """A convolution that is never trained, and whose weights no state holds."""

    def __init__(self, weight: Tensor, bias: Tensor, stride: int, padding: int) -> None:
        super().__init__(weight.shape[1], weight.shape[0], weight.shape[2], stride, padding, device="meta")
        for name, value in (("weight", weight), ("bias", bias)):
            delattr(self, name)
            self.register_buffer(name, value, persistent=False)


class Trunk(nn.Module):
    """The convolutions of a layout, of images in [0, 1] of 1 or 3 channels; grey is repeated to 3."""

    shift: Tensor
    scale: Tensor

    def __init__(self, layout: Layout, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.layout = layout
        self.stages = nn.ModuleList()
        for convolutions, stride, padding in zip(layout.stages, layout.strides, layout.paddings, strict=True):
            layers = []
            for index in convolutions:
                weight = weights[f"features.{index}.weight"].contiguous(memory_format=torch.channels_last)
                layers.append(FixedConv2d(weight, weights[f"features.{index}.bias"], stride, padding))
            self.stages.append(nn.ModuleList(layers))
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The activations of each stage, in their order, of images (B, 1 or 3, H, W)."""
        if min(images.shape[-2:]) < self.layout.smallest:
            raise UserError(too_small(self.layout))
        x = (2 * images.expand(-1, 3, -1, -1) - 1 - self.shift) / self.scale
        x = x.contiguous(memory_format=torch.channels_last)  # about 15 % faster on a processor
        activations = {}
        for stage, layers in enumerate(self.stages):
            if stage in self.layout.pooled_stages:
                x = functional.max_pool2d(x, *self.layout.pool)
            for layer in layers.children():
                x = functional.relu_(layer(x))
            activations[f"stage_{stage}"] = x
        return activations


class Lpips(nn.Module):
    """The distance by one trunk ("alex" or "vgg").

    weights: the file of the trunk's, None for zeros, with which memory can be estimated. Raises UserError when the file
    is missing or is not the trunk's.
    """

    def __init__(self, net: str, weights: Path | None) -> None:
        super().__init__()
        self.layout = LAYOUTS[net]
        heads = read_heads(self.layout)
        self.trunk = Trunk(self.layout, read_trunk(weights, self.layout) if weights else _zeros(self.layout, heads))
        for i, head in enumerate(heads):
            self.register_buffer(f"head_{i}", head, persistent=False)

    def activations(self, images: Tensor) -> list[Tensor]:
        """The five stages' activations of images in [0, 1], (B, 1 or 3, H, W)."""
        return list(self.trunk(images).values())

    def stage_distances(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> list[Tensor]:
        """What each stage adds to the distance of two sets of activations, (B,) each."""
        found = []
        for i, (a, b) in enumerate(zip(first, second, strict=True)):
            difference = (_unit(a) - _unit(b)).square()
            found.append(functional.conv2d(difference, getattr(self, f"head_{i}")).mean((1, 2, 3)))
        return found


def too_small(layout: Layout) -> str:
    """Why a trunk cannot take an image."""
    return f"{layout.weights} needs images of at least {layout.smallest} x {layout.smallest} pixels"


def layout_of(weights: str) -> str:
    """LPIPS's name of the trunk whose file of weights has this name."""
    return next(net for net, layout in LAYOUTS.items() if layout.weights == weights)


def read_trunk(path: Path, layout: Layout) -> dict[str, Tensor]:
    """The weights of a trunk from their file; raises UserError when it is missing or another network's."""
    wanted = [f"features.{i}.{part}" for stage in layout.stages for i in stage for part in ("weight", "bias")]
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: the {layout.weights} weights are missing; the rule `weights` makes them") from None
    missing = [name for name in wanted if name not in state]
    if missing:
        raise UserError(f"{path}: not a torchvision {layout.weights}: {missing[0]} is missing")
    return {name: state[name].float() for name in wanted}


def read_heads(layout: Layout) -> list[Tensor]:
    """The linear heads (1, C, 1, 1) of lpips 0.1, read from the installed package without importing it."""
    spec = find_spec("lpips")
    if spec is None or spec.origin is None:
        raise UserError("the package lpips is not installed, which has the linear heads of LPIPS")
    package = Path(spec.origin).parent
    state = torch.load(package / "weights" / "v0.1" / layout.head, map_location="cpu", weights_only=True)
    return [state[f"lin{i}.model.1.weight"] for i in range(len(layout.stages))]


def _zeros(layout: Layout, heads: Sequence[Tensor]) -> dict[str, Tensor]:
    """Weights of the trunk's shapes."""
    inputs, found = 3, {}
    for stage, head in zip(layout.stages, heads, strict=True):
        for index in stage:
            side = 3 if layout.weights == "vgg16" else {0: 11, 3: 5}.get(index, 3)
            found[f"features.{index}.weight"] = torch.zeros(head.shape[1], inputs, side, side)
            found[f"features.{index}.bias"] = torch.zeros(head.shape[1])
            inputs = head.shape[1]
    return found


def _unit(activation: Tensor, epsilon: float = 1e-10) -> Tensor:
    """Each position's channel vector divided by its length, as lpips does; the gradient is finite where that is 0."""
    squares = activation.square().sum(1, keepdim=True)
    length = squares.where(squares > 0, 1.0).sqrt().where(squares > 0, 0.0)
    return activation / (length + epsilon)
