"""An autoencoder whose grid of vectors is quantised."""

from collections.abc import Sequence
from importlib import import_module

from pythae.models.base.base_utils import ModelOutput
from torch import Tensor, nn
from torch.nn import functional

from vaebench.base.errors import UserError
from vaebench.base.plain_tensors import one_line
from vaebench.models.interface import Autoencoder, Losses, Moment
from vaebench.models.networks.families import build_around
from vaebench.models.posterior import Codes, Posterior
from vaebench.models.providers.quantizers.catalog import MODELS, QUANTIZERS
from vaebench.models.providers.quantizers.quantizer import Quantizer
from vaebench.models.run_spec import ModelSpec


class QuantizedAE(Autoencoder):
    """`encoder` gives a grid (B, D, h, w) as `embedding`, and `decoder` takes the quantised one.

    The loss is the squared error, or the cross-entropy, summed over an image, and the quantiser's own.
    """

    answer = ModelOutput

    def __init__(
        self, shape: tuple[int, int, int], networks: tuple[nn.Module, nn.Module], quantizer: Quantizer, loss: str
    ) -> None:
        super().__init__()
        self.input_shape = shape
        self.encoder, self.decoder = networks
        self.quantizer, self.code_levels = quantizer, quantizer.levels
        self.likelihood = "bernoulli" if loss == "bce" else "gaussian"

    @property
    def codebook_size(self) -> int | None:
        """The quantiser's."""
        return self.quantizer.size

    def losses(self, x: Tensor, moment: Moment) -> Losses:
        """loss, reconstruction_loss, and `quantizer` where it has a loss."""
        found = self.quantizer(self.encoder(x).embedding, moment)
        y = self.decode(found.vectors)
        compare = functional.binary_cross_entropy if self.likelihood == "bernoulli" else functional.mse_loss
        error = compare(y, x, reduction="none").flatten(1).sum(1).mean()
        if found.loss is None:
            return Losses({"loss": error, "reconstruction_loss": error})
        return Losses({"loss": error + found.loss, "reconstruction_loss": error, "quantizer": found.loss})

    def encode(self, x: Tensor) -> Posterior:
        """Codes."""
        grid = self.quantizer.compared(self.encoder(x).embedding)
        found = self.quantizer.encode(grid)
        return Codes(found.codes, found.vectors, grid, self._quantise, self.quantizer.nearest)

    def decode(self, z: Tensor) -> Tensor:
        """The decoder's answer."""
        return self.decoder(z).reconstruction

    def embed_codes(self, codes: Tensor) -> Tensor:
        """(B, D, h, w)."""
        return self.quantizer.embed(codes)

    def probabilities(self) -> Sequence[tuple[nn.Module, str]]:
        """The decoder, where it is trained on cross-entropy."""
        return [(self.decoder, "reconstruction")] if self.likelihood == "bernoulli" else []

    def _quantise(self, grid: Tensor) -> Tensor:
        return self.quantizer.encode(grid).vectors


class HRQVAE(QuantizedAE):
    """A quantised autoencoder whose quantiser is `hierarchical` unless it is told otherwise."""


CLASSES = {"QuantizedAE": QuantizedAE, "HRQVAE": HRQVAE}


def build_quantized(spec: ModelSpec, shape: tuple[int, int, int]) -> QuantizedAE:
    """The model of a run's specification; `UserError` for fields and networks that cannot be."""
    info = MODELS[spec.model_name]
    fields, networks = build_around(spec, info, shape)
    name, options = QUANTIZERS.chosen(fields["quantizer"])
    try:
        quantizer = import_module(f"vaebench.models.providers.quantizers.{name}").BUILD(fields["latent_dim"], options)
    except (AssertionError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"the quantiser {name} cannot be built with {options}: {one_line(error)}") from error
    parts = networks["encoder"], networks["decoder"]
    model = CLASSES[spec.model_name](shape, parts, quantizer, fields["reconstruction_loss"])
    model.sampler = info.sampler_of(fields)
    return model
