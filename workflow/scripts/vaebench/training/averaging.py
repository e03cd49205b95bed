"""The exponential moving average of a model's weights (Polyak and Juditsky 1992, as Adam and GANs use it since).

a <- d a + (1 - d) w after every step. d is the decay, or (1 + n) / (10 + n) after n steps where that is less, so that
the weights of the start are soon forgotten; TensorFlow's average does the same.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def averaged_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that are averaged: those that are trained. Buffers, such as statistics, are taken as they are."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def begin_average(model: nn.Module) -> list[Tensor]:
    """The average before the first step: copies of the weights."""
    return [parameter.detach().clone() for parameter in averaged_parameters(model)]


@torch.no_grad()
def update_average(average: Sequence[Tensor], model: nn.Module, decay: float, steps: int) -> None:
    """Take the weights after `steps` steps into the average, in place."""
    weight = 1 - min(decay, (1 + steps) / (10 + steps))
    torch._foreach_lerp_(list(average), list[Tensor](averaged_parameters(model)), weight)


@contextmanager
def averaged(model: nn.Module, average: Sequence[Tensor]) -> Iterator[None]:
    """Within the block the model has the averaged weights; with an empty average, its own."""
    parameters = averaged_parameters(model) if average else []
    own = [parameter.detach().clone() for parameter in parameters]
    try:
        _copy(average, parameters)
        yield
    finally:
        _copy(own, parameters)


@torch.no_grad()
def _copy(values: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
