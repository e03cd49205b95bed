"""The samplers by name: a module each, imported where it is used; a model's own priors come with the model.

A plugin adds a function from a `Request` to latents.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vaebench.base.errors import UserError
from vaebench.base.fingerprint import Code
from vaebench.base.plugin_files import Added, PluginError, added, blamed
from vaebench.models.lookup import MODELS
from vaebench.models.run_spec import Named, RunSpec
from vaebench.models.sampler_names import AUTO, CONTINUOUS, OF_CODES, SAMPLERS
from vaebench.models.sampler_options import SAMPLER_OPTIONS, defaults_of

if TYPE_CHECKING:
    from vaebench.models.interface import Autoencoder, Prior
    from vaebench.sampling.request import Drawn, Request


@dataclass(frozen=True)
class Sampler:
    """A sampler for one model: its function, and its options with their defaults.

    takes_labels: for a conditional model it draws one latent for each row of `Request.wanted`; other samplers are
    called once for each row of labels that occurs.
    """

    draw: "Callable[[Request], Drawn]"
    options: Mapping[str, object]
    takes_labels: bool = False


def code_of_sampler(spec: RunSpec) -> Code:
    """The module and options of the run's sampler; those of all samplers, where only the model knows which it is."""
    name = spec.sampler.name
    if name == AUTO:
        name = MODELS[spec.model].sampler_of(spec.config) if spec.model is not None else ""
    known = CONTINUOUS | OF_CODES
    if name in known:
        return Code(frozenset({known[name]}), facts=repr(sorted(defaults_of(name).items())))
    files = [entry.file for entry in added("sampler") if entry.name == name]
    if files:
        return Code(files=frozenset(files))
    if name:
        return Code(facts=repr(sorted(defaults_of(name).items())) if name in SAMPLER_OPTIONS.options else "")
    return Code(frozenset(known.values()), facts=repr([sorted(defaults_of(other).items()) for other in known]))


def resolve_sampler(model: "Autoencoder", sampler: Named) -> tuple[str, dict[str, Any]]:
    """The name behind `auto`, and the options with their defaults; UserError for what does not fit the model."""
    name = model.sampler if sampler.name == AUTO else sampler.name
    defaults = find_sampler(model, name).options
    known = name in SAMPLER_OPTIONS.options and name not in model.priors()
    reason = (
        SAMPLER_OPTIONS.why_not({name: sampler.options}) if known else _why_not_own(name, sampler.options, defaults)
    )
    if reason:
        raise UserError(f"sampler.options: {reason}")
    return name, {**defaults, **sampler.options}


def _why_not_own(name: str, options: Mapping[str, object], defaults: Mapping[str, object]) -> str:
    """Why a model's own prior, or a plugin's sampler, cannot have these options; empty where it can."""
    for option, value in options.items():
        if option not in defaults:
            return f"{name} has no option {option!r}; it has {', '.join(defaults) or 'none'}"
        if reason := _mistake(value, defaults[option]):
            return f"{name}.{option}: {value!r} must be {reason}"
    return ""


def _mistake(value: object, default: object) -> str:
    """What an option must be, when its value is something else: above 0, and whole where its default is, or null."""
    if value is None and default is None:
        return ""
    if isinstance(default, float):
        sound = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
        return "" if sound else "a number above 0"
    sound = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return "" if sound else "a whole number above 0" + (", or null" if default is None else "")


def find_sampler(model: "Autoencoder", name: str) -> Sampler:
    """The sampler of this name for a model; `UserError` for one that is unknown or does not fit."""
    own = model.priors().get(name)
    if own is not None:
        return Sampler(partial(_draw_by_model, own), own.options)
    for entry in added("sampler"):
        if entry.name == name:
            return Sampler(partial(_draw_by_plugin, entry), {})
    if name not in SAMPLERS:
        raise UserError(f"sampler.name: {name!r} is not known; choose {', '.join(SAMPLERS)}")
    if reason := _misfit(model, name):
        raise UserError(f"sampler.name: {name} does not fit {model.name}: {reason}")
    module = import_module((CONTINUOUS | OF_CODES)[name])
    return Sampler(module.draw, defaults_of(name), getattr(module, "TAKES_LABELS", False))


def _draw_by_model(prior: "Prior", request: "Request") -> "Drawn":
    from vaebench.sampling.request import Drawn

    return Drawn(prior.draw(request.count, request.options, request.generator))


def _draw_by_plugin(entry: Added, request: "Request") -> "Drawn":
    from torch import Tensor

    from vaebench.sampling.request import Drawn

    with blamed(entry):
        latents = entry.load()(request)
    if not isinstance(latents, Tensor) or len(latents) != request.count:
        shape = getattr(latents, "shape", None)
        gave = type(latents).__name__ + (f" of the shape {tuple(shape)}" if shape is not None else "")
        raise PluginError(f"{entry.place}: {entry.name} must give a tensor of {request.count} latents, not a {gave}")
    return Drawn(latents)


def _misfit(model: "Autoencoder", name: str) -> str | None:
    if model.codebook_size is None and name in OF_CODES:
        return "it draws codes of a VQ model"
    if model.codebook_size is not None and name not in OF_CODES:
        return f"a VQ model needs codes: {' or '.join(OF_CODES)}"
    if name == "pixelcnn" and model.code_levels > 1:
        return f"it draws one level of codes, not {model.code_levels}"
    owners = [other for other, info in MODELS.items() if info.sampler == name]
    return None if name in CONTINUOUS or name in OF_CODES else f"only {' and '.join(owners)} has this prior"
