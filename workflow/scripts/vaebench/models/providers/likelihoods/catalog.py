"""The variational autoencoder whose likelihood is chosen, without importing torch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from vaebench.models.catalog import GAUSSIAN, GRID, ModelInfo, why_no_downsampling
from vaebench.models.fields import Range
from vaebench.models.label_names import FIELD, label_names, why_no_labels
from vaebench.models.options import Alternatives, number, switch, whole, why_no_number
from vaebench.models.terms.term_fields import FIELDS, why_no_term, with_terms

LEARNED, OPTIMAL = "learned", "optimal"
ABOVE_ZERO = Range(0, open_low=True)


def _why_not_together(name: str, options: Mapping[str, Any]) -> str | None:
    if options.get("mixtures", 1) > 1 and options["scale"] != LEARNED:
        return "the scales of a mixture are learned; leave scale out"
    if options.get("per_pixel") and options["scale"] != LEARNED:
        return "scales by pixel are learned; leave scale out"
    return None


# The module beside this one of the same name builds a likelihood.
LIKELIHOODS = Alternatives(
    kind="likelihood",
    example="{gaussian: {sigma: optimal}}",
    options={
        "gaussian": {"sigma": number(OPTIMAL, ABOVE_ZERO, (LEARNED, OPTIMAL))},
        "laplace": {"scale": number(OPTIMAL, ABOVE_ZERO, (LEARNED, OPTIMAL))},
        "bernoulli": {},
        "discretized_logistic": {
            "scale": number(LEARNED, ABOVE_ZERO, (LEARNED,)),
            "mixtures": whole(1, Range(1, 100)),
            "per_pixel": switch(False),
        },
    },
    together=_why_not_together,
)


@dataclass(frozen=True)
class LikelihoodInfo(ModelInfo):
    """The entry of a model whose field `likelihood` names one of `LIKELIHOODS`."""

    def of(self, config: Mapping[str, Any]) -> Self:
        """The entry with the added terms; the steps of a conditional model are not recorded."""
        known = with_terms(self, config)
        return replace(known, recordable=False) if label_names(config) else known

    def head(self, config: Mapping[str, Any]) -> str:
        """A grid of moments where the latents are to be a grid."""
        return GRID if config.get("spatial") else GAUSSIAN

    def check(self, name: str, value: object) -> str | None:
        """The checks of every model, and those of `likelihood`, `posterior_variance` and `conditional`."""
        if name == FIELD:
            return why_no_labels(value)
        if name in FIELDS:
            return why_no_term(name, value)
        if name == "downsampling":
            return why_no_downsampling(value)
        if name == "likelihood":
            return LIKELIHOODS.why_not(value)
        if name == "posterior_variance":
            return why_no_number(value, ABOVE_ZERO, (LEARNED,))
        if name == "beta" and not (isinstance(value, int | float) and value >= 0):
            return f"{value!r} must be a number of at least 0"
        return super().check(name, value)


MODELS: dict[str, ModelInfo] = {
    "LikelihoodVAE": LikelihoodInfo(
        "LikelihoodVAE",
        fields={
            "latent_dim": 64,
            "beta": 1.0,
            "likelihood": {"gaussian": {"sigma": OPTIMAL}},
            "posterior_variance": LEARNED,
            "spatial": False,
            "downsampling": None,
            FIELD: None,
            **FIELDS,
        },
        recordable=True,
        of_any_kind=("posterior_variance",),
    )
}
