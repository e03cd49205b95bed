"""A model of pythae under a likelihood that is chosen, in place of pythae's squared error or cross-entropy."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from torch import Tensor

from vaebench.models.providers.likelihoods.catalog import LIKELIHOODS
from vaebench.models.providers.likelihoods.likelihood import Likelihood
from vaebench.models.providers.pythae.model import PythaeModel


class WithLikelihood(PythaeModel):
    """Its loss is -ln p(x|z), with every constant, plus the terms that pythae adds to its error."""

    p: Likelihood

    def loss_function(self, recon_x: Tensor, x: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
        """pythae's total, reconstruction loss, and further terms.

        pythae's error between a reconstruction and itself is 0, and so is its gradient: the total that pythae computes
        for that pair holds only the other terms.
        """
        stock: Any = super()
        rest, _, *others = stock.loss_function(recon_x, recon_x.detach(), *arguments)
        nats = self.error(x, recon_x.reshape(x.shape))
        return rest + nats, nats, *others

    def error(self, x: Tensor, y: Tensor) -> Tensor:
        """-ln p(x|z) where the decoder gives y, the mean over the images."""
        return self.p(x, y).mean()

    def own_nats(self, x: Tensor, y: Tensor) -> Mapping[str, Tensor] | None:
        """Under the chosen likelihood; None for a Bernoulli, which `likelihood` names."""
        return None if self.likelihood == "bernoulli" else {self.p.metric: self.p.nats(x.double(), y.double())}

    def probabilities(self) -> list[tuple[Any, str]]:
        """The decoder, where it is trained on cross-entropy."""
        return [(self.decoder, "reconstruction")] if self.likelihood == "bernoulli" else []


def take_likelihood(model: PythaeModel, value: Mapping[str, Any]) -> None:
    """Give a model that pythae trains on the squared error the likelihood that its field names."""
    name, options = LIKELIHOODS.chosen(value)
    module = import_module(f"vaebench.models.providers.likelihoods.{name}")
    likelihood: Likelihood = module.BUILD({"channels": model.input_shape[0], **options})
    model.p, model.likelihood = likelihood, likelihood.kind
    model.__class__ = _class_with_likelihood(type(model))


@cache
def _class_with_likelihood(adopted: type[PythaeModel]) -> type[PythaeModel]:
    return type(adopted.__name__, (WithLikelihood, adopted), {"__module__": adopted.__module__})
