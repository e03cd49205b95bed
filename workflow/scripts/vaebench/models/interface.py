"""What a model is to everything outside `models`: it is trained, encodes, decodes, and can be drawn from."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaebench.models.posterior import Posterior

NETWORKS = ("encoder", "decoder", "discriminator")


@dataclass(frozen=True)
class Moment:
    """When in a training losses are computed: the epoch, counted from 1, and the number of images of the split.

    step: the number of the update, counted from 1 through all epochs; in a validation, that of the last update.
    """

    epoch: int = 1
    images: int = 1
    step: int = 1


@dataclass(frozen=True)
class Losses:
    """The losses of one batch.

    terms: scalar tensors, each a mean over the images, by the name that history.csv has; `loss` is their total.
    waiting: for each objective that may skip a batch, by name, whether it skips this one: a bool, or a scalar bool
    tensor where that depends on the losses, so that nothing has to wait for the device.
    """

    terms: dict[str, Tensor]
    waiting: Mapping[str, bool | Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Objective:
    """Parameters that one optimizer trains on the loss `term`; `name` is its key in `training.components`.

    options: what the optimizer is given besides its settings, such as a weight decay. mixture: where the term's
    gradient in these parameters is a weighted sum of the gradients of other objectives' terms, their weights by name;
    else empty.
    """

    name: str
    term: str
    parameters: list[nn.Parameter]
    options: Mapping[str, float] = field(default_factory=dict)
    mixture: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Prior:
    """A distribution over latents that belongs to one model, offered as a sampler under its name.

    draw: a function of the count, the options and a random generator that gives latents (count, ...). options: their
    defaults, by name.
    """

    draw: Callable[[int, Mapping[str, object], np.random.Generator], Tensor]
    options: Mapping[str, object] = field(default_factory=dict)


class OriginalStudy(ABC):
    """The arithmetic of the study that the columns `legacy_*` repeat, for a model that was in it."""

    @abstractmethod
    def terms(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """A stochastic reconstruction of x and the study's metrics of the batch."""

    @abstractmethod
    def generate(self, count: int) -> Tensor:
        """Images as the study generated them, from torch's global random numbers."""


class Autoencoder(nn.Module, ABC):
    """A model: subclasses give `losses`, `encode` and `decode`; the rest has defaults.

    input_shape: (C, H, W) of its images, float32 in [0, 1]. name: what tables call it. sampler: the sampler that `auto`
    in the configuration means. codebook_size: how many codes there are, of each level, for a model whose posterior is
    `Codes`; None for others. code_levels: how many codes a position of its grid has. likelihood: `gaussian` for the one
    with variance 1, `bernoulli` for a model trained on cross-entropy, or the name of one of the model's own
    (`own_nats`). trained_on: the fixed networks in whose features its loss compares images. answer: the mapping in
    which its networks give several tensors. labels: of a conditional model, the values of each label that it is given
    (`given`).
    """

    input_shape: tuple[int, int, int]
    sampler: str = "normal"
    code_levels: int = 1
    likelihood: str = "gaussian"
    trained_on: tuple[str, ...] = ()
    answer: type[Mapping[str, Tensor]] = dict
    labels: Mapping[str, Sequence[str]] = MappingProxyType({})
    condition: Tensor | None = None

    @contextmanager
    def given(self, condition: Tensor | None) -> Iterator[None]:
        """In the block a conditional model encodes and decodes for these labels: rows (B, K), or one row for all.

        K is the number of all values of `labels`, and a row has a 1 for each label. Other models take None.
        """
        former, self.condition = self.condition, condition
        try:
            yield
        finally:
            self.condition = former

    def on_trial(self) -> AbstractContextManager[None]:
        """In the block a conditional model is given zeros as labels: for calls of which only the shapes matter."""
        size = sum(len(values) for values in self.labels.values())
        return self.given(torch.zeros(1, size, device=next(self.parameters()).device) if size else None)

    @property
    def name(self) -> str:
        """The name of the model's class."""
        return type(self).__name__

    @property
    def codebook_size(self) -> int | None:
        """The number of codes of each level; None for a model whose posterior is not `Codes`."""
        return None

    @abstractmethod
    def losses(self, x: Tensor, moment: Moment) -> Losses:
        """The losses of a batch of images x, (B, C, H, W)."""

    @abstractmethod
    def encode(self, x: Tensor) -> Posterior:
        """The model's posterior of images x, (B, C, H, W); the model is in evaluation mode and needs no gradients."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Images (B, C, H, W) of latents (B, ...); what is outside [0, 1] is clamped by the caller."""

    def objectives(self) -> Sequence[Objective]:
        """What is minimised, in the order in which the optimizers step: one optimizer for all unless overridden."""
        return [Objective("model", "loss", list(self.parameters()))]

    def diagnostics(
        self, x: Tensor, y: Tensor, posterior: Posterior, generator: np.random.Generator
    ) -> dict[str, Tensor]:
        """Registered metrics that only this model has, for images x and their reconstructions y: (B,) float64 each."""
        return {}

    def own_nats(self, x: Tensor, y: Tensor) -> Mapping[str, Tensor] | None:
        """-ln p(x|z) of images x under the model's own likelihood, where its decoder gives y: (B,) float64.

        The key is the registered metric that the value becomes when the rate is added. None where the likelihood is the
        one that `likelihood` names, with variance 1 if it is Gaussian.
        """
        return None

    def embed_codes(self, codes: Tensor) -> Tensor:
        """The decoder's input for codes (B, h, w), or (B, levels, h, w) for several levels.

        Only models with a `codebook_size` have it.
        """
        raise NotImplementedError(f"{self.name} has no codes")

    def priors(self) -> Mapping[str, Prior]:
        """The samplers that only this model has, by name."""
        return {}

    def original_study(self) -> OriginalStudy | None:
        """The original study's arithmetic for a model that was in the study; None for others."""
        return None

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """The shape of one image's latent as the decoder takes it: (L,) or (D, h, w)."""
        parameter = next(self.parameters())
        with torch.no_grad(), self.on_trial():
            probe = torch.zeros(1, *self.input_shape, device=parameter.device, dtype=parameter.dtype)
            return tuple(self.encode(probe).mode().shape[1:])

    def networks(self) -> dict[str, nn.Module]:
        """The networks that are compiled, or compute in bfloat16, as a whole; the rest stays float32."""
        found = {name: getattr(self, name, None) for name in NETWORKS}
        return {name: network for name, network in found.items() if isinstance(network, nn.Module)}

    def probabilities(self) -> Sequence[tuple[nn.Module, str]]:
        """The networks whose answers must be probabilities, each with the key of the tensor in its answer."""
        return []

    def take_weights(self, files: Mapping[str, Path] | None) -> None:
        """Called once before a training, with the files of the fixed networks that the losses need, by their names.

        With None the networks may hold zeros: only memory is being estimated.
        """

    def prepare_training(self) -> None:
        """Called once before optimizers are made; may replace parts by faster ones with the same state."""

    def end_epoch(self) -> None:
        """Called after the last step of each epoch."""

    def live_state(self) -> dict[str, Any]:
        """All tensors that make up the model, in nested mappings, not copied."""
        return {"model_state_dict": self.state_dict()}

    def resumable_state(self) -> dict[str, Any]:
        """Copies of `live_state`, and of whatever else a training needs to go on within an epoch."""
        return map_tensors(self.live_state(), lambda tensor: tensor.detach().clone())

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `live_state` or `resumable_state` gave."""
        self.load_state_dict(state["model_state_dict"])


def map_tensors(state: Mapping[str, Any], change: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """The same nested mappings with every tensor changed."""
    return {
        name: map_tensors(value, change) if isinstance(value, Mapping) else change(value)
        for name, value in state.items()
    }
