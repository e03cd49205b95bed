"""What the sections of a completed configuration come to: the files, the shape of the images, the networks, the suites.

The Snakefile reads this module on every start, so nothing heavy is imported here.
"""

from collections.abc import Mapping
from typing import Any

from vaebench.base.evaluation_settings import EvaluationSettings
from vaebench.base.values import from_dict
from vaebench.config.runs import expand_runs
from vaebench.config.schema import fill_defaults
from vaebench.download.file_source import FileSource
from vaebench.models.feature_networks import FEATURE_NETWORKS, weights_needed
from vaebench.models.lookup import trained_on_by

FILES = ("images", "partition", "labels", "identity", "landmarks", "boxes")  # of a data set


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


def shipped_weights(schema: dict[str, Any]) -> dict[str, Any]:
    """The defaults of the section `weights` for the package's own networks, by network."""
    defaults: dict[str, Any] = {}
    fill_defaults(defaults, schema["properties"]["weights"], schema)
    return {network: settings for network, settings in defaults.items() if network in FEATURE_NETWORKS.own}
