"""Posteriors of a batch of images: a class for each kind that an encoder gives.

NumPy's generator is used for draws because its stream, unlike torch's, does not depend on how it is cut into calls:
each image takes the same number of values from it, so that the same images in the same order give the same draws in any
batches.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from vaebench.models.kl import kl_per_dimension


@dataclass(frozen=True)
class Posterior(ABC):
    """What the encoder gives for B images: a frozen dataclass whose tensors have a row for each image.

    A latent is a vector (L,) or a grid (D, h, w), as the decoder takes it. An image whose latent is not finite has NaN
    in every tensor, and the code -1 (`only_finite`).

    is_point: whether a draw is the mode itself. estimate: where the rate is an estimate, which one, in the words of a
    note.
    """

    is_point: ClassVar[bool] = False
    estimate: ClassVar[str] = "estimate"

    @abstractmethod
    def mode(self) -> Tensor:
        """The one latent that stands for each image, (B, ...)."""

    @abstractmethod
    def sample(self, generator: np.random.Generator) -> Tensor:
        """One draw from q(z|x) for each image, (B, ...)."""

    def spread(self) -> Tensor | None:
        """ln σ² of the Gaussian that latents are drawn from, in the shape of its mean; None where it is none."""
        return None

    @property
    def codes(self) -> Tensor | None:
        """The codes of each image, int64 (B, h, w), of several levels (B, levels, h, w); None where there are none."""
        return None

    def kl_per_dimension(self) -> Tensor | None:
        """KL(q(z|x) ‖ N(0, 1)) of each dimension, float64, for a Gaussian with that prior; else None."""
        return None

    def kl(self) -> Tensor | None:
        """KL(q(z|x) ‖ p(z)) in nats where it has a closed form, (B,) float64; else None."""
        return None

    def draw(self, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """`sample`, and ln q(z|x) - ln p(z) of it, (B,) float64, whose mean over draws is the rate."""
        raise NotImplementedError(f"{type(self).__name__} has no density")

    def why_no_rate(self) -> str:
        """Why the posterior's density is not known; empty where it is."""
        return ""

    def between(self, other: Self, weight: float) -> Tensor:
        """Latents on the straight line to the modes of another batch, at `weight` of the way."""
        return torch.lerp(self.mode(), other.mode(), weight)

    def head(self, count: int) -> Self:
        """The posterior of the first `count` images."""
        return replace(self, **{name: part[:count] for name, part in self._tensors().items()})

    def only_finite(self) -> Self:
        """The posterior with NaN, and code -1, in every tensor of a row that has a value that is not finite.

        The nearest code of NaN is the first one: later steps could not tell it from a code that was chosen.
        """
        answers = self._answers()
        valid = torch.stack([finite_rows(part) for part in answers.values() if part.is_floating_point()]).all(0)
        masked = {
            name: part.where(along(valid, part), torch.nan if part.is_floating_point() else -1)
            for name, part in answers.items()
        }
        return replace(self, **masked)

    def _tensors(self) -> dict[str, Tensor]:
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: part for name, part in found.items() if isinstance(part, Tensor)}

    def _answers(self) -> dict[str, Tensor]:
        """The tensors that the encoder gave."""
        return self._tensors()


@dataclass(frozen=True)
class Point(Posterior):
    """A latent without a distribution, (B, ...): no density, and no finite rate."""

    mean: Tensor
    is_point: ClassVar[bool] = True

    def mode(self) -> Tensor:
        """The latent."""
        return self.mean

    def sample(self, generator: np.random.Generator) -> Tensor:
        """The latent."""
        return self.mean


@dataclass(frozen=True)
class Gaussian(Posterior):
    """N(mean, e^log_variance) in each dimension, both (B, ...), with a standard normal prior."""

    mean: Tensor
    log_variance: Tensor

    def spread(self) -> Tensor | None:
        """ln σ²."""
        return self.log_variance

    def mode(self) -> Tensor:
        """The mean."""
        return self.mean

    def sample(self, generator: np.random.Generator) -> Tensor:
        """Mean plus noise times deviation."""
        return self._drawn(generator)[1]

    def kl_per_dimension(self) -> Tensor | None:
        """KL(q(z|x) ‖ N(0, 1)) of each dimension."""
        return kl_per_dimension(self.mean, self.log_variance)

    def kl(self) -> Tensor | None:
        """The divergence, summed over the dimensions."""
        each = self.kl_per_dimension()
        return None if each is None else each.flatten(1).sum(1)

    def draw(self, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """A draw and its log ratio."""
        noise, z = self._drawn(generator)
        return z, self._log_ratio(noise, z, None)

    def _drawn(self, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Standard normal noise, and the Gaussian's value for it."""
        noise = standard_normal(self.mean, generator)
        return noise, self.mean + noise * torch.exp(0.5 * self.log_variance)

    def _log_ratio(self, noise: Tensor, z: Tensor, correction: Tensor | None) -> Tensor:
        """ln q - ln p of latents z that come from `noise`; `correction` (B,) is added to the log density of the noise's
        Gaussian to have that of z. NaN where z is not finite."""
        valid = finite_rows(z)
        log_q = -0.5 * (self.log_variance.double() + noise.double().square()).flatten(1).sum(1)
        if correction is not None:
            log_q = log_q + correction
        log_p = self._log_prior(z.where(along(valid, z), 0.0))
        return (log_q - log_p).where(valid, torch.nan)

    def _log_prior(self, z: Tensor) -> Tensor:
        """ln p(z) less the constant that the posterior's density lacks as well."""
        return -0.5 * z.double().square().flatten(1).sum(1)


@dataclass(frozen=True)
class Codes(Posterior):
    """A grid of codes an image: `indices` int64 (B, h, w), of several levels (B, levels, h, w), and `quantised`, what
    the decoder takes.

    unquantised: the grid (B, D, h, w) that the encoder gives. quantise: from such a grid to what the decoder takes.
    nearest: whether a code is the vector nearest to the encoder's, so that their distance is the commitment.
    """

    indices: Tensor
    quantised: Tensor
    unquantised: Tensor
    quantise: Callable[[Tensor], Tensor]
    nearest: bool = True
    is_point: ClassVar[bool] = True

    @property
    def codes(self) -> Tensor | None:
        """The codes."""
        return self.indices

    def mode(self) -> Tensor:
        """The quantised grid."""
        return self.quantised

    def sample(self, generator: np.random.Generator) -> Tensor:
        """The quantised grid."""
        return self.quantised

    @torch.no_grad()
    def between(self, other: Self, weight: float) -> Tensor:
        """The line runs between the unquantised grids and is then quantised."""
        return self.quantise(torch.lerp(self.unquantised, other.unquantised, weight))

    def commitment(self) -> Tensor | None:
        """Σ ‖z_e - e‖² over the code grid of each image, (B,) float64; None where codes are no vectors."""
        if not self.nearest:
            return None
        difference = self.unquantised - self.quantised.reshape(self.unquantised.shape)
        return difference.double().square().flatten(1).sum(1)


def standard_normal(like: Tensor, generator: np.random.Generator) -> Tensor:
    """Standard normal noise of the shape, type and device of `like`, from a stream that is filled row by row."""
    return torch.from_numpy(generator.standard_normal(tuple(like.shape), dtype=np.float32)).to(like)


def finite_rows(values: Tensor) -> Tensor:
    """Which rows hold finite values only: (B, ...) -> (B,) bool."""
    return torch.isfinite(values).flatten(1).all(1)


def along(rows: Tensor, values: Tensor) -> Tensor:
    """(B,) with as many dimensions as `values` (B, ...) has."""
    return rows.view(-1, *[1] * (values.ndim - 1))
