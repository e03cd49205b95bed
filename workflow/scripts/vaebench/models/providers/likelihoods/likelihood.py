"""What a likelihood p(x|z) is to the model around it."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

# The variance of rounding to 256 levels of grey: no density of such images means anything on a finer scale.
ROUNDING = (1 / 255) ** 2 / 12
MOMENTUM = 0.1  # of the running mean of optimal scales, as of batch norms: it follows errors that fall within few steps


class Likelihood(nn.Module, ABC):
    """metric: the registered metric of the negative ELBO under it. kind: as in `Autoencoder.likelihood`."""

    metric: str = "neg_elbo_density"
    kind: str

    @abstractmethod
    def nats(self, x: Tensor, y: Tensor) -> Tensor:
        """-ln p(x|z) of each image where the decoder gives y, with every constant: (B, C, H, W) twice -> (B,)."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """`nats` for training, where a scale may follow the batch."""
        return self.nats(x, y)


class Scaled(Likelihood):
    """A distribution with one scale for all pixels: a number, or `learned` with the networks."""

    fixed: Tensor

    def __init__(self, scale: str | float, smallest: float) -> None:
        super().__init__()
        self.how = scale
        self.smallest = smallest
        if scale == "learned":
            self.log_scale = nn.Parameter(torch.tensor(math.log(0.1)))
        elif not isinstance(scale, str):
            self.register_buffer("fixed", torch.tensor(float(scale)))

    @abstractmethod
    def nats_at(self, x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
        """`nats` at a given scale."""

    @property
    def scale(self) -> Tensor:
        """The scale."""
        return self.log_scale.exp() if self.how == "learned" else self.fixed

    def nats(self, x: Tensor, y: Tensor) -> Tensor:
        """At `scale`."""
        return self.nats_at(x, y, self.scale.to(x))


class Calibrated(Scaled):
    """A density whose scale may also be `optimal`: the one under which a batch is most likely, in closed form.

    The gradient goes through it (Rybkin et al. 2021, arXiv 2006.13202). For images outside training its running mean
    over the batches is kept.
    """

    running: Tensor

    def __init__(self, scale: str | float, smallest: float) -> None:
        super().__init__(scale, smallest)
        if scale == "optimal":
            self.register_buffer("running", torch.tensor(math.nan))

    @abstractmethod
    def best(self, x: Tensor, y: Tensor) -> Tensor:
        """The scale under which x is most likely, a scalar."""

    @property
    def scale(self) -> Tensor:
        """The scale for images outside training; an optimal one is 1 before the first batch."""
        return self.running.nan_to_num(1.0) if self.how == "optimal" else super().scale

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """In training at the batch's best scale, which updates the running mean; else at `scale`."""
        if not (self.training and self.how == "optimal"):
            return self.nats(x, y)
        best = self.best(x, y).clamp(min=self.smallest)
        with torch.no_grad():
            now = best.to(self.running)
            self.running.copy_(torch.where(self.running.isnan(), now, self.running.lerp(now, MOMENTUM)))
        return self.nats_at(x, y, best)
