"""From the entries under `models` to runs: one fully resolved specification for each combination of a sweep."""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from vaebench.base.values import from_dict
from vaebench.config.sampler_entries import label_of, samplers_of
from vaebench.models.run_spec import RunSpec


def expand_runs(config: Mapping[str, Any]) -> dict[str, RunSpec]:
    """One fully resolved specification per run, by the run's name, from a completed configuration.

    Its mappings are sorted at every level, so that two equal specifications also print equally.
    """
    runs: dict[str, RunSpec] = {}
    for entry, settings in config["models"].items():
        if settings is not None:
            for values in combinations(settings.get("sweep", {})):
                spec = resolved_run(entry, settings, values, config["training"])
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


def resolved_run(
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


def combinations(sweep: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
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
