"""The options of each sampler: their defaults, and what they may be.

The Snakefile reads this module, so that nothing heavy is imported here. Those of a prior that a class of a user's own
brings stand with the class (`interface.Prior`).
"""

from collections.abc import Mapping
from typing import Any

from vaebench.models.fields import COUNT, NOT_NEGATIVE, POSITIVE, Range
from vaebench.models.options import Alternatives, Option, number, whole


def _of_a_fit(epochs: int, batch_size: int, learning_rate: float = 2e-3) -> dict[str, Option]:
    """Of `sampling.fitting.fit`."""
    return {
        "epochs": whole(epochs, COUNT),
        "batch_size": whole(batch_size, COUNT),
        "learning_rate": number(learning_rate, POSITIVE),
        "weight_decay": number(0.05, NOT_NEGATIVE),
    }


def _of_a_network(layers: int, width: int) -> dict[str, Option]:
    return {"layers": whole(layers, COUNT), "width": whole(width, COUNT)}


def _fit_images(count: int) -> dict[str, Option]:
    return {"fit_images": whole(count, Range(2))}


def _whole_or_null() -> Option:
    given = whole(1, COUNT)
    return Option(None, lambda value: None if value is None else given.why_not(value))


def _why_not_together(name: str, options: Mapping[str, Any]) -> str | None:
    if name == "transformer" and options["width"] % options["heads"]:
        return f"width {options['width']} is no multiple of heads {options['heads']}"
    return None


SAMPLER_OPTIONS = Alternatives(
    kind="sampler",
    example="{gaussian_mixture: {n_components: 10}}",
    options={
        "normal": {},
        "fitted_gaussian": _fit_images(1_000_000),
        "gaussian_mixture": {"n_components": whole(10, COUNT), **_fit_images(20_000)},
        "maf": {**_of_a_fit(20, 128), **_of_a_network(4, 256), **_fit_images(20_000)},
        "iaf": {**_of_a_fit(10, 128), **_of_a_network(2, 256), **_fit_images(2_000)},
        "two_stage": {**_of_a_fit(40, 128, 1e-3), **_of_a_network(3, 256), **_fit_images(20_000)},
        "aggregate_posterior": {},
        "pixelcnn": {
            "epochs": whole(15, COUNT),
            "channels": whole(32, COUNT),
            "layers": whole(2, COUNT),
            "batch_size": whole(64, COUNT),
            "learning_rate": number(5e-3, POSITIVE),
            "patience": whole(3, COUNT),
        },
        "transformer": {
            **_of_a_fit(6, 32),
            **_of_a_network(2, 128),
            "heads": whole(4, COUNT),
            "patch": whole(1, COUNT),
            "temperature": number(1.0, POSITIVE),
            "top_k": _whole_or_null(),
        },
        "uniform_codes": {},
        "vamp": {},
        "hypersphere": {},
        "poincare": {},
        "rhvae": {
            "mcmc_steps_nbr": whole(100, COUNT),
            "n_lf": whole(15, COUNT),
            "eps_lf": number(0.03, POSITIVE),
        },
    },
    together=_why_not_together,
)


def why_no_patches(options: Mapping[str, Any], grid: tuple[int, int]) -> str | None:
    """Why a grid of codes (rows, columns) cannot be read in the patches of these options; None where it can."""
    rows, columns = grid
    patch = options.get("patch", 1)
    if rows % patch or columns % patch:
        return f"a grid of {rows}x{columns} codes has no whole patches of {patch}"
    return None


def defaults_of(name: str) -> dict[str, Any]:
    """The options of one of them."""
    return SAMPLER_OPTIONS.chosen({name: {}})[1]
