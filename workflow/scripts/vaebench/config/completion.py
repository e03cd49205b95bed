"""The study's configuration: defaults from the schema, and every mistake named before a job starts.

The Snakefile reads this module on every start, so nothing heavy is imported here.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from vaebench.base.errors import UserError
from vaebench.base.importable import is_installed
from vaebench.base.plugin_files import use_plugins
from vaebench.config.model_mistakes import Checks, model_mistakes
from vaebench.config.registered import with_registered_names
from vaebench.config.sampler_entries import sampler_mistakes
from vaebench.config.schema import (
    KeyPath,
    dotted,
    fill_defaults,
    listing,
    one_holds_the_other,
    without_mistakes,
)
from vaebench.config.sections import FILES, input_shape
from vaebench.config.tuning_entries import tuning_mistakes
from vaebench.data.cropping import crop_box
from vaebench.models.feature_networks import FEATURE_NETWORKS

SCHEMA = Path(__file__).with_name("config.schema.yaml")  # a link to workflow/schemas


def load_schema(path: Path | str = SCHEMA) -> dict[str, Any]:
    """The JSON schema of the configuration, from its YAML file, with the names that are registered here."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in a tenth of the time, where PyYAML was built with it
    return with_registered_names(yaml.load(Path(path).read_text(), Loader=loader))


def complete(config: Mapping[str, Any], schema: dict[str, Any], to_run: bool = True) -> dict[str, Any]:
    """A copy of `config` with the schema's defaults filled in, after checking all of it.

    `to_run`: whether runs are about to start, so that networks of a user's own and the tracker must be found, and
    unusual optimizers and schedules are tried. The plugins that it names are in use from now on, also in the schema.
    Raises `UserError` with one line per mistake: the key's path, what is wrong and what is allowed.
    """
    problems = _plugin_mistakes(config)
    schema = with_registered_names(schema)
    config, mistakes = without_mistakes(config, schema)
    _choose_one_way_to_the_images(config.get("dataset", {}))
    _take_null_sweeps_away(config.get("models", {}))
    fill_defaults(config, schema, schema)
    _fill_in_variables(config)
    lines = problems + [f"{dotted(path)}: {text}" for path, text in mistakes.items()]
    removed = [tuple(dotted(path).split(".")) for path in mistakes]
    checks = Checks(_shape_if_sound(config, mistakes), to_run)
    found = [
        *_folder_mistakes(config),
        *_split_mistakes(config),
        *_file_mistakes(config),
        *_size_mistakes(config, _are_sizes_sound(mistakes)),
        *sampler_mistakes(config),
        *model_mistakes(config, checks),
        *_reference_mistakes(config),
        *tuning_mistakes(config, schema, checks),
    ]
    if to_run:
        found += _tracking_mistakes(config["tracking"])
    for mistake in dict.fromkeys(found):
        path = tuple(mistake.partition(":")[0].split("."))
        if not any(one_holds_the_other(path, other) for other in removed):
            lines.append(mistake)
    if lines:
        raise UserError(
            "\n  ".join([f"mistakes in the configuration, {len(lines)}:", *lines])
            + "\nconfig/README.md explains every key"
        )
    return config


def _folder_mistakes(config: dict[str, Any]) -> Iterator[str]:
    """Fill in the home and the environment's variables in `data_dir` and `results_dir`; where these cannot be."""
    for key in ("data_dir", "results_dir"):
        config[key] = os.path.expandvars(os.path.expanduser(config[key]))
        if unset := re.search(r"\$\{?\w+\}?", config[key]):
            yield f"{key}: the environment has no variable {unset[0]}"
        elif config[key].startswith("~"):
            yield f"{key}: there is no home of {config[key].split('/')[0]}; give the whole path"
        elif set("{}") & set(config[key]) or not config[key].isprintable():
            yield f"{key}: {config[key]!r} holds a brace or a line break, which Snakemake cannot have in a path"
        elif (file := _file_in_the_way(Path(config[key]))) is not None:
            yield f"{key}: {file} is a file, where a folder is needed"


def _fill_in_variables(config: Mapping[str, Any]) -> None:
    """Fill in the environment's variables in the paths of files and pretrained models; an unset one stays as it is."""
    described = [*(config.get("dataset", {}).get(kind) for kind in FILES), *config["weights"].values()]
    places = [source for block in described if isinstance(block, dict) for source in block.get("source", ())]
    places += [entry["pretrained"] for entry in config.get("models", {}).values() if entry and "pretrained" in entry]
    for place in places:
        if "path" in place:
            place["path"] = os.path.expandvars(place["path"])


def _plugin_mistakes(config: Mapping[str, Any]) -> list[str]:
    """Use the plugins of the configuration; what is wrong with them."""
    plugins = config.get("plugins")
    sound = isinstance(plugins, list) and all(isinstance(plugin, str) for plugin in plugins)
    try:
        use_plugins(plugins if plugins and sound else ())
    except UserError as mistakes:
        return [f"plugins: {mistake}" for mistake in str(mistakes).splitlines()]
    return []


def _file_in_the_way(folder: Path) -> Path | None:
    """The file that lies where a folder, or one that it is to lie in, is needed."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return None if there.is_dir() else there


def _choose_one_way_to_the_images(dataset: dict[str, Any]) -> None:
    """Let a source of images be taken before a generator, and a split be drawn where there is no partition."""
    if (dataset.get("images") or {}).get("source"):
        dataset["generator"] = None
    if dataset.get("partition") is None and dataset.get("split") is None:
        dataset["split"] = {}


def _take_null_sweeps_away(models: dict[str, Any]) -> None:
    """Leave no null in the sweeps: by it a configuration takes away what the one below it gave."""
    for settings in models.values():
        if settings and "sweep" in settings:
            settings["sweep"] = {key: values for key, values in (settings["sweep"] or {}).items() if values is not None}


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


def _file_mistakes(config: Mapping[str, Any]) -> Iterator[str]:
    """Two files of the data set under one name: they would lie in the same place."""
    dataset = config.get("dataset", {})
    owner = {"split.txt": "split"} if dataset.get("split") else {}
    if dataset.get("labels") == "folder":
        owner["classes.csv"] = "labels"
    for kind in FILES:
        block = dataset.get(kind)
        if not isinstance(block, dict) or "file" not in block or (kind == "partition" and dataset.get("split")):
            continue
        if (other := owner.setdefault(block["file"], kind)) != kind:
            yield f"dataset.{kind}.file: {block['file']} is the file of dataset.{other} too; rename one"


def _size_mistakes(config: Mapping[str, Any], sizes_are_sound: bool) -> Iterator[str]:
    """A box without an inside, and what no image can meet that has the size which all must have."""
    crop, images = config["preprocessing"]["crop"], config["validation"]
    left, top, right, bottom = (crop or {}).get("box") or (0, 0, 1, 1)
    if left >= right or top >= bottom:
        yield "preprocessing.crop.box: it holds nothing; right must be more than left, and bottom more than top"
        return
    if not sizes_are_sound:
        return
    for side in ("width", "height"):
        if None not in (least := images[f"min_{side}"], size := images[side]) and least > size:
            yield f"validation.min_{side}: {least} is more than validation.{side}, {size}: no image is of use"
    if images["width"] and images["height"]:
        try:
            crop_box(crop, images["width"], images["height"])
        except UserError as error:
            yield f"preprocessing.crop: {str(error).removeprefix('preprocessing.crop ')} (validation.width and height)"


def _shape_if_sound(config: Mapping[str, Any], mistakes: Iterable[KeyPath]) -> tuple[int, int, int] | None:
    """The shape of the images, unless a mistake in what decides about it was taken out."""
    return input_shape(config) if _are_sizes_sound(mistakes) else None


def _are_sizes_sound(mistakes: Iterable[KeyPath]) -> bool:
    """Whether no mistake was taken out of what decides about the size of images."""
    return not any(path[:1] in (("preprocessing",), ("validation",)) for path in mistakes)


def _reference_mistakes(config: Mapping[str, Any]) -> Iterator[str]:
    """Names that one section takes from another, which does not have them."""
    models = config.get("models", {})
    if config["evaluation"]["factors"] and "dataset" in config and config["dataset"]["labels"] is None:
        yield "evaluation.factors: the data set has no labels: give dataset.labels, or leave the factors out"
    entries = [entry for entry, settings in models.items() if settings is not None]
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
    """A tracker whose package is not installed."""
    if name != "none" and not is_installed(name):
        yield f"tracking: the package {name} is not installed; pip install {name}, or set tracking: none"
