"""Whether a conditional model obeys its labels: what a classifier of real images sees in generated ones."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifier
from torch.nn.functional import adaptive_avg_pool2d

from vaebench.base.errors import UserError
from vaebench.evaluation.measurement import Task
from vaebench.metrics.metric import Value
from vaebench.models.batches import batches
from vaebench.models.conditions import codes_of

SIDE = 16  # of the grid of mean colours that the classifier sees, at most
RIDGE = 1.0
TRAINING_IMAGES = 20000
CHOICE_SEED = 0  # of the training images: the same for every model


def obedience(task: Task) -> dict[str, Value]:
    """The metrics `condition_accuracy`, of generated images, and `condition_accuracy_real`, of held-out ones.

    Each is the mean over the labels, and with more than one label there is a row for each
    (`condition_accuracy/Smiling`). Raises `UserError` for a model whose labels were not given.
    """
    rows, given, drawn = task.conditions.get("train"), task.given, task.sample_conditions
    if rows is None or given is None or drawn is None:
        raise UserError("a conditional model is measured with the labels of its images, which were not given")
    chosen = np.sort(np.random.default_rng(CHOICE_SEED).permutation(len(task.train))[:TRAINING_IMAGES])
    features = _features(task.train[chosen], task.device)
    centre, scale = features.mean(0), np.where(features.std(0) > 0, features.std(0), 1.0)
    fitted = {
        label: RidgeClassifier(alpha=RIDGE, class_weight="balanced").fit((features - centre) / scale, codes)
        for label, codes in codes_of(rows[chosen], task.model.labels).items()
    }
    values: dict[str, Value] = {}
    for name, images, labels in (
        ("condition_accuracy", task.samples, drawn),
        ("condition_accuracy_real", task.images, given),
    ):
        seen = (_features(images, task.device) - centre) / scale
        truth = codes_of(labels, task.model.labels)
        scores = {label: balanced_accuracy(truth[label], fitted[label].predict(seen)) for label in truth}
        note = f"classifier of {len(chosen)} training images; by chance " + ", ".join(
            f"{1 / len(each):.2g} for {label}" for label, each in task.model.labels.items()
        )
        values |= _told(name, scores, len(images), note)
    return values


def balanced_accuracy(truth: np.ndarray, answers: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean over the values in `truth` of the share of each that is recognised, and by how much each image moves it.

    The latter, (n,), are deviations whose sum is 0; the root of the sum of their squares is the standard error.
    """
    values = np.unique(truth)
    shares, deviations = [], np.zeros(len(truth))
    for value in values:
        right = answers[truth == value] == value
        shares.append(float(right.mean()))
        deviations[truth == value] = (right - right.mean()) / (len(right) * len(values))
    return float(np.mean(shares)), deviations


def _told(name: str, scores: Mapping[str, tuple[float, np.ndarray]], count: int, note: str) -> dict[str, Value]:
    """The rows of one metric: the mean over the labels, and each of several labels.

    The labels are of the same images, so that an image's deviations are added before they are squared. Where all shares
    are 0 or 1 nothing tells how far off they are: there is no standard error.
    """
    means, deviations = zip(*scores.values(), strict=True)
    rows = {name: (float(np.mean(means)), np.mean(deviations, axis=0))}
    if len(scores) > 1:
        rows |= {f"{name}/{label}": score for label, score in scores.items()}
    errors = {row: float(np.linalg.norm(moved)) for row, (_, moved) in rows.items()}
    return {row: Value(value, count, errors[row] or math.nan, note) for row, (value, _) in rows.items()}


def _features(images: np.ndarray, device: str) -> np.ndarray:
    """Mean colours on a grid of at most `SIDE` cells a side: (n, D) float64."""
    height, width = (min(SIDE, side) for side in images.shape[2:])
    found = [adaptive_avg_pool2d(x, (height, width)).flatten(1) for x in batches(images, 1024, device)]
    return torch.cat(found).double().cpu().numpy()
