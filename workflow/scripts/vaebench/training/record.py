"""What identifies a training, its files, and what it leaves beside its model."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vaebench.base.durable import durable_path
from vaebench.base.formats import read_json
from vaebench.base.npz import pixels_sha256
from vaebench.base.values import as_dict
from vaebench.models.catalog import HOW_TO_TRAIN
from vaebench.models.conditions import read_conditions, sha256_of_rows, with_label_values
from vaebench.models.label_names import label_values
from vaebench.models.lookup import conditioning_labels
from vaebench.models.run_spec import RunSpec


@dataclass(frozen=True)
class TrainingFiles:
    """What a training reads and writes.

    `train` and `eval` are npz files of uint8 images (n, C, H, W), `output` is the model's folder, `state` that of the
    resumable state. `weights` are the files of the fixed networks that the losses need, by network. `choice` is what
    a tuning chose, where there was one. `labels` are the CSVs of the images' labels by split, where a conditional model
    needs them: those of test, which no training sees, only so that a value without a training image is found at once.
    """

    train: Path
    eval: Path
    output: Path
    history: Path
    provenance: Path
    state: Path
    weights: Mapping[str, Path] = field(default_factory=dict)
    choice: Path | None = None
    labels: Mapping[str, Path] = field(default_factory=dict)

    def chosen(self) -> dict[str, Any]:
        """The options that a tuning chose, under `tuned`; empty where there was none."""
        return {} if self.choice is None else {"tuned": read_json("tuning", self.choice)["values"]}


@dataclass(frozen=True)
class TrainingJob:
    """One training: a run, its seed, the files, and a fingerprint of the code."""

    spec: RunSpec
    seed: int
    files: TrainingFiles
    code: str

    def spec_with_label_values(self) -> RunSpec:
        """The run, with the values of the labels where its model is conditional; `UserError` as `with_label_values`."""
        if not conditioning_labels(self.spec):
            return self.spec
        return with_label_values(self.spec, self.files.labels.get("train"))

    def data_digests(self) -> dict[str, str]:
        """The SHA-256 of the pixels of each split, and of the labels that a conditional model is given.

        Raises `UserError` for a label, of any split, whose value no training image has.
        """
        files = self.files
        pixels = {"train": pixels_sha256(files.train), "eval": pixels_sha256(files.eval)}
        values = label_values(self.spec_with_label_values().config) if conditioning_labels(self.spec) else {}
        rows = {split: read_conditions(path, values) for split, path in files.labels.items() if values}
        return pixels | {f"{split}_labels": sha256_of_rows(rows[split]) for split in pixels if split in rows}

    def key(self) -> str:
        """A fingerprint of all that decides the result."""
        spec, training = self.spec, as_dict(self.spec.training)
        decisive = {name: value for name, value in training.items() if name not in HOW_TO_TRAIN}
        parts: dict[str, Any] = {"model": spec.model, "nets": spec.nets, "config": spec.config, "training": decisive}
        parts |= {"seed": self.seed, "code": self.code, "data": self.data_digests()}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def write_history(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """The rows (epoch, split, term, value) as history.csv."""
    with durable_path(path) as temporary:
        lines = [f"{row['epoch']},{row['split']},{row['term']},{row['value']!r}" for row in rows]
        temporary.write_text("\n".join(["epoch,split,term,value", *lines]) + "\n")
