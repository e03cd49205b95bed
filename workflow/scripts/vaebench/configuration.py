"""The study's configuration: defaults from the schema, every mistake named before a job starts, and the runs it plans.

The Snakefile reads this module on every start, so nothing heavy is imported here: what is known about pythae's models
and nets comes from the `catalog`.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator, ValidationError

from vaebench.catalog import MODELS, NETS
from vaebench.errors import UserError

TRAINING_SWEEPS = ("batch_size", "epochs", "gradients", "learning_rate", "precision", "vq_scale")


def load_schema(path: Path | str) -> dict:
    """The JSON schema of the configuration, from its YAML file."""
    return yaml.safe_load(Path(path).read_text())


def complete(config: Mapping, schema: dict) -> dict:
    """A copy of `config` with the schema's defaults filled in, after checking all of it.

    Raises `UserError` with one line per mistake: the key's path, what is wrong and what is allowed.
    """
    config = deepcopy(dict(config))
    mistakes = [_explain(error) for error in Draft202012Validator(schema).iter_errors(config)]
    if not mistakes:
        _fill_defaults(config, schema, schema)
        mistakes = list(dict.fromkeys(_model_mistakes(config)))
    if mistakes:
        listing = "\n".join(f"  {mistake}" for mistake in mistakes)
        raise UserError(
            f"mistakes in the configuration, {len(mistakes)}:\n{listing}\nconfig/README.md explains every key"
        )
    return config


def expand_runs(config: Mapping) -> dict[str, dict]:
    """One fully resolved specification per run, by the run's name, from a completed configuration.

    A specification holds `run`, `entry`, `model`, `nets`, `config`, `training`, `sampler` and `pretrained`; its keys
    are sorted at every level, so that two equal specifications also print equally.
    """
    runs = {}
    for entry, settings in config["models"].items():
        if settings is not None:
            for values in _combinations(settings.get("sweep", {})):
                spec = _resolve(entry, settings, values, config["training"])
                runs[spec["run"]] = _sorted(spec)
    return runs


def seeds_of(spec: Mapping, seeds: list[int]) -> list[int]:
    """The seeds a run is trained with: all of them, or only the first for a pretrained model, which has no training."""
    return seeds if spec["pretrained"] is None else seeds[:1]


def suites(config: Mapping) -> list[str]:
    """The suites of metrics that are computed for every training."""
    evaluation = config["evaluation"]
    return evaluation["suites"] + (["legacy"] if evaluation["protocol"] == "legacy" else [])


def networks(config: Mapping) -> list[str]:
    """The fixed networks that the metrics need weights of."""
    evaluation = config["evaluation"]
    lpips = {"alex": "alexnet", "vgg": "vgg16"}
    needed = {lpips[backbone] for backbone in evaluation["lpips"]}
    if "generation" in evaluation["suites"]:
        needed |= set(evaluation["distribution"]["features"])
    if evaluation["protocol"] == "legacy":
        needed.add("vgg16")
    return sorted(needed)


def input_shape(config: Mapping) -> tuple[int, int, int] | None:
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


def _resolve(entry: str, settings: Mapping, values: Mapping, training: Mapping) -> dict:
    """The specification of one run: an entry of the configuration with one combination of its sweep."""
    prefix = "training."
    swept_training = {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
    swept_config = {key: value for key, value in values.items() if not key.startswith(prefix)}
    labels = [f"{key.removeprefix(prefix)}{_label(value)}" for key, value in values.items()]
    sampler = settings.get("sampler", {"name": "auto"})
    return {
        "run": "-".join([entry, *labels]),
        "entry": entry,
        "model": settings.get("model"),
        "nets": {"encoder": None, "decoder": None, "discriminator": None} | settings.get("nets", {}),
        "config": settings.get("config", {}) | swept_config,
        "training": {**training, **settings.get("training", {}), **swept_training},
        "sampler": {"name": sampler["name"], "options": sampler.get("options", {})},
        "pretrained": settings.get("pretrained"),
    }


def _combinations(sweep: Mapping[str, list]) -> Iterator[dict]:
    """Every combination of the swept values; one empty combination when nothing is swept."""
    for values in itertools.product(*sweep.values()):
        yield dict(zip(sweep, values, strict=True))


def _label(value: object) -> str:
    """A swept value as part of a run's name: 4.0 reads 4, and only characters fit for a file name remain."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "".join(character if character.isalnum() or character in ".-_" else "_" for character in text)


def _sorted(value: object) -> object:
    """`value` with the keys of every mapping in it in alphabetical order."""
    return json.loads(json.dumps(value, sort_keys=True))


def _fill_defaults(value: dict, node: Mapping, schema: Mapping) -> None:
    """Set the schema's default for every missing key, following `properties` and references into `$defs`."""
    node = _dereference(node, schema)
    for key, child in node.get("properties", {}).items():
        described = _dereference(child, schema)
        default = child.get("default", described.get("default"))
        if key not in value and ("default" in child or "default" in described):
            value[key] = deepcopy(default)
        if isinstance(value.get(key), dict):
            _fill_defaults(value[key], _object_branch(described, schema), schema)


def _dereference(node: Mapping, schema: Mapping) -> Mapping:
    if "$ref" not in node:
        return node
    return schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]


def _object_branch(node: Mapping, schema: Mapping) -> Mapping:
    """Of a key that may be null or one kind of object, the object's description; else the node itself."""
    branches = [_dereference(branch, schema) for branch in node.get("oneOf", [])]
    objects = [branch for branch in branches if "properties" in branch]
    return objects[0] if len(objects) == 1 else node


def _explain(error: ValidationError) -> str:
    """One line for a violated schema rule: where, what, and what is allowed."""
    if error.validator in ("oneOf", "anyOf") and error.context:
        branches = [part for part in error.context if part.validator != "type"] or error.context
        error = max(branches, key=lambda part: len(part.absolute_path))
    path = ".".join(str(part) for part in error.absolute_path) or "the file"
    if error.validator == "additionalProperties" and isinstance(error.schema.get("properties"), dict):
        allowed = list(error.schema["properties"])
        unknown = [key for key in error.instance if key not in allowed]
        return "; ".join(_unknown(f"{path}.{key}" if error.absolute_path else key, key, allowed) for key in unknown)
    if error.validator == "enum":
        return f"{path}: {error.instance!r} is not allowed; choose from {_listing(error.validator_value)}"
    if error.validator == "type" and isinstance(error.instance, str) and _is_number(error.instance):
        return (
            f"{path}: {error.instance!r} is read as text, not as a number: YAML wants a point before an exponent; "
            f"write {_yaml_number(error.instance)}"
        )
    description = f" ({error.schema['description']})" if "description" in error.schema else ""
    return f"{path}: {error.message}{description}"


def _model_mistakes(config: Mapping) -> Iterator[str]:
    """What the schema cannot know: models, their fields, sweeps, nets, names, and references between sections."""
    names: set[str] = set()
    entries = {entry: settings for entry, settings in config["models"].items() if settings is not None}
    if not entries:
        yield "models: every entry is null; give at least one model"
    for entry, settings in entries.items():
        mistakes = list(_entry_mistakes(f"models.{entry}", settings))
        yield from mistakes
        if mistakes:
            continue
        for values in _combinations(settings.get("sweep", {})):
            spec = _resolve(entry, settings, values, config["training"])
            if spec["run"] in names:
                yield f"models.{entry}: two runs would be called {spec['run']!r}; change a value of its sweep"
            names.add(spec["run"])
            if spec["pretrained"] is None:
                yield from _net_mistakes(f"models.{entry}", spec, config)
                if spec["training"]["compile"] and MODELS[spec["model"]].differentiates:
                    yield (
                        f"models.{entry}.training.compile: {spec['model']} takes gradients of gradients, which "
                        "compiled networks do not give; set it to false"
                    )
    baseline = config["statistics"]["baseline"]
    if baseline is not None and entries and baseline not in config["models"]:
        yield f"statistics.baseline: {baseline!r} is no entry under models; choose from {_listing(entries)} or null"
    if "inception" in config["evaluation"]["distribution"]["features"] and config["weights"]["inception"] is None:
        yield "evaluation.distribution.features: inception needs weights.inception; give it a source or leave it out"


def _entry_mistakes(path: str, settings: Mapping) -> Iterator[str]:
    """Mistakes of one entry under `models` that concern its own keys."""
    if "pretrained" in settings:
        if len({"hf_hub", "path"} & settings["pretrained"].keys()) != 1:
            yield f"{path}.pretrained: give either hf_hub or path"
        if "model" not in settings:
            return
    model = settings.get("model")
    if model is None:
        yield f"{path}.model: missing; choose from {_listing(MODELS)}"
        return
    if model not in MODELS:
        yield _unknown(f"{path}.model", model, MODELS, what="model")
        return
    fields = MODELS[model].fields
    for field, value in settings.get("config", {}).items():
        yield from _field_mistakes(f"{path}.config.{field}", model, field, value, fields)
    for component in settings.get("training", {}).get("components", {}):
        if component not in MODELS[model].components:
            known = _listing(MODELS[model].components) or "none, it has one optimizer"
            yield f"{path}.training.components.{component}: {model} has no such part; allowed: {known}"
    for key, values in settings.get("sweep", {}).items():
        if key.startswith("training."):
            if key.removeprefix("training.") not in TRAINING_SWEEPS:
                yield _unknown(
                    f"{path}.sweep.{key}", key.removeprefix("training."), TRAINING_SWEEPS, what="training key"
                )
        else:
            for value in values:
                yield from _field_mistakes(f"{path}.sweep.{key}", model, key, value, fields)


def _field_mistakes(path: str, model: str, field: str, value: object, fields: Mapping) -> Iterator[str]:
    """A field that the model lacks, or a value of another type than the field's default."""
    if field not in fields:
        yield _unknown(path, field, fields, what=f"field of {model}")
        return
    default = fields[field]
    if not _same_kind(value, default):
        hint = f"; write {_yaml_number(value)}" if isinstance(value, str) and _is_number(value) else ""
        yield f"{path}: {value!r} is no {_kind(default)} as {field} must be (default {default!r}){hint}"
    elif reason := MODELS[model].check(field, value):
        yield f"{path}: {reason}"


def _same_kind(value: object, default: object) -> bool:
    return default is None or value is None or _kind(value) == _kind(default)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "number"
    return "list" if isinstance(value, list | tuple) else "text"


def _net_mistakes(path: str, spec: Mapping, config: Mapping) -> Iterator[str]:
    """Nets that are missing, unknown or unable to give the latent shape for these images."""
    shape = input_shape(config)
    for role in MODELS[spec["model"]].nets:
        name = spec["nets"].get(role)
        if name is None:
            yield f"{path}.nets.{role}: {spec['model']} needs one; choose from {_listing(NETS)} or a dotted path"
        elif "." not in name and name not in NETS:
            yield _unknown(f"{path}.nets.{role}", name, NETS, what="net")
        elif name in NETS and shape is not None:
            reason = NETS[name].check(role, spec["model"], shape, spec["config"])
            if reason:
                yield f"{path}.nets.{role}: {reason}"


def _unknown(path: str, name: str, allowed: Mapping | list | tuple, what: str = "key") -> str:
    close = get_close_matches(name, list(allowed), n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{path}: unknown {what} {name!r}; {hint}allowed: {_listing(allowed)}"


def _listing(names: Mapping | list | tuple) -> str:
    return ", ".join("null" if name is None else str(name) for name in names)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _yaml_number(text: str) -> str:
    """A number as YAML 1.1 reads it: 1e-3 becomes 1.0e-3."""
    mantissa, _, exponent = text.lower().partition("e")
    mantissa = mantissa if "." in mantissa else f"{mantissa}.0"
    if not exponent:
        return mantissa
    return f"{mantissa}e{exponent if exponent[0] in '+-' else '+' + exponent}"
