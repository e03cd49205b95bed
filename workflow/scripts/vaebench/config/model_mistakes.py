"""Mistakes in the entries under `models` that the schema cannot know: models, their fields, sweeps and networks.

The Snakefile reads this module on every start: what is known about models and networks comes from the catalogs.
"""

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaebench.base.importable import why_not_importable
from vaebench.base.layout import runs_folder, training_folder
from vaebench.config.runs import combinations, resolved_run
from vaebench.config.sampler_entries import code_mistakes, kind_of, sampler_key, samplers_of, why_no_options
from vaebench.config.schema import is_number, listing, unknown, yaml_number
from vaebench.config.training_settings import mistakes_in_training
from vaebench.models.catalog import GRID, NETS, ModelInfo, grid_size
from vaebench.models.label_names import FIELD
from vaebench.models.lookup import MODELS, conditioning_labels
from vaebench.models.run_spec import RunSpec
from vaebench.models.terms.term_fields import FIELDS, why_too_small

LONGEST_NAME = 200  # letters of a run, by which its folder is called; file systems take 255 bytes
TRAINING_SWEEPS = ("batch_size", "epochs", "gradients", "learning_rate", "precision", "vq_scale")


@dataclass(frozen=True)
class Checks:
    """How far the entries of a configuration are checked.

    shape: (C, H, W) of the images, which networks and terms must suit; None where it is not known. to_run: whether runs
    are about to start, so that networks of a user's own and folders of pretrained models must be found, and unusual
    optimizers and schedules are tried.
    """

    shape: tuple[int, int, int] | None
    to_run: bool


def model_mistakes(config: Mapping[str, Any], checks: Checks) -> Iterator[str]:
    """Every mistake, as `key path: reason`, in a configuration that the schema allows and that has its defaults."""
    entries = {entry: settings for entry, settings in config.get("models", {}).items() if settings is not None}
    if not entries:
        yield "models: every entry is null; give at least one model"
    names: set[str] = set()
    for entry, settings in entries.items():
        mistakes = list(_entry_mistakes(f"models.{entry}", settings))
        yield from mistakes
        if mistakes:
            continue
        for values in combinations(settings.get("sweep", {})):
            spec = resolved_run(entry, settings, values, config["training"])
            if spec.run in names:
                yield f"models.{entry}: two runs would be called {spec.run!r}; change a value of its sweep"
            names.add(spec.run)
            if len(spec.run) > LONGEST_NAME:
                yield (
                    f"models.{entry}: the run {spec.run[:40]}... would have a name of {len(spec.run)} letters, of "
                    f"which a file's may have {LONGEST_NAME}; sweep fewer keys, or give the entry a shorter name"
                )
            yield from _run_mistakes(config, settings, spec, checks.shape)
            if spec.pretrained is not None and checks.to_run and (reason := _why_not_here(config, spec)):
                yield f"models.{entry}.pretrained.path: {reason}"
            if spec.pretrained is None:
                yield from _net_mistakes(f"models.{entry}", spec, checks)
                for key, reason in mistakes_in_training(spec, checks.shape, checks.to_run):
                    yield f"{_place(entry, settings, f'training.{key}')}: {reason}"


def _run_mistakes(
    config: Mapping[str, Any], settings: Mapping[str, Any], spec: RunSpec, shape: tuple[int, int, int] | None
) -> Iterator[str]:
    """Mistakes of one run of an entry, whose own keys are sound: in its fields, samplers and labels."""
    entry = f"models.{spec.entry}"
    if spec.model is not None and (reason := MODELS[spec.model].why_not_together(spec.config)):
        yield f"{entry}.config: {reason}"
    if shape is not None and _takes_terms(spec) and (reason := why_too_small(spec.config, shape)):
        yield f"{entry}.config.{reason}"
    for sampler in samplers_of(spec, settings, {}):
        if reason := why_no_options(sampler, spec):
            yield f"{entry}.{sampler_key(settings)}.options: {reason}"
    grid = None if shape is None else grid_of(spec, shape)
    yield from code_mistakes(spec.entry, settings, spec, config["samples"]["common"], grid)
    if conditioning_labels(spec) and config.get("dataset", {"labels": "not known"})["labels"] is None:
        yield f"{entry}.config.{FIELD}: the data set has no labels: give dataset.labels, or null here"


def _why_not_here(config: Mapping[str, Any], spec: RunSpec) -> str | None:
    """Why a pretrained model cannot be taken from its folder; None also where it was, or the study may make it."""
    source, results = spec.pretrained, Path(config["results_dir"])
    reason = source and source.why_not_here()
    if not reason or not source or Path(source.path or "").expanduser().absolute().is_relative_to(results.absolute()):
        return None
    runs = runs_folder(results / config.get("dataset", {}).get("name", ""))
    imported = training_folder(runs, spec.run, "*") / "final_model"
    return None if glob.glob(str(imported)) else reason


def _takes_terms(spec: RunSpec) -> bool:
    """Whether the run's model can be trained on added terms."""
    return spec.model is not None and FIELDS.keys() <= MODELS[spec.model].fields.keys()


def _place(entry: str, settings: Mapping[str, Any], key: str) -> str:
    """Where an entry has a key of its `training` from: its sweep, its own section, or the section for all."""
    if key in settings.get("sweep", {}):
        return f"models.{entry}.sweep.{key}"
    return f"models.{entry}.{key}" if key.split(".")[1] in settings.get("training", {}) else key


def _entry_mistakes(path: str, settings: Mapping[str, Any]) -> Iterator[str]:
    """Mistakes in an entry's own keys: `pretrained`, `model`, `config` and `sweep`."""
    if "pretrained" in settings:
        if len({"hf_hub", "path"} & settings["pretrained"].keys()) != 1:
            yield f"{path}.pretrained: give either hf_hub or path"
        if settings.get("sweep"):
            yield f"{path}.sweep: a pretrained model is what its files say; leave the sweep out, or set it to null"
        if "model" not in settings:
            return
    model = settings.get("model")
    if model is None:
        yield f"{path}.model: missing; choose from {listing(MODELS)}"
    elif model not in MODELS:
        yield f"{path}.model: {unknown(model, MODELS, what='model')}"
    else:
        for field, value in settings.get("config", {}).items():
            yield from _field_mistakes(f"{path}.config.{field}", MODELS[model], field, value)
        for key, values in settings.get("sweep", {}).items():
            yield from _sweep_mistakes(f"{path}.sweep.{key}", MODELS[model], key, values)


def _sweep_mistakes(path: str, model: ModelInfo, key: str, values: Sequence[object]) -> Iterator[str]:
    """Mistakes in one swept key: a field of the model, or a key of the section `training`."""
    if not key.startswith("training."):
        for value in values:
            yield from _field_mistakes(path, model, key, value)
    elif (name := key.removeprefix("training.")) not in TRAINING_SWEEPS:
        yield f"{path}: {unknown(name, TRAINING_SWEEPS, what='training key')}"


def _field_mistakes(path: str, model: ModelInfo, field: str, value: object) -> Iterator[str]:
    """A field that the model lacks, or a value of another type than the field's default."""
    if model.is_open:
        return
    if field not in model.fields:
        yield f"{path}: {unknown(field, model.fields, what=f'field of {model.name}')}"
        return
    default = model.fields[field]
    if field not in model.of_any_kind and not _same_kind(value, default):
        hint = f"; write {yaml_number(value)}" if isinstance(value, str) and is_number(value) else ""
        yield f"{path}: {value!r} is no {_kind(default)} as {field} must be (default {default!r}){hint}"
    elif reason := model.check(field, value):
        yield f"{path}: {reason}"


def _same_kind(value: object, default: object) -> bool:
    return default is None or value is None or _kind(value) == _kind(default)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, Mapping):
        return "map"
    return "list" if isinstance(value, list | tuple) else "text"


def _net_mistakes(path: str, spec: RunSpec, checks: Checks) -> Iterator[str]:
    """Networks that are missing, unknown, cannot be found, or do not suit the model and the images."""
    info = MODELS[spec.model_name]
    if info.is_open:
        if "." in spec.model_name and checks.to_run and (reason := why_not_importable(spec.model_name)):
            yield f"{path}.model: {spec.model}: {reason}"
        if any(spec.nets.values()):
            yield f"{path}.nets: {spec.model} brings its own networks; leave nets out"
    for role in spec.nets.keys() - {*info.nets}:
        if spec.nets[role] is not None and not info.is_open:
            yield f"{path}.nets.{role}: {spec.model} has none; leave it out"
    for role in info.nets:
        if reason := _why_not_net(role, spec, checks):
            yield f"{path}.nets.{role}: {reason}"
    if checks.shape is not None and (reason := _why_other_grids(spec, info, checks.shape)):
        yield f"{path}.nets: {reason}"


def _why_not_net(role: str, spec: RunSpec, checks: Checks) -> str | None:
    """Why a run cannot have the network that it names for a role; None when it can, as far as it is checked."""
    network = spec.networks.get(role)
    if network is None:
        return f"{spec.model} needs one; choose from {listing(NETS)} or a dotted path"
    if "." in network.name:
        reason = why_not_importable(network.name) if checks.to_run else None
        return reason and f"{network.name}: {reason}"
    if network.name not in NETS:
        return unknown(network.name, NETS, what="net")
    if checks.shape is None:
        return NETS[network.name].why_not(network.options)
    return NETS[network.name].check(role, MODELS[spec.model_name], checks.shape, spec.config, network.options)


def grid_of(spec: RunSpec, shape: tuple[int, int, int]) -> tuple[int, int] | None:
    """Rows and columns of the codes of images (C, H, W), where the family of a run's encoder tells."""
    if spec.model is None or kind_of(MODELS[spec.model]) != "codes":
        return None
    encoder = spec.networks.get("encoder")
    family = NETS.get(encoder.name) if encoder else None
    if family is None or family.added or GRID not in family.heads:
        return None
    return grid_size(shape[1:], family.stride(shape, spec.config))


def _why_other_grids(spec: RunSpec, info: ModelInfo, shape: tuple[int, int, int]) -> str | None:
    """Why the grid that the encoder gives is not the one that the decoder takes; None where it is, or is not known."""
    found = [spec.networks.get(role) for role in ("encoder", "decoder")]
    names = [network.name for network in found if network]
    families = [NETS[name] for name in names if name in NETS and GRID in NETS[name].heads and not NETS[name].added]
    strides = {family.name: family.stride(shape, spec.config) for family in families}
    if info.head(spec.config) != GRID or len({*strides.values()}) < 2:
        return None
    made = [f"{name} has a vector for each {stride}x{stride} pixels" for name, stride in strides.items()]
    return f"encoder and decoder have different grids: {', '.join(made)}; choose another of them"
