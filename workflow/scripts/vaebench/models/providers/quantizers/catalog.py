"""The autoencoder with a quantiser, without importing torch or vector-quantize-pytorch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from vaebench.models.catalog import GRID, ModelInfo, why_no_downsampling
from vaebench.models.fields import FRACTION, NOT_NEGATIVE, POSITIVE, Range
from vaebench.models.label_names import FIELD, label_names, why_no_labels
from vaebench.models.options import Alternatives, Option, number, switch, whole, word
from vaebench.models.terms.term_fields import FIELDS, why_no_term, with_terms

LARGEST = 2**16  # codes: the prior that is fitted to them has an output for each
WHOLE_SEQUENCES = "transformer"  # the sampler of codes of several levels, and of codes given labels


def _why_no_levels(levels: object) -> str | None:
    if not isinstance(levels, list | tuple) or not levels:
        return f"{levels!r} must be a list of whole numbers, one for each dimension of a code"
    for level in levels:
        if isinstance(level, bool) or not isinstance(level, int) or level < 3:
            return f"{level!r} must be a whole number of at least 3"
    if math.prod(levels) > LARGEST:
        return f"{math.prod(levels):,} codes are more than the {LARGEST:,} that a prior is fitted to"
    return None


def _why_no_power_of_two(size: object) -> str | None:
    if isinstance(size, int) and not isinstance(size, bool) and 2 <= size <= LARGEST and not size & (size - 1):
        return None
    return f"{size!r} must be a power of 2, at least 2 and at most {LARGEST}"


CODEBOOK_SIZE = whole(512, Range(2, LARGEST))
THROUGH = word("straight", "rotation")
DEPTH = Range(2, 16)
CODEBOOK = {
    "codebook_size": CODEBOOK_SIZE,
    "update": word("ema", "gradient"),
    "decay": number(0.99, FRACTION),
    "commitment": number(0.25, NOT_NEGATIVE),
    "normalised": switch(False),
    "kmeans": switch(True),
    "restart_below": number(1.0, NOT_NEGATIVE),
    "through": THROUGH,
}
BITS = {
    "codebook_size": Option(512, _why_no_power_of_two),
    "entropy": number(0.1, NOT_NEGATIVE),
    "diversity": number(1.0, NOT_NEGATIVE),
    "commitment": number(0.0, NOT_NEGATIVE),
}


def _why_not_together(name: str, options: Mapping[str, Any]) -> str | None:
    if options.get("normalised") and options["update"] == "gradient":
        return "normalised codes follow moving averages only; leave update: gradient or normalised out"
    return None


# The module beside this one of the same name builds a quantiser; docs/adding-a-model.md says what each option does.
QUANTIZERS = Alternatives(
    kind="quantiser",
    example="{fsq: {levels: [8, 5, 5, 5]}}",
    options={
        "vq": {**CODEBOOK, "entropy": number(0.0, NOT_NEGATIVE)},
        "residual_vq": {"depth": whole(4, DEPTH), **CODEBOOK},
        "fsq": {"levels": Option((8, 5, 5, 5), _why_no_levels)},
        # without commitment the numbers grow until the entropies have no gradient
        "lfq": BITS | {"commitment": number(1.0, NOT_NEGATIVE)},
        "bsq": BITS,
        "simvq": {"codebook_size": CODEBOOK_SIZE, "commitment": number(0.25, NOT_NEGATIVE), "through": THROUGH},
        "hierarchical": {
            "codebook_size": whole(64, Range(2, LARGEST)),
            "depth": whole(4, DEPTH),
            "kl": number(0.1, NOT_NEGATIVE),
            "scale": number(1.0, POSITIVE),
            "scale_decay": number(0.5, POSITIVE),
            "norm_weight": number(0.5, NOT_NEGATIVE),
            "norm_scale": number(1.5, POSITIVE),
            "temperature_decay": number(33.3, POSITIVE),
            "depth_drop": number(0.1, FRACTION),
        },
    },
    together=_why_not_together,
)


@dataclass(frozen=True)
class QuantizedInfo(ModelInfo):
    """The entry of a model whose field `quantizer` names one of `QUANTIZERS`."""

    def of(self, config: Mapping[str, Any]) -> Self:
        """The entry with the added terms."""
        return with_terms(self, config)

    def check(self, name: str, value: object) -> str | None:
        """The checks of every model, and those of `quantizer`, `downsampling`, `conditional` and the added terms."""
        if name == FIELD:
            return why_no_labels(value)
        if name in FIELDS:
            return why_no_term(name, value)
        if name == "quantizer":
            return QUANTIZERS.why_not(value)
        if name == "downsampling":
            return why_no_downsampling(value)
        return super().check(name, value)

    def sampler_of(self, config: Mapping[str, Any]) -> str:
        """One for several levels of codes, or for codes given labels, where there are such."""
        return WHOLE_SEQUENCES if self.code_levels(config) > 1 or label_names(config) else self.sampler

    def code_levels(self, config: Mapping[str, Any]) -> int:
        """The depth of the quantiser, where it has one."""
        _, options = QUANTIZERS.chosen(config.get("quantizer", self.fields["quantizer"]))
        return int(options.get("depth", 1))


def _model(name: str, quantizer: Mapping[str, Any]) -> QuantizedInfo:
    return QuantizedInfo(
        name,
        fields={
            "latent_dim": 64,
            "reconstruction_loss": "mse",
            "downsampling": None,
            "quantizer": quantizer,
            FIELD: None,
            **FIELDS,
        },
        choices={"reconstruction_loss": ("mse", "l1", "bce")},
        encoder=GRID,
        posterior="codes",
        prior="codes",
        sampler="pixelcnn",
        terms=("reconstruction_loss",),
    )


MODELS: dict[str, ModelInfo] = {
    "QuantizedAE": _model("QuantizedAE", {"fsq": {"levels": (8, 5, 5, 5)}}),
    "HRQVAE": _model("HRQVAE", {"hierarchical": {}}),
}
