"""Which samplers draw a run's images: those that its entry names, and one that all runs of a kind share.

The Snakefile reads this module, so nothing heavy is imported here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from vaebench.config.schema import dotted
from vaebench.models.catalog import ModelInfo
from vaebench.models.lookup import MODELS
from vaebench.models.run_spec import ModelSpec, Named
from vaebench.models.sampler_names import AUTO, CONTINUOUS, OF_CODES
from vaebench.models.sampler_options import SAMPLER_OPTIONS, why_no_patches

KINDS = {"continuous": CONTINUOUS, "codes": OF_CODES}


def samplers_of(spec: ModelSpec, entry: Mapping[str, Any], common: Mapping[str, Any]) -> tuple[Named, ...]:
    """The samplers of a run of an `entry`, each once; runs are compared by the images of the first.

    That is the common sampler of its kind, where the configuration has one: `samples.common`.
    """
    info = MODELS.get(spec.model) if spec.model is not None else None
    shared = None if info is None else common.get(kind_of(info) or "")
    samplers = [*([_named(shared)] if shared else []), *own_samplers(entry)]
    first: dict[str, Named] = {}
    for sampler in samplers:
        first.setdefault(label_of(sampler, spec), sampler)
    return tuple(first.values())


def common_labels(common: Mapping[str, Any]) -> set[str]:
    """The labels of the common samplers of `samples.common`."""
    return {label_of(_named(shared)) for shared in common.values() if shared is not None}


def own_samplers(entry: Mapping[str, Any]) -> list[Named]:
    """Those that an entry names, or `auto`; `samplers` goes before a `sampler` that a file below has."""
    return [_named(given) for given in entry.get("samplers", [entry.get("sampler", AUTO)])]


def kind_of(info: ModelInfo) -> str | None:
    """What a model's latents are, a key of `KINDS`; None for a user's own class."""
    if info.is_open:
        return None
    return "codes" if info.posterior in ("codes", "vq") else "continuous"


def label_of(sampler: Named, spec: ModelSpec | None = None) -> str:
    """A sampler's name with the options that it is given, fit for a file name: `transformer-temperature0.9`.

    `auto` is replaced by the sampler that the catalog names for the model of `spec`, if it names one.
    """
    options = sorted(sampler.options.items())
    parts = [_name_of(sampler, spec), *(f"{option}{value}" for option, value in options)]
    return "-".join("".join(c if c.isalnum() or c in "._" else "_" for c in part) for part in parts)


def sampler_mistakes(config: Mapping[str, Any]) -> Iterator[str]:
    """A sampler that is named twice or does not draw what the model takes, and common ones that do not fit."""
    for name, entry in config.get("models", {}).items():
        given = entry or {}
        labels = [label_of(sampler) for sampler in own_samplers(given)]
        for label in dict.fromkeys(label for label in labels if labels.count(label) > 1):
            yield f"models.{name}.samplers: {label} is named twice"
        info = MODELS.get(given.get("model", ""))
        kind = kind_of(info) if info is not None else None
        key = sampler_key(given)
        for sampler in own_samplers(given):
            if kind is not None and sampler.name in _of_others(kind):
                yield f"models.{name}.{key}: {sampler.name} does not draw {kind}, as {given['model']} needs"
    for kind, shared in config["samples"]["common"].items():
        place = dotted(("samples", "common", kind))
        if shared is not None and _named(shared).name in {AUTO, *_of_others(kind)}:
            yield f"{place}: {_named(shared).name} does not draw {kind}; choose from {', '.join(KINDS[kind])}"
        elif shared is not None and (reason := why_no_options(_named(shared))):
            yield f"{place}.options: {reason}"


def code_mistakes(
    name: str, entry: Mapping[str, Any], spec: ModelSpec, common: Mapping[str, Any], grid: tuple[int, int] | None
) -> Iterator[str]:
    """Samplers of a run, of the entry of that name, or common ones, that cannot draw its codes: of several levels, or
    on a grid that has no whole patches; the grid is None where it is not known."""
    info = MODELS.get(spec.model) if spec.model is not None else None
    levels = info.code_levels(spec.config) if info is not None else 1
    samplers = [(f"models.{name}.{sampler_key(entry)}", sampler) for sampler in own_samplers(entry)]
    if common.get("codes") is not None:
        samplers.append(("samples.common.codes", _named(common["codes"])))
    for place, sampler in samplers:
        if sampler.name == "pixelcnn" and levels > 1:
            yield f"{place}: pixelcnn draws one level of codes, not {levels} ({spec.run}); transformer draws all"
        if grid is None or why_no_options(sampler, spec) is not None:
            continue
        if reason := why_no_patches(sampler.options, grid):
            yield f"{place}.options: {sampler.name}: {reason} ({spec.run})"


def sampler_key(entry: Mapping[str, Any]) -> str:
    """The key under which an entry names its samplers."""
    return "samplers" if "samplers" in entry else "sampler"


def why_no_options(sampler: Named, spec: ModelSpec | None = None) -> str | None:
    """Why a sampler cannot have its options, for the model of `spec` where given, whose configuration is sound.

    None where it can, and where only the model could tell: for a model's own prior, and for a user's own class.
    """
    info = MODELS.get(spec.model) if spec is not None and spec.model is not None else None
    if info is not None and info.is_open:
        return None
    name = _name_of(sampler, spec)
    return SAMPLER_OPTIONS.why_not({name: sampler.options}) if name in SAMPLER_OPTIONS.options else None


def _name_of(sampler: Named, spec: ModelSpec | None) -> str:
    """The sampler's name, or for `auto` the one that the catalog names for the model of `spec`, if it names one."""
    info = MODELS.get(spec.model) if spec is not None and spec.model is not None else None
    if sampler.name != AUTO or info is None or spec is None:
        return sampler.name
    return info.sampler_of(spec.config) or sampler.name


def _of_others(kind: str) -> set[str]:
    """The samplers that draw latents of another kind."""
    return {name for other, names in KINDS.items() if other != kind for name in names}


def _named(given: str | Mapping[str, Any]) -> Named:
    """A sampler as the configuration has it: its name, or a map of name and options."""
    if isinstance(given, str):
        return Named(given)
    return Named(given["name"], dict(sorted(given.get("options", {}).items())))
