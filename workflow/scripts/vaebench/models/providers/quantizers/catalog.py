"""The autoencoder with a quantiser of vector-quantize-pytorch, without importing it or torch."""

import math
from dataclasses import dataclass

from vaebench.models.catalog import GRID, ModelInfo
from vaebench.models.options import Alternatives, Option

LARGEST = 2**16  # codes: the prior that is fitted to them has an output for each


def _why_no_levels(levels: object) -> str | None:
    if not isinstance(levels, list | tuple) or not levels:
        return f"{levels!r} must be a list of whole numbers, one for each dimension of a code"
    for level in levels:
        if isinstance(level, bool) or not isinstance(level, int) or level < 3:
            return f"{level!r} must be a whole number of at least 3"
    if math.prod(levels) > LARGEST:
        return f"{math.prod(levels):,} codes are more than the {LARGEST:,} that a prior is fitted to"
    return None


# The module beside this one of the same name builds a quantiser.
QUANTIZERS = Alternatives(
    kind="quantiser",
    example="{fsq: {levels: [8, 5, 5, 5]}}",
    options={"fsq": {"levels": Option((8, 5, 5, 5), _why_no_levels)}},
)


@dataclass(frozen=True)
class QuantizedInfo(ModelInfo):
    """The entry of a model whose field `quantizer` names one of `QUANTIZERS`."""

    def check(self, name: str, value: object) -> str | None:
        """As of any model; the field `quantizer` by the rules of its quantiser."""
        return QUANTIZERS.why_not(value) if name == "quantizer" else super().check(name, value)


MODELS: dict[str, ModelInfo] = {
    "QuantizedAE": QuantizedInfo(
        "QuantizedAE",
        fields={"latent_dim": 64, "reconstruction_loss": "mse", "quantizer": {"fsq": {"levels": (8, 5, 5, 5)}}},
        encoder=GRID,
        posterior="codes",
        prior="codes",
        sampler="pixelcnn",
        terms=("reconstruction_loss",),
    )
}
