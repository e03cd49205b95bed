"""Whether the numbers of a training are still finite: its weights, its probabilities, and what its exceptions mean."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # not in its __all__

from vaebench.base.own_code import place_of
from vaebench.models.interface import Autoencoder

# In the words of torch and pythae: what happens when a distribution, a matrix or a probability is made of no numbers.
NO_NUMBERS = re.compile(
    r"to satisfy the constraint|to be within the support|between 0 and 1|contains either `?inf|anchor points must span"
    r"|linalg|singular|positive.definite|ill-conditioned|failed to converge|input contained non-finite"
    r"|device-side assert",
    re.IGNORECASE,
)


def not_finite(state: Mapping[str, Any]) -> str | None:
    """The name of a tensor in nested mappings that holds a value that is not finite; None when there is none.

    It waits for the device once.
    """
    tensors = dict(_floating(state))
    if not tensors:
        return None
    flags = torch.stack([tensor.isfinite().all() for tensor in tensors.values()]).tolist()
    return next((name for name, finite in zip(tensors, flags, strict=True) if not finite), None)


def means_no_numbers(error: Exception) -> bool:
    """Whether an exception in a step is one that numbers beyond all bounds lead to.

    A division by zero or an assertion that comes out of a user's own code may mean anything.
    """
    if isinstance(error, LinAlgError) or NO_NUMBERS.search(str(error)):
        return True
    return isinstance(error, ArithmeticError | AssertionError) and place_of(error) is None


class ProbabilityGuard:
    """Keeps values that are no probabilities from the binary cross-entropy, and makes the losses of their batch NaN.

    torch's cross-entropy of a value outside 0 to 1 is an exception on a CPU; on a GPU it is an assertion that ends all
    work of the process there. The guard changes no value that is a probability, and never waits for the device.
    """

    def __init__(self, model: Autoencoder) -> None:
        self._bad: list[Tensor] = []
        for network, key in model.probabilities():
            network.forward = self._watched(network.forward, key)

    def begin(self) -> None:
        """Forget the networks' answers so far: a batch begins."""
        self._bad.clear()

    def losses(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The losses of the batch, (terms,) float32; NaN if a network gave a value that is no probability."""
        record = torch.stack([loss.detach().float() for loss in losses.values()])
        return record.masked_fill(torch.stack(self._bad).any(), torch.nan) if self._bad else record

    def _watched(self, forward: Callable[..., Any], key: str) -> Callable[..., Any]:
        def wrapped(*arguments: object, **options: object) -> Any:
            output = forward(*arguments, **options)
            if key in output:
                bad = ~((output[key] >= 0) & (output[key] <= 1))  # NaN is neither
                self._bad.append(bad.any())
                output[key] = output[key].masked_fill(bad, 0.5)  # unlike where, it takes a number without a copy
            return output

        return wrapped


def _floating(state: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Tensor]]:
    found = []
    for name, value in state.items():
        if isinstance(value, Mapping):
            found += _floating(value, f"{prefix}{name}.")
        elif isinstance(value, Tensor) and value.is_floating_point():
            found.append((prefix + name, value))
    return found
