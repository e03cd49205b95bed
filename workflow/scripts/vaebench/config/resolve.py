"""The study's configuration: defaults from the schema, every mistake named before a job starts, and the runs it plans.

The Snakefile reads this module on every start, so nothing heavy is imported here: what is known about models and nets
comes from the catalogs.
"""

import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from vaebench.base.errors import UserError
from vaebench.base.evaluation_settings import EvaluationSettings
from vaebench.base.importable import why_not_importable
from vaebench.base.plugin_files import use_plugins
from vaebench.base.values import from_dict
from vaebench.config.registered import with_registered_names
from vaebench.config.sampler_entries import label_of, sampler_mistakes, samplers_of
from vaebench.config.schema import (
    KeyPath,
    dotted,
    fill_defaults,
    is_number,
    listing,
    one_holds_the_other,
    unknown,
    without_mistakes,
    yaml_number,
)
from vaebench.config.training_settings import mistakes_in_training
from vaebench.download.file_source import FileSource
from vaebench.models.catalog import NETS, ModelInfo
from vaebench.models.feature_networks import FEATURE_NETWORKS, weights_needed
from vaebench.models.lookup import MODELS, trained_on_by
from vaebench.models.run_spec import RunSpec

SCHEMA = Path(__file__).with_name("config.schema.yaml")  # a link to workflow/schemas
FILES = ("images", "partition", "labels", "identity", "landmarks", "boxes")  # of a data set
TRAINING_SWEEPS = ("batch_size", "epochs", "gradients", "learning_rate", "precision", "vq_scale")


def load_schema(path: Path | str = SCHEMA) -> dict[str, Any]:
    """The JSON schema of the configuration, from its YAML file, with the names that are registered here."""
    return with_registered_names(yaml.safe_load(Path(path).read_text()))


def complete(config: Mapping[str, Any], schema: dict[str, Any], find_networks: bool = True) -> dict[str, Any]:
    """A copy of `config` with the schema's defaults filled in, after checking all of it.

    `find_networks`: whether something is to be run, so that networks of one's own and the tracker must be found, and
    unusual optimizers and schedules are tried. The plugins that it names are in use from now on, also in the schema.
    Raises `UserError` with one line per mistake: the key's path, what is wrong and what is allowed.
    """
    problems = _plugin_mistakes(config)
    schema = with_registered_names(schema)
    config, mistakes = without_mistakes(config, schema)
    _choose_one_way_to_the_images(config.get("dataset", {}))
    fill_defaults(config, schema, schema)
    lines = problems + [f"{dotted(path)}: {text}" for path, text in mistakes.items()]
    removed = [tuple(dotted(path).split(".")) for path in mistakes]
    found = [
        *_split_mistakes(config),
        *sampler_mistakes(config),
        *_model_mistakes(config, _shape_if_sound(config, mistakes), find_networks),
    ]
    if find_networks:
        found += _tracking_mistakes(config["tracking"])
    for mistake in dict.fromkeys(found):
        path = tuple(mistake.partition(":")[0].split("."))
        if not any(one_holds_the_other(path, other) for other in removed):
            lines.append(mistake)
    for key in ("data_dir", "results_dir"):
        config[key] = os.path.expandvars(os.path.expanduser(config[key]))
        if unset := re.search(r"\$\{?\w+\}?", config[key]):
            lines.append(f"{key}: the environment has no variable {unset[0]}")
        elif set("{}\n") & set(config[key]):
            lines.append(f"{key}: {config[key]!r} holds a brace or a line break, which Snakemake cannot have in a path")
    if lines:
        raise UserError(
            "\n  ".join([f"mistakes in the configuration, {len(lines)}:", *lines])
            + "\nconfig/README.md explains every key"
        )
    return config


def raw_files(config: Mapping[str, Any]) -> dict[str, FileSource]:
    """The data set's files by kind, such as `images`; a partition that `split` makes is none."""
    dataset = config["dataset"]
    blocks = {kind: dataset[kind] for kind in FILES if isinstance(dataset[kind], dict)}
    if dataset["split"]:
        blocks.pop("partition", None)
    return {kind: FileSource.of(block) for kind, block in blocks.items()}


def images_kept(config: Mapping[str, Any]) -> int | None:
    """How many images of each split preprocessing keeps at most; None: all."""
    limit = config["preprocessing"]["limit"]
    images: int | None = limit["images"] if isinstance(limit, dict) else limit
    return images


def shipped_weights(schema: dict[str, Any]) -> dict[str, Any]:
    """The defaults of the section `weights` for the package's own networks, by network."""
    defaults: dict[str, Any] = {}
    fill_defaults(defaults, schema["properties"]["weights"], schema)
    return {network: settings for network, settings in defaults.items() if network in FEATURE_NETWORKS.own}


def expand_runs(config: Mapping[str, Any]) -> dict[str, RunSpec]:
    """One fully resolved specification per run, by the run's name, from a completed configuration.

    Its mappings are sorted at every level, so that two equal specifications also print equally.
    """
    runs: dict[str, RunSpec] = {}
    for entry, settings in config["models"].items():
        if settings is not None:
            for values in _combinations(settings.get("sweep", {})):
                spec = _resolve(entry, settings, values, config["training"])
                first = samplers_of(spec, settings, config["samples"]["common"])[0]
                runs[spec.run] = replace(spec, sampler=first)
    return runs


def drawn_runs(config: Mapping[str, Any], runs: Mapping[str, RunSpec]) -> dict[str, dict[str, RunSpec]]:
    """Each run as drawn by each of its samplers, by the sampler's label; it is compared by the first."""
    common = config["samples"]["common"]
    return {
        run: {
            label_of(sampler, spec): replace(spec, sampler=sampler)
            for sampler in samplers_of(spec, config["models"][spec.entry], common)
        }
        for run, spec in runs.items()
    }


def seeds_of(spec: RunSpec, seeds: list[int]) -> list[int]:
    """The seeds a run is trained with: all of them, or only the first for a pretrained model, which has no training."""
    return seeds if spec.pretrained is None else seeds[:1]


def suites(config: Mapping[str, Any]) -> list[str]:
    """The suites of metrics that are computed for every training."""
    evaluation = config["evaluation"]
    return [*evaluation["suites"], *(["legacy"] if evaluation["protocol"] == "legacy" else [])]


def networks(config: Mapping[str, Any]) -> list[str]:
    """The fixed networks that metrics and losses need weights of."""
    trained_on = {name for spec in expand_runs(config).values() for name in trained_on_by(spec)}
    return sorted(trained_on.union(measuring_networks(config)))


def measuring_networks(config: Mapping[str, Any]) -> list[str]:
    """The fixed networks that the metrics need weights of."""
    return weights_needed(evaluation_settings(config))


def evaluation_settings(config: Mapping[str, Any]) -> EvaluationSettings:
    """The section `evaluation`."""
    return from_dict(EvaluationSettings, config["evaluation"], "evaluation")


def input_shape(config: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """Channels, height and width of the preprocessed images; None when only the images themselves can tell."""
    preprocessing, validation = config["preprocessing"], config["validation"]
    height_width = preprocessing["size"]
    if height_width is None and preprocessing["crop"] is None:
        height_width = [validation["height"], validation["width"]]
    elif height_width is None and "box" in preprocessing["crop"]:
        left, top, right, bottom = preprocessing["crop"]["box"]
        height_width = [bottom - top, right - left]
    elif height_width is None:
        center = preprocessing["crop"]["center"]
        height_width = center if isinstance(center, list) else [center, center]
    return None if None in height_width else (preprocessing["channels"], *height_width)


def _plugin_mistakes(config: Mapping[str, Any]) -> list[str]:
    """Use the plugins of the configuration; what is wrong with them."""
    plugins = config.get("plugins")
    sound = isinstance(plugins, list) and all(isinstance(plugin, str) for plugin in plugins)
    try:
        use_plugins(plugins if plugins and sound else ())
    except UserError as mistakes:
        return [f"plugins: {mistake}" for mistake in str(mistakes).splitlines()]
    return []


def _resolve(
    entry: str, settings: Mapping[str, Any], values: Mapping[str, Any], training: Mapping[str, Any]
) -> RunSpec:
    """The specification of one run: an entry of the configuration with one combination of its sweep."""
    prefix = "training."
    swept_training = {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
    swept_config = {key: value for key, value in values.items() if not key.startswith(prefix)}
    labels = [_swept(key.removeprefix(prefix), value) for key, value in values.items()]
    spec = {
        "run": "-".join([entry, *labels]),
        "entry": entry,
        "model": settings.get("model"),
        "nets": {"encoder": None, "decoder": None, "discriminator": None} | settings.get("nets", {}),
        "config": settings.get("config", {}) | swept_config,
        "training": {**training, **settings.get("training", {}), **swept_training},
        "sampler": {"name": "auto", "options": {}},
        "pretrained": settings.get("pretrained"),
    }
    return from_dict(RunSpec, _sorted(spec), f"models.{entry}")


def _combinations(sweep: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination of the swept values; one empty combination when nothing is swept."""
    for values in itertools.product(*sweep.values()):
        yield dict(zip(sweep, values, strict=True))


def _swept(key: str, value: object) -> str:
    """A swept key and its value as part of a run's name; of one of several things, its name and options alone.

    >>> _swept("beta", 4.0), _swept("quantizer", {"fsq": {"levels": [8, 5]}})
    ('beta4', 'fsq_levels_8__5_')
    """
    if not isinstance(value, Mapping):
        return f"{key}{_label(value)}"
    parts = []
    for name, options in value.items():
        given = options.items() if isinstance(options, Mapping) else ()
        parts.append("_".join([_label(name), *(_label(option) + _label(each) for option, each in given)]))
    return "-".join(parts)


def _label(value: object) -> str:
    """A swept value as part of a run's name: 4.0 reads 4, and only characters fit for a file name remain."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "".join(character if character.isalnum() or character in ".-_" else "_" for character in text)


def _sorted(value: Mapping[str, Any]) -> dict[str, Any]:
    """`value` with the keys of every mapping in it in alphabetical order."""
    ordered: dict[str, Any] = json.loads(json.dumps(value, sort_keys=True))
    return ordered


def _choose_one_way_to_the_images(dataset: dict[str, Any]) -> None:
    """Let a source of images be taken before a generator, and a split be drawn where there is no partition."""
    if (dataset.get("images") or {}).get("source"):
        dataset["generator"] = None
    if dataset.get("partition") is None and dataset.get("split") is None:
        dataset["split"] = {}


def _split_mistakes(config: Mapping[str, Any]) -> Iterator[str]:
    """Shares that are not the whole, and persons without a file that names them."""
    dataset = config.get("dataset", {})
    split = dataset.get("split")
    if not split:
        return
    total = split["train"] + split["eval"] + split["test"]
    if abs(total - 1) > 1e-6:
        yield f"dataset.split: train, eval and test add up to {total:g}; they must add up to 1"
    if split["by"] == "identity" and dataset.get("identity") is None:
        yield "dataset.split.by: identity needs a file that names the persons: give dataset.identity"


def _shape_if_sound(config: Mapping[str, Any], mistakes: Iterable[KeyPath]) -> tuple[int, int, int] | None:
    """The shape of the images, unless a mistake in what decides about it was taken out."""
    if any(path[:1] in (("preprocessing",), ("validation",)) for path in mistakes):
        return None
    return input_shape(config)


def _model_mistakes(
    config: Mapping[str, Any], shape: tuple[int, int, int] | None, find_networks: bool
) -> Iterator[str]:
    """What the schema cannot know: models, their fields, sweeps, nets, names, and references between sections.

    `shape` (C, H, W) is that of the images, None when it is not known.
    """
    names: set[str] = set()
    tried: dict[str, Any] | None = {} if find_networks else None
    models = config.get("models", {})
    entries = {entry: settings for entry, settings in models.items() if settings is not None}
    if not entries:
        yield "models: every entry is null; give at least one model"
    for entry, settings in entries.items():
        mistakes = list(_entry_mistakes(f"models.{entry}", settings))
        yield from mistakes
        if mistakes:
            continue
        for values in _combinations(settings.get("sweep", {})):
            spec = _resolve(entry, settings, values, config["training"])
            if spec.run in names:
                yield f"models.{entry}: two runs would be called {spec.run!r}; change a value of its sweep"
            names.add(spec.run)
            if spec.pretrained is None:
                yield from _net_mistakes(f"models.{entry}", spec, shape, find_networks)
                for key, reason in mistakes_in_training(spec, shape, tried):
                    yield f"{_place(entry, settings, f'training.{key}')}: {reason}"
    baseline = config["statistics"]["baseline"]
    if baseline is not None and entries and baseline not in models:
        yield f"statistics.baseline: {baseline!r} is no entry under models; choose from {listing(entries)} or null"
    for name in config["evaluation"]["distribution"]["features"]:
        key = FEATURE_NETWORKS[name].weights
        if FEATURE_NETWORKS[name].needs_weights and config["weights"][key] is None:
            yield (
                f"weights.{key}: evaluation.distribution.features names {name}, which needs weights.{key}; give "
                "it a source or leave it out"
            )


def _tracking_mistakes(name: str) -> Iterator[str]:
    """A tracker whose package is not installed; a folder of its name, as wandb makes one, is no package."""
    package = None if name == "none" else find_spec(name)
    if name != "none" and (package is None or package.origin is None):
        yield f"tracking: the package {name} is not installed; pip install {name}, or set tracking: none"


def _place(entry: str, settings: Mapping[str, Any], key: str) -> str:
    """Where an entry has a key of its `training` from: its sweep, its own section, or the section for all."""
    if key in settings.get("sweep", {}):
        return f"models.{entry}.sweep.{key}"
    return f"models.{entry}.{key}" if key.split(".")[1] in settings.get("training", {}) else key


def _entry_mistakes(path: str, settings: Mapping[str, Any]) -> Iterator[str]:
    """Mistakes of one entry under `models` that concern its own keys."""
    if "pretrained" in settings:
        if len({"hf_hub", "path"} & settings["pretrained"].keys()) != 1:
            yield f"{path}.pretrained: give either hf_hub or path"
        if "model" not in settings:
            return
    model = settings.get("model")
    if model is None:
        yield f"{path}.model: missing; choose from {listing(MODELS)}"
        return
    if model not in MODELS:
        yield f"{path}.model: {unknown(model, MODELS, what='model')}"
        return
    info = MODELS[model]
    for field, value in settings.get("config", {}).items():
        yield from _field_mistakes(f"{path}.config.{field}", info, field, value)
    for key, values in settings.get("sweep", {}).items():
        if key.startswith("training."):
            if key.removeprefix("training.") not in TRAINING_SWEEPS:
                reason = unknown(key.removeprefix("training."), TRAINING_SWEEPS, what="training key")
                yield f"{path}.sweep.{key}: {reason}"
        else:
            for value in values:
                yield from _field_mistakes(f"{path}.sweep.{key}", info, key, value)


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


def _net_mistakes(path: str, spec: RunSpec, shape: tuple[int, int, int] | None, find_networks: bool) -> Iterator[str]:
    """Nets that are missing, unknown, not to be found or unable to give the latent shape for these images."""
    info = MODELS[spec.model_name]
    if info.is_open:
        if "." in spec.model_name and find_networks and (reason := why_not_importable(spec.model_name)):
            yield f"{path}.model: {spec.model}: {reason}"
        if any(spec.nets.values()):
            yield f"{path}.nets: {spec.model} brings its own networks; leave nets out"
    for role in info.nets:
        name = spec.nets.get(role)
        if name is None:
            yield f"{path}.nets.{role}: {spec.model} needs one; choose from {listing(NETS)} or a dotted path"
        elif "." not in name and name not in NETS:
            yield f"{path}.nets.{role}: {unknown(name, NETS, what='net')}"
        elif "." in name and find_networks and (reason := why_not_importable(name)):
            yield f"{path}.nets.{role}: {name}: {reason}"
        elif name in NETS and shape is not None:
            reason = NETS[name].check(role, info, shape, spec.config)
            if reason:
                yield f"{path}.nets.{role}: {reason}"
