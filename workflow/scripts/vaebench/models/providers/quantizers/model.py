"""An autoencoder whose grid of vectors is quantised."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
from pythae.models.base.base_utils import ModelOutput
from torch import Tensor, nn
from torch.nn import functional

from vaebench.base.errors import UserError
from vaebench.base.plain_tensors import one_line
from vaebench.models.interface import Losses, Moment
from vaebench.models.label_names import label_values
from vaebench.models.networks.families import build_around
from vaebench.models.posterior import Codes, Posterior
from vaebench.models.providers.quantizers.catalog import MODELS, QUANTIZERS
from vaebench.models.providers.quantizers.quantizer import Quantizer
from vaebench.models.run_spec import ModelSpec
from vaebench.models.terms.added_terms import ModelWithTerms

ERRORS: Mapping[str, Callable[..., Tensor]] = {
    "mse": functional.mse_loss,
    "l1": functional.l1_loss,
    "bce": functional.binary_cross_entropy,
}


class QuantizedAE(ModelWithTerms):
    """`encoder` gives a grid (B, D, h, w) as `embedding`, and `decoder` takes the quantised one.

    With the field `conditional` both are given labels (`Autoencoder.given`). The loss is the sum of the reconstruction
    error (squared, absolute or cross-entropy, summed over an image), the quantiser's own loss, and the added terms.
    """

    answer = ModelOutput

    def __init__(
        self,
        shape: tuple[int, int, int],
        networks: tuple[nn.Module, nn.Module],
        quantizer: Quantizer,
        fields: Mapping[str, Any],
    ) -> None:
        super().__init__(shape, networks, fields)
        self.quantizer, self.code_levels = quantizer, quantizer.levels
        self.error = fields["reconstruction_loss"]
        self.likelihood = "bernoulli" if self.error == "bce" else "gaussian"

    @property
    def codebook_size(self) -> int | None:
        """The quantiser's."""
        return self.quantizer.size

    def losses(self, x: Tensor, moment: Moment) -> Losses:
        """loss, reconstruction_loss, `quantizer` where it has a loss, and the added terms."""
        found = self.quantizer(self._grid(x), moment)
        y = self.decode(found.vectors)
        error = ERRORS[self.error](y, x, reduction="none").flatten(1).sum(1).mean()
        if found.loss is None:
            return self.with_added((x, y), {"reconstruction_loss": error}, torch.zeros_like(error), moment)
        terms = {"reconstruction_loss": error, "quantizer": found.loss}
        return self.with_added((x, y), terms, found.loss, moment)

    def encode(self, x: Tensor) -> Posterior:
        """Codes."""
        grid = self.quantizer.compared(self._grid(x))
        found = self.quantizer.encode(grid)
        return Codes(found.codes, found.vectors, grid, self._quantise, self.quantizer.nearest)

    def embed_codes(self, codes: Tensor) -> Tensor:
        """(B, D, h, w)."""
        return self.quantizer.embed(codes)

    def _grid(self, x: Tensor) -> Tensor:
        """The encoder's grid of vectors, (B, D, h, w)."""
        return self.encoder_output(x).embedding

    def _quantise(self, grid: Tensor) -> Tensor:
        return self.quantizer.encode(grid).vectors


class HRQVAE(QuantizedAE):
    """A quantised autoencoder whose quantiser is `hierarchical` unless it is told otherwise."""


CLASSES = {"QuantizedAE": QuantizedAE, "HRQVAE": HRQVAE}


def build_quantized(spec: ModelSpec, shape: tuple[int, int, int]) -> QuantizedAE:
    """The model of a run's specification; `UserError` for fields and networks that cannot be."""
    info = MODELS[spec.model_name]
    given = {**info.fields, **spec.config}
    labels = sum(len(values) for values in label_values(given).values())
    fields, networks = build_around(spec, info, shape, {"decoder": given["latent_dim"] + labels})
    name, options = QUANTIZERS.chosen(fields["quantizer"])
    try:
        quantizer = import_module(f"vaebench.models.providers.quantizers.{name}").BUILD(fields["latent_dim"], options)
    except (AssertionError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"the quantiser {name} cannot be built with {options}: {one_line(error)}") from error
    parts = networks["encoder"], networks["decoder"]
    model = CLASSES[spec.model_name](shape, parts, quantizer, fields)
    model.sampler = info.sampler_of(fields)
    return model
