"""What a linear classifier reads from the latent mean: balanced accuracy and AUC for every label."""

import math
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

RIDGE = 1.0


@dataclass(frozen=True)
class Scores:
    """How well a label is read: both in [0, 1] and 0.5 by chance; NaN with the reason in `note`."""

    auc: float = math.nan
    balanced_accuracy: float = math.nan
    note: str = ""


def probe(train_latents: np.ndarray, train_labels: np.ndarray, latents: np.ndarray, labels: np.ndarray) -> list[Scores]:
    """Fit one ridge classifier per label on train, with balanced classes, and score it on the held-out images.

    latents (n, L) float, standardised here by the training images; labels (n, A) bool. The result has A entries.
    """
    bad = [int((~np.isfinite(array).all(1)).sum()) for array in (train_latents, latents)]
    if any(bad):
        note = f"the latents of {sum(bad)} of {len(train_latents) + len(latents)} images are not finite"
        return [Scores(note=note)] * train_labels.shape[1]
    centre, scale = train_latents.mean(0), train_latents.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    train, held_out = ((array - centre) / scale for array in (train_latents, latents))
    return [_score(train, *pair, held_out) for pair in zip(train_labels.T, labels.T, strict=True)]


def _score(train: np.ndarray, targets: np.ndarray, truth: np.ndarray, held_out: np.ndarray) -> Scores:
    for where, values in (("training", targets), ("held-out", truth)):
        if values.all() or not values.any():
            return Scores(note=f"{'all' if values.all() else 'none'} of the {where} images have this label")
    classifier = RidgeClassifier(alpha=RIDGE, class_weight="balanced").fit(train, targets)
    return Scores(
        float(roc_auc_score(truth, classifier.decision_function(held_out))),
        float(balanced_accuracy_score(truth, classifier.predict(held_out))),
    )
