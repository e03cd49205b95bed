"""The autoencoder with a quantiser of vector-quantize-pytorch, without importing it or torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vaebench.models.catalog import GRID, ModelInfo

LARGEST = 2**16  # codes: the prior that is fitted to them has an output for each
# The quantisers by name, with their options' defaults; the module beside this one of the same name builds it.
QUANTIZERS: dict[str, Mapping[str, object]] = {"fsq": {"levels": (8, 5, 5, 5)}}


@dataclass(frozen=True)
class QuantizedInfo(ModelInfo):
    """The entry of a model whose field `quantizer` is a map of one quantiser's name to its options."""

    def check(self, name: str, value: object) -> str | None:
        """As of any model; the field `quantizer` by the rules of its quantiser."""
        return _check_quantizer(value) if name == "quantizer" else super().check(name, value)


def chosen(value: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The quantiser's name and its options, defaults among them, of a sound field `quantizer`."""
    ((name, options),) = value.items()
    return name, {**QUANTIZERS[name], **(options or {})}


def _check_quantizer(value: object) -> str | None:
    if not isinstance(value, Mapping) or len(value) != 1:
        return f"it must name one quantiser, with its options: {{fsq: {{levels: [8, 5, 5, 5]}}}}, not {value!r}"
    ((name, options),) = value.items()
    if name not in QUANTIZERS:
        return f"there is no quantiser {name!r}; choose from {', '.join(QUANTIZERS)}"
    if not isinstance(options, Mapping | None):
        return f"{name}: {options!r} is no map of options"
    for option in options or {}:
        if option not in QUANTIZERS[name]:
            return f"{name} has no option {option!r}; it has {', '.join(QUANTIZERS[name])}"
    return _check_levels(chosen(value)[1]["levels"])


def _check_levels(levels: object) -> str | None:
    if not isinstance(levels, list | tuple) or not levels:
        return f"fsq.levels: {levels!r} must be a list of whole numbers, one for each dimension of a code"
    for level in levels:
        if isinstance(level, bool) or not isinstance(level, int) or level < 3:
            return f"fsq.levels: {level!r} must be a whole number of at least 3"
    if math.prod(levels) > LARGEST:
        return f"fsq.levels: {math.prod(levels):,} codes are more than the {LARGEST:,} that a prior is fitted to"
    return None


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
