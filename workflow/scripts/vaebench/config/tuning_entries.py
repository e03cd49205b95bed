"""Which options of which runs a study tunes, and what is wrong with the section `tuning` that the schema cannot know.

The Snakefile reads this module on every start, so nothing heavy is imported here.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from vaebench.base.errors import UserError
from vaebench.config.model_mistakes import Checks, model_mistakes
from vaebench.config.runs import combinations, resolved_run
from vaebench.config.schema import listing, unknown, without_mistakes
from vaebench.config.search_space import Choices, Span, TuningSettings, Value, put, range_of
from vaebench.config.training_settings import why_not_select
from vaebench.models.catalog import ModelInfo
from vaebench.models.lookup import MODELS, code_of_run
from vaebench.models.run_spec import RunSpec

# Keys of the section `training` that are searched; the others say how long, how exactly or where, alike for all trials.
SEARCHED = (
    "augmentation",
    "batch_size",
    "components",
    "ema",
    "learning_rate",
    "optimizer",
    "scheduler",
    "vq_scale",
    "warmup",
)
NEVER = {
    "epochs": "every trial has the same budget: tuning.epochs",
    "seed": "seeds are no options: tuning.seed",
    "seeds": "seeds are no options: tuning.seed",
    **dict.fromkeys(("dataset", "preprocessing", "validation", "decoding"), "the data are the same for all"),
    **dict.fromkeys(("evaluation", "samples", "statistics", "weights"), "what is measured is the same for all"),
    **dict.fromkeys(("nets", "sampler", "samplers", "model"), "it makes another model: give it an entry of its own"),
}
UNITS = ("training", "config")
ANY_DATASET = {"name": "any", "images": {"file": "any"}}  # for the schema, where that of the study may have mistakes


def tuned_runs(config: Mapping[str, Any], runs: Mapping[str, RunSpec]) -> dict[str, TuningSettings]:
    """How each run that is tuned is tuned, by its name, from a completed configuration; none without `tuning`."""
    return {
        run: _settings(config, spec)
        for run, spec in runs.items()
        if spec.pretrained is None and _is_tuned(config, config["models"][spec.entry])
    }


def tuning_mistakes(config: Mapping[str, Any], schema: dict[str, Any], checks: Checks) -> Iterator[str]:
    """Every mistake in what is tuned, as `key path: reason`, where the entries themselves have none."""
    tuning = config.get("tuning")
    if not tuning:
        return
    entries = {name: entry for name, entry in config.get("models", {}).items() if _is_tuned(config, entry)}
    entries = {name: entry for name, entry in entries.items() if entry.get("model", "") in MODELS}
    nobodys = []
    for key in tuning["search"]:
        reasons = [_why_not_path(key, MODELS[entry["model"]]) for entry in entries.values()]
        if reasons and all(reasons):
            nobodys.append(f"tuning.search.{key}: {reasons[0]}")
    if nobodys:
        yield from nobodys
        return
    epochs: dict[int, str] = {}
    for name, entry in entries.items():
        mistakes = list(_entry_mistakes(config, name, entry))
        yield from mistakes
        if not mistakes:
            yield from _value_mistakes(config, schema, checks, name)
            for values in combinations(entry.get("sweep", {})):
                run = resolved_run(name, entry, values, config["training"])
                epochs.setdefault(run.training.epochs, run.run)
    if tuning["epochs"] is None and len(epochs) > 1:
        told = ", ".join(f"{name} {number}" for number, name in epochs.items())
        yield f"tuning.epochs: the runs train for different numbers of epochs ({told}); give one for all trials"


def _is_tuned(config: Mapping[str, Any], entry: Mapping[str, Any] | None) -> bool:
    wanted = bool(config.get("tuning")) and entry is not None and "pretrained" not in entry
    return wanted and entry is not None and entry.get("tuning", {}) is not None


def _settings(config: Mapping[str, Any], spec: RunSpec) -> TuningSettings:
    tuning, entry = config["tuning"], config["models"][spec.entry]
    search = {}
    for path, space in sorted(_search(config, spec.entry).items()):
        space = _of_kind(space, _current(config, entry, path))
        search[path] = {"choices": list(space.values)} if isinstance(space, Choices) else _written(space)
    return TuningSettings(
        trials=tuning["trials"],
        epochs=tuning["epochs"] or spec.training.epochs,
        metric=tuning["metric"],
        search=search,
        sampler=tuning["sampler"],
        pruner=tuning["pruner"],
        seed=tuning["seed"],
    )


def _written(space: Span) -> list[Any]:
    return [space.low, space.high, *(["log"] if space.log else [])]


def _search(config: Mapping[str, Any], name: str) -> dict[str, Span | Choices]:
    """The search space of an entry by the options' paths: what it has of the common one, with its own over it."""
    entry = config["models"][name]
    info = MODELS[entry["model"]]
    common = {_path(key, info): given for key, given in config["tuning"]["search"].items() if _has(key, info)}
    own = {_path(key, info): given for key, given in _own(entry).items()}
    return {path: range_of(given) for path, given in {**common, **own}.items() if given is not None}


def _own(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry searches itself, and None for what it does not search of the common space."""
    return dict((entry.get("tuning") or {}).get("search", {}))


def _entry_mistakes(config: Mapping[str, Any], name: str, entry: Mapping[str, Any]) -> Iterator[str]:
    """Mistakes in what an entry searches, before single values are looked at."""
    info, common = MODELS[entry["model"]], config["tuning"]["search"]
    place = f"models.{name}.tuning.search"
    why_not_own = {key: _why_not_path(key, info) or _why_not_range(given) for key, given in _own(entry).items()}
    why_not_common = {key: _why_not_range(given) for key, given in common.items()}
    wrong = [f"{place}.{key}: {reason}" for key, reason in why_not_own.items() if reason]
    wrong += [f"tuning.search.{key}: {reason}" for key, reason in why_not_common.items() if reason]
    if wrong:
        yield from wrong
        return
    search = _search(config, name)
    if not search:
        yield f"models.{name}: tuning.search has no option of it; give {place}, or set models.{name}.tuning to null"
    swept = {_path(key, info) for key in entry.get("sweep", {})}
    for path in search:
        if path in swept:
            yield f"models.{name}.sweep: {path} is searched too (tuning); leave it out there, or in {place} with null"
    metric, known = config["tuning"]["metric"], info.of(entry.get("config", {}))
    if metric == "last" or why_not_select(known, metric):
        allowed = listing(known.selectable)
        yield f"tuning.metric: {metric!r} is no validation value of {name}; choose from {allowed}"


def _value_mistakes(config: Mapping[str, Any], schema: dict[str, Any], checks: Checks, name: str) -> Iterator[str]:
    """Values at the ends of the search space that the entry cannot have, one option at a time."""
    entry = config["models"][name]
    if _mistakes(config, schema, checks, name, entry):
        return
    for path, space in _search(config, name).items():
        own, common = (_key_of(path, search, entry) for search in (_own(entry), config["tuning"]["search"]))
        place = f"models.{name}.tuning.search.{own}" if own else f"tuning.search.{common}"
        for value in _of_kind(space, _current(config, entry, path)).extremes():
            try:
                changed = _with_value(config, entry, path, value)
            except UserError as error:
                yield f"{place}: {error}"
                break
            if found := _mistakes(config, schema, checks, name, changed):
                yield f"{place}: {value!r} cannot be for {name}: {found[0].partition(': ')[2]}"
            elif reason := _why_another_model(config, name, entry, changed):
                yield f"{place}: {value!r} {reason}"


def _mistakes(
    config: Mapping[str, Any], schema: dict[str, Any], checks: Checks, name: str, entry: Mapping[str, Any]
) -> list[str]:
    """What is wrong with an entry."""
    alone = {"dataset": ANY_DATASET, "models": {name: entry}}
    _, violations = without_mistakes(alone, schema)
    if violations:
        return [f"{'.'.join(map(str, path))}: {text}" for path, text in violations.items()]
    return list(model_mistakes({**config, "models": {name: entry}}, checks))


def _why_another_model(
    config: Mapping[str, Any], name: str, entry: Mapping[str, Any], changed: Mapping[str, Any]
) -> str | None:
    """Why two values of an option cannot be compared: they would not be settings of one model."""
    values = next(combinations(entry.get("sweep", {})))
    one, other = (resolved_run(name, given, values, config["training"]) for given in (entry, changed))
    same = _kind(one) == _kind(other)
    return None if same else "makes another model of it: give it an entry of its own, or a sweep"


def _kind(spec: RunSpec) -> tuple[object, ...]:
    """What is built: objectives and terms, sampler, and the modules of it."""
    info, code = MODELS[spec.model_name], code_of_run(spec)
    return info.of(spec.config), info.sampler_of(spec.config), code.modules, code.files


def _with_value(config: Mapping[str, Any], entry: Mapping[str, Any], path: str, value: Value) -> dict[str, Any]:
    """The entry with another value of an option."""
    unit, first = path.split(".")[:2]
    changed = deepcopy(dict(entry))
    section = changed.setdefault(unit, {})
    if first not in section and first in (config["training"] if unit == "training" else {}):
        section[first] = deepcopy(config["training"][first])
    put(changed, path, value)
    return changed


def _current(config: Mapping[str, Any], entry: Mapping[str, Any], path: str) -> object:
    """The value that an option has, or its default; None where there is none."""
    unit, *steps = path.split(".")
    value: Any = {**config["training"], **entry.get("training", {})}
    if unit == "config":
        value = {**MODELS[entry["model"]].fields, **entry.get("config", {})}
    for step in steps:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _of_kind(space: Span | Choices, current: object) -> Span | Choices:
    """The space; of an option that is a fraction, fractions also between whole bounds."""
    if isinstance(space, Span) and isinstance(current, float):
        return Span(float(space.low), float(space.high), space.log)
    return space


def _key_of(path: str, search: Mapping[str, Any], entry: Mapping[str, Any]) -> str | None:
    """What an option is called in a search space; None where it is not in it."""
    return next((key for key in search if _path(key, MODELS[entry["model"]]) == path), None)


def _path(key: str, info: ModelInfo) -> str:
    """The path of an option that a model has: `beta` is config.beta, `learning_rate` training.learning_rate."""
    first = key.split(".")[0]
    if first in UNITS and "." in key:
        return key
    return f"training.{key}" if first in SEARCHED and first not in info.fields else f"config.{key}"


def _has(key: str, info: ModelInfo) -> bool:
    return _why_not_path(key, info) is None


def _why_not_path(key: str, info: ModelInfo) -> str | None:
    """Why a model has no option of this name that can be searched."""
    unit, first, *more = _path(key, info).split(".")
    if first in NEVER and first not in info.fields:
        return f"{first} is not searched: {NEVER[first]}"
    if unit == "config":
        return (
            None if first in info.fields or info.is_open else unknown(first, [*info.fields, *SEARCHED], what="option")
        )
    if first not in SEARCHED:
        return f"training.{first} is not searched; allowed: {listing(SEARCHED)}"
    if first in info.meaningless:
        return f"{first} changes nothing of {info.name}"
    if first == "components" and more and more[0] not in info.components and not info.is_open:
        return f"{info.name} has no optimizer {more[0]}; allowed: {listing(info.components) or 'none, it has one'}"
    return None


def _why_not_range(given: object) -> str | None:
    if given is None:
        return None
    try:
        range_of(given)
    except UserError as error:
        return str(error)
    return None
