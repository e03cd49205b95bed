"""What the latents of a model tell about given labels: linear probes and disentanglement scores."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vaebench.base.errors import UserError
from vaebench.base.npz import open_array, read_manifest
from vaebench.data.labels import binary_columns, labels_of, read_labels
from vaebench.evaluation.measurement import Task
from vaebench.metrics.disentanglement import NAMES, disentanglement
from vaebench.metrics.metric import Value
from vaebench.metrics.probes import Scores, probe
from vaebench.models.inference import latents_of

TRAINING_IMAGES = 20000
MOST_VALUES = 200  # of a label; more are numbers, such as of persons, and no classes, and a probe of each takes long
NUMBERS = f"its {{}} values are more than the {MOST_VALUES} that are taken for classes"
NAMED = 10  # labels without a value that a note names


def supervised_metrics(task: Task, labels: Path, data: Mapping[str, Path], threads: int) -> dict[str, Value]:
    """Probe AUC and balanced accuracy, mean and per label (`probe_auc/Smiling`), and disentanglement scores.

    The probe is fitted on up to 20,000 training images, drawn at random; a label of more than 200 values has none. The
    columns named in `settings.factors` are the factors of MIG, SAP, DCI and FactorVAE score. Raises UserError for a
    label file that does not fit.
    """
    model, settings, seed = task.model, task.settings, task.seed
    table = read_labels(labels)
    factors, held_out = list(settings.factors), settings.split
    missing = [name for name in factors if name not in table]
    if missing:
        raise UserError(
            f"evaluation.factors: {labels} has no column {missing[0]!r}; it has {', '.join(map(str, table))}"
        )
    positions: dict[str, np.ndarray | slice] = {
        "train": training_images(data["train"], seed),
        held_out: slice(settings.limit),
    }
    ids = {split: read_manifest(data[split])["ids"] for split in positions}
    latents, rows = {}, labels_of(table, ids, labels)
    for split, chosen in positions.items():
        given = task.conditions[split][chosen] if model.labels else None
        latents[split] = latents_of(model, open_array(data[split])[chosen], conditions=given)
        rows[split] = rows[split].iloc[chosen]
    values = {str(name): np.unique(column) for name, column in table.items()}
    numbers = {
        name: Scores(note=NUMBERS.format(len(found))) for name, found in values.items() if len(found) > MOST_VALUES
    }
    columns = {split: binary_columns(found.drop(columns=list(numbers)), values) for split, found in rows.items()}
    scores = probe(latents["train"], columns["train"].to_numpy(), latents[held_out], columns[held_out].to_numpy())
    by_label = dict(zip(map(str, columns["train"]), scores, strict=True)) | numbers
    metrics = probe_metrics(by_label, len(latents[held_out]))
    if factors and len(model.latent_shape) > 1:
        metrics |= {name: Value(math.nan, 0, note="defined for vector latents; this one is a grid") for name in NAMES}
    elif factors:
        metrics |= disentanglement(latents[held_out], rows[held_out][factors], seed, threads)
    return metrics


def training_images(data: Path, seed: int) -> np.ndarray:
    """Sorted positions of the images that the probe is fitted on: at random, since files may be sorted by class."""
    count = len(open_array(data))
    if count <= TRAINING_IMAGES:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, TRAINING_IMAGES, replace=False))


def probe_metrics(scores: Mapping[str, Scores], count: int) -> dict[str, Value]:
    """The rows of the probes from the scores by label, measured on `count` images: each label, and their mean."""
    metrics: dict[str, Value] = {}
    for metric in ("auc", "balanced_accuracy"):
        found = {label: getattr(score, metric) for label, score in scores.items()}
        metrics |= {
            f"probe_{metric}/{label}": Value(value, count, note=scores[label].note) for label, value in found.items()
        }
        finite = [value for value in found.values() if math.isfinite(value)]
        absent = [label for label, value in found.items() if not math.isfinite(value)]
        named = absent if len(absent) <= NAMED else [*absent[:NAMED], f"{len(absent) - NAMED} others"]
        note = f"mean over {len(finite)} of {len(found)} labels, without {', '.join(named)}" if absent else ""
        if not finite:
            note = f"no label has a value; {next(iter(scores.values())).note}"
        metrics[f"probe_{metric}"] = Value(float(np.mean(finite)) if finite else math.nan, count, note=note)
    return metrics
