"""What the latents of a model tell about given labels: linear probes and disentanglement scores."""

from pathlib import Path

import numpy as np
from pythae.models import BaseAE

from vaebench.arrays import open_array, read_manifest
from vaebench.errors import UserError
from vaebench.inference import family
from vaebench.labels import binary_columns, labels_of, read_labels
from vaebench.metrics.disentanglement import disentanglement
from vaebench.metrics.probes import probe
from vaebench.sampling import train_latents

TRAINING_IMAGES = 20000


def supervised_metrics(
    model: BaseAE, labels: Path, data: dict[str, Path], settings: dict, seed: int, device: str
) -> dict[str, float]:
    """Probe AUC and balanced accuracy, mean and per label (`probe_auc/Smiling`), and disentanglement scores.

    The probe is fitted on up to 20,000 training images. The columns named in `settings["factors"]` are the factors of
    MIG, SAP and DCI. Raises UserError for a label file that does not cover the images.
    """
    table = read_labels(labels)
    splits = {"train": TRAINING_IMAGES, settings["split"]: settings["limit"]}
    latents, rows = {}, {}
    for split, limit in splits.items():
        images = open_array(data[split])[:limit]
        latents[split] = train_latents(model, images)
        rows[split] = labels_of(table, read_manifest(data[split])["ids"][: len(images)], labels)
    held_out = settings["split"]
    columns = binary_columns(rows["train"])
    truth = binary_columns(rows[held_out]).reindex(columns=columns.columns, fill_value=False)
    scores = probe(latents["train"], columns.to_numpy(), latents[held_out], truth.to_numpy())
    metrics = {}
    for name, values in scores.items():
        metrics |= {f"probe_{name}/{label}": value for label, value in zip(columns, values, strict=True)}
        if np.isfinite(values).any():
            metrics[f"probe_{name}"] = float(np.nanmean(values))
    factors = settings["factors"]
    missing = [name for name in factors if name not in table]
    if missing:
        raise UserError(f"evaluation.factors: {labels} has no column {missing[0]!r}")
    if factors and family(model) != "vq":
        metrics |= disentanglement(latents[held_out], rows[held_out][factors].to_numpy(), seed)
    return metrics
