"""The variational autoencoder whose likelihood is chosen, without importing torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vaebench.models.catalog import ModelInfo

LEARNED, OPTIMAL = "learned", "optimal"
# The likelihoods by name, with their options' defaults; the module beside this one of the same name builds it.
LIKELIHOODS: dict[str, Mapping[str, object]] = {
    "gaussian": {"sigma": OPTIMAL},
    "laplace": {"scale": OPTIMAL},
    "bernoulli": {},
    "discretized_logistic": {"scale": LEARNED},
}
# The words that an option may have instead of a number.
WORDS = {"gaussian": (LEARNED, OPTIMAL), "laplace": (LEARNED, OPTIMAL), "discretized_logistic": (LEARNED,)}


@dataclass(frozen=True)
class LikelihoodInfo(ModelInfo):
    """The entry of a model whose field `likelihood` is a map of one likelihood's name to its options."""

    def check(self, name: str, value: object) -> str | None:
        """As of any model; `likelihood` and `posterior_variance` by rules of their own."""
        if name == "likelihood":
            return _check_likelihood(value)
        if name == "posterior_variance":
            return _check_scale(value, (LEARNED,))
        if name == "beta" and not (isinstance(value, int | float) and value >= 0):
            return f"{value!r} must be a number of at least 0"
        return super().check(name, value)


def chosen(value: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The likelihood's name and its options, defaults among them, of a sound field `likelihood`."""
    ((name, options),) = value.items()
    return name, {**LIKELIHOODS[name], **(options or {})}


def _check_likelihood(value: object) -> str | None:
    if not isinstance(value, Mapping) or len(value) != 1:
        return f"it must name one likelihood, with its options: {{gaussian: {{sigma: optimal}}}}, not {value!r}"
    ((name, options),) = value.items()
    if name not in LIKELIHOODS:
        return f"there is no likelihood {name!r}; choose from {', '.join(LIKELIHOODS)}"
    if not isinstance(options, Mapping | None):
        return f"{name}: {options!r} is no map of options"
    for option, scale in (options or {}).items():
        if option not in LIKELIHOODS[name]:
            known = ", ".join(LIKELIHOODS[name]) or "none"
            return f"{name} has no option {option!r}; it has {known}"
        if reason := _check_scale(scale, WORDS[name]):
            return f"{name}.{option}: {reason}"
    return None


def _check_scale(value: object, words: tuple[str, ...]) -> str | None:
    if value in words or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")):
        return None
    return f"{value!r} must be {' or '.join(words)}, or a number above 0"


MODELS: dict[str, ModelInfo] = {
    "LikelihoodVAE": LikelihoodInfo(
        "LikelihoodVAE",
        fields={
            "latent_dim": 64,
            "beta": 1.0,
            "likelihood": {"gaussian": {"sigma": OPTIMAL}},
            "posterior_variance": LEARNED,
        },
        recordable=True,
    )
}
