"""The mass of a product of Bernoullis: the decoder gives probabilities, and grey counts as a share of white."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional

from vaebench.models.providers.likelihoods.likelihood import Likelihood


class Bernoulli(Likelihood):
    """It has no options."""

    metric = "neg_elbo_bernoulli"
    kind = "bernoulli"

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()

    def nats(self, x: Tensor, y: Tensor) -> Tensor:
        """-Σ x ln y + (1 - x) ln (1 - y)."""
        return functional.binary_cross_entropy(y, x, reduction="none").flatten(1).sum(1)


BUILD = Bernoulli
