"""pythae's models behind the interface: what all of them share.

`adopt` gives a stock pythae model the interface by deriving a class from both. The model stays pythae's: its class, its
attributes, the names in its state, and what it saves, so that stock pythae opens it.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pythae.models import BaseAE
from pythae.models.base import BaseAEConfig
from pythae.models.base.base_utils import ModelOutput
from torch import Tensor, nn
from torch.nn import functional

from vaebench.models.catalog import COUPLED, ModelInfo
from vaebench.models.interface import Autoencoder, Losses, Moment, Objective, OriginalStudy
from vaebench.models.posterior import Gaussian, Posterior
from vaebench.models.providers.pythae.catalog import DIAGNOSTICS, IN_ORIGINAL_STUDY, MODELS, SPECIAL

# The names of pythae's outputs in the history. reg_loss is the KL divergence or the model's own estimate of it.
TERMS = {
    "loss": "loss",
    "recon_loss": "reconstruction_loss",
    "reg_loss": "kl",
    "vq_loss": "vq",
    "mmd_loss": "mmd",
    "embedding_loss": "embedding",
    "gen_reg_loss": "gradient_penalty",
    "encoder_loss": "encoder_loss",
    "decoder_loss": "decoder_loss",
    "autoencoder_loss": "autoencoder_loss",
    "discriminator_loss": "discriminator_loss",
}


class PythaeModel(Autoencoder):
    """A model of pythae with a Gaussian posterior; the modules of `SPECIAL` override what differs.

    as_stock: whether its losses are those of pythae's own trainers, which `gradients: pythae` repeats.
    """

    encoder: nn.Module
    decoder: nn.Module
    model_config: BaseAEConfig
    model_name: str
    answer = ModelOutput
    as_stock: bool = False
    vq_scale: str = "per_image"
    ignores_reconstruction_loss: bool = False

    if TYPE_CHECKING:  # what the stock class has, which is not typed
        device: Any

        def __getattr__(self, name: str) -> Any: ...

    @property
    def info(self) -> ModelInfo:
        """Its entry in the catalog."""
        return MODELS[self.model_name]

    @property
    def name(self) -> str:
        """pythae's name of it."""
        return self.model_name

    def losses(self, x: Tensor, moment: Moment) -> Losses:
        """The losses of pythae's forward pass."""
        output = self({"data": x}, epoch=moment.epoch, dataset_size=moment.images, uses_ddp=False)
        terms = {name: output[key] for key, name in TERMS.items() if output.get(key) is not None}
        terms = {name: value.mean() if value.ndim else value for name, value in terms.items()}
        return Losses(self.adjusted(terms, output), self.waiting(output))

    def errors(self, x: Tensor, y: Tensor) -> Tensor:
        """pythae's error of reconstructions y of images x, summed over an image, (B,)."""
        x, y = x.reshape(len(x), -1), y.reshape(len(x), -1)
        if self.model_config.reconstruction_loss == "bce":
            return functional.binary_cross_entropy(y, x, reduction="none").sum(-1)
        return 0.5 * functional.mse_loss(y, x, reduction="none").sum(-1)

    def waiting(self, output: ModelOutput) -> Mapping[str, bool | Tensor]:
        """The objectives that this batch may not train: see `Losses`."""
        return {}

    def adjusted(self, terms: dict[str, Tensor], output: ModelOutput) -> dict[str, Tensor]:
        """The terms as the history has them; pythae's coupled trainer counts RAE_L2's one loss twice."""
        if self.info.trainer == COUPLED and self.as_stock:
            terms["loss"] = terms["encoder_loss"] + terms["decoder_loss"]
        return terms

    def objectives(self) -> Sequence[Objective]:
        """One for each of pythae's optimizers, in the order in which its trainers step them."""
        if not self.info.components:
            return super().objectives()
        return [self.objective(name) for name in self.info.components]

    def objective(self, name: str) -> Objective:
        """The one called `name`."""
        owned = ("encoder", "decoder") if name == "autoencoder" else (name,)
        parameters = [parameter for part in owned for parameter in getattr(self, part).parameters()]
        return Objective(name, f"{name}_loss", parameters)

    def encode(self, x: Tensor) -> Posterior:
        """A Gaussian."""
        output = self.encoder(x)
        return Gaussian(output.embedding, output.log_covariance)

    def decode(self, z: Tensor) -> Tensor:
        """The decoder's answer."""
        return self.decoder(z).reconstruction.reshape(len(z), *self.input_shape)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(L,): the latents are vectors."""
        return (self.model_config.latent_dim,)

    def probabilities(self) -> Sequence[tuple[nn.Module, str]]:
        """The decoder, whose values are compared by cross-entropy."""
        watched = getattr(self.model_config, "reconstruction_loss", "") == "bce"
        return [(self.decoder, "reconstruction")] if watched else []

    def to(self, *arguments: Any, **options: Any) -> Self:
        """Move the model; pythae keeps its device in an attribute as well."""
        moved = super().to(*arguments, **options)
        moved.device = next(moved.parameters()).device
        return moved

    def end_epoch(self) -> None:
        """pythae's own hook."""
        self.update()

    def diagnostics(
        self, x: Tensor, y: Tensor, posterior: Posterior, generator: np.random.Generator
    ) -> dict[str, Tensor]:
        """What the module named in `DIAGNOSTICS` computes."""
        module = DIAGNOSTICS.get(self.model_name)
        return _module(module).diagnostics(self, x, y, posterior, generator) if module else {}

    def original_study(self) -> OriginalStudy | None:
        """For the models that the study compared."""
        return _module("original_study").FourModels(self) if self.model_name in IN_ORIGINAL_STUDY else None


def adopt(model: BaseAE) -> PythaeModel:
    """The same object, with the interface: its class becomes one that is derived from the interface and its own."""
    if isinstance(model, PythaeModel):
        return model
    stock: Any = type(model)
    model.__class__ = class_of(stock, model.model_name)
    model.input_shape = tuple(model.model_config.input_dim)
    model.sampler = MODELS[model.model_name].sampler
    loss = getattr(model.model_config, "reconstruction_loss", "mse")
    model.likelihood = "bernoulli" if loss == "bce" and not model.ignores_reconstruction_loss else "gaussian"
    return model


@cache
def class_of(stock: type[BaseAE], name: str) -> type[PythaeModel]:
    """The class of pythae with the interface; `name` is pythae's name of the model."""
    module = SPECIAL.get(name)
    special = _module(module).Model if module else PythaeModel
    return type(stock.__name__, (special, stock), {"__module__": stock.__module__})


def _module(name: str) -> ModuleType:
    """A module of this package by its name; an import statement would make it part of every model's fingerprint."""
    return import_module(f"vaebench.models.providers.pythae.{name}")
