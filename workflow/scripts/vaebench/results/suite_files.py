"""The result files of one evaluation: a CSV per suite, the per-image table, and arrays."""

import csv
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypedDict, cast

import numpy as np

from vaebench.base.errors import UserError
from vaebench.base.evaluation_settings import EvaluationSettings
from vaebench.base.files import atomic_path
from vaebench.base.formats import read_json, stamped, unstamped
from vaebench.base.provenance import Environment, environment
from vaebench.metrics.metric import CONDITIONAL, FACTORS, FITTED, LABELS, SUITES, Value
from vaebench.metrics.registry import METRICS, describe
from vaebench.metrics.standard_errors import mean_error
from vaebench.models.feature_networks import FEATURE_NETWORKS

COLUMNS = (
    "dataset",
    "run",
    "model",
    "seed",
    "split",
    "suite",
    "metric",
    "value",
    "std_error",
    "n",
    "note",
)
OTHER_PAIRS = {"dists": "vgg16"}  # metrics of pairs of images by a fixed network, beside LPIPS
CONTEXT_KEY = b"vaebench"


class Context(TypedDict):
    """What two results must share to be compared: of one training, what `Suites.context` says.

    `data` are the digests of the splits' pixels; `training_environment` is empty where it is not known.
    """

    dataset: str
    run: str
    model: str
    seed: int
    split: str
    data: dict[str, str]
    images: int
    protocol: str
    evaluation_environment: Environment
    training_environment: Environment
    training_precision: str


@dataclass(frozen=True)
class TrainingIdentity:
    """Which training a result is of; the model may be named by the trained model alone (None)."""

    dataset: str
    run: str
    model: str | None
    seed: int


def write_rows(rows: Sequence[Mapping[str, str | int]], path: Path) -> None:
    """Write rows with `COLUMNS` as a CSV."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


class Suites:
    """Collects metric values and writes them suite by suite.

    A registered metric that should be there but is not, or that is not finite, becomes an empty value and a note.
    """

    def __init__(
        self,
        training: TrainingIdentity,
        settings: EvaluationSettings,
        skipped: dict[str, str],
        count: int,
        features: Sequence[str] = (),
    ) -> None:
        self.training = training
        self.settings = settings
        self.skipped = skipped
        self.count = count
        self.features = features
        self.found: dict[str, Value] = {}

    def add(self, values: Mapping[str, float | Value], count: int) -> None:
        """Take in values by metric; those without a count of their own were measured on `count` images.

        Raises UserError for a metric that the registry does not know.
        """
        for name, value in values.items():
            _check_registered(name)
            found = value if isinstance(value, Value) else Value(float(value), count)
            if not math.isfinite(found.value) and not found.note:
                found = replace(found, note="not a finite number")
            self.found[name] = found

    def add_per_image(
        self, columns: Mapping[str, np.ndarray], count: int, notes: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Take in the mean over images of each column; one image without a finite value leaves the mean empty.

        notes: what qualifies a metric's value, or why it is absent, by metric.
        """
        self.add({name: mean_of(values, notes.get(name, "")) for name, values in columns.items()}, count)

    def remark(self, networks: Collection[str], remark: str) -> None:
        """Add `remark` to the note of each value that one of these fixed networks gave."""
        of_pairs = [f"lpips_{FEATURE_NETWORKS[name].backbone}" for name in networks]
        of_pairs += [pair for pair, network in OTHER_PAIRS.items() if network in networks]
        for name, found in self.found.items():
            if describe(name).features in networks or name.endswith(tuple(of_pairs)):
                self.found[name] = replace(found, note=f"{found.note}; {remark}" if found.note else remark)

    def rows(self, suite: str) -> list[dict[str, str | int]]:
        """The rows of one suite's CSV, in the registry's order."""
        names = [name for name in METRICS if METRICS[name].suite == suite]
        rows = []
        for name in names:
            if name in self.found:
                rows.append(self._row(name, self.found[name]))
            elif self._wanted(name):
                rows.append(self._row(name, Value(math.nan, 0, note=self._why_absent(name))))
            extended = sorted((other for other in self.found if other.startswith(f"{name}/")), key=_by_number)
            rows += [self._row(other, self.found[other]) for other in extended]
        return rows

    def write(self, suite: str, path: Path) -> None:
        """Write one suite's CSV."""
        write_rows(self.rows(suite), path)

    def context(self, model: Path, data: dict[str, str], device: str) -> Context:
        """What two results must share to be compared: data, protocol, and the environments that made them."""
        provenance = model.parent / "provenance.json"
        trained = read_json("training", provenance) if provenance.exists() else {}
        return {
            "dataset": self.training.dataset,
            "run": self.training.run,
            "model": self.training.model or "",
            "seed": self.training.seed,
            "split": self.settings.split,
            "data": data,
            "images": self.count,
            "protocol": self.settings.protocol,
            "evaluation_environment": environment(device),
            "training_environment": trained.get("environment", trained),
            "training_precision": trained.get("precision", "unknown"),
        }

    def _row(self, name: str, found: Value) -> dict[str, str | int]:
        metric = describe(name)
        shown = math.isfinite(found.value)
        return {
            **vars(self.training),
            "split": self.settings.split,
            "suite": metric.suite,
            "metric": name,
            "value": repr(float(found.value)) if shown else "",
            "std_error": repr(float(found.std_error)) if shown and math.isfinite(found.std_error) else "",
            "n": found.n if shown else "",
            "note": found.note,
        }

    def _wanted(self, name: str) -> bool:
        """Whether the configuration asks for a metric; one that it does not ask for has no row at all."""
        settings = self.settings
        if name.startswith("legacy_"):
            return settings.protocol == "legacy"
        if name.startswith("sampled_"):
            return settings.samples_per_image > 0 and self._wanted(name.removeprefix("sampled_"))
        if name in ("dists", "self_dists"):
            return settings.dists
        if "lpips_" in name:
            return name.rpartition("_")[2] in settings.lpips
        if METRICS[name].applies_to in (LABELS, FACTORS, FITTED, CONDITIONAL):
            return False
        if name.startswith("prd_") and not settings.distribution.prd:
            return False
        if METRICS[name].features:
            return METRICS[name].features in self.features
        return METRICS[name].suite in SUITES

    def _why_absent(self, name: str) -> str:
        plain = name.removeprefix("self_").removeprefix("sampled_")
        if plain in self.skipped:
            return self.skipped[plain]
        if METRICS[name].features in self.skipped:
            return self.skipped[METRICS[name].features]
        applies_to = METRICS[name].applies_to
        if applies_to == "all models":
            return "not measured"
        return f"defined for {applies_to} only"


def _by_number(name: str) -> list[str | int]:
    """A sort key of names that hold numbers: `rate/level 2` comes before `rate/level 10`."""
    parts = re.split(r"(\d+)", name, flags=re.ASCII)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def mean_of(values: np.ndarray, note: str = "") -> Value:
    """The mean of one value per image, (n,), with its standard error over images, s / √n."""
    n = len(values)
    bad = int((~np.isfinite(values)).sum())
    if bad:
        told = f"not a finite number for {bad} of {n} images"
        return Value(math.nan, n, note=f"{told}: {note}" if note else told)
    return Value(float(np.mean(values)), n, mean_error(values), note)


def _check_registered(name: str) -> None:
    try:
        describe(name)
    except KeyError:
        raise UserError(
            f"the metric {name!r} was measured but is not registered: "
            "give it a line in metrics/registry_*.py (docs/adding-a-metric.md)"
        ) from None


def write_per_image(path: Path, ids: list[str], columns: Mapping[str, np.ndarray], context: Context) -> None:
    """A Parquet table: image (its id), index, then one float64 column per metric; `context` as JSON in its metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"image": list(ids), "index": np.arange(len(ids)), **columns})
    table = table.replace_schema_metadata({CONTEXT_KEY: json.dumps(stamped("metrics", context), sort_keys=True)})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def read_context(path: Path) -> Context:
    """The context that `write_per_image` stored in a table; UserError when that is of another format."""
    import pyarrow.parquet as pq

    content = json.loads(pq.read_schema(path).metadata[CONTEXT_KEY])
    return cast(Context, unstamped("metrics", content, path))
