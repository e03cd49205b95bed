"""What a linear classifier reads from the latent mean: balanced accuracy and AUC for every label."""

import numpy as np

RIDGE = 1.0


def probe(
    train_latents: np.ndarray, train_labels: np.ndarray, latents: np.ndarray, labels: np.ndarray
) -> dict[str, np.ndarray]:
    """Fit one ridge classifier per label on train, score on held-out images: {"auc": (A,), "balanced_accuracy": (A,)}.

    latents (n, L) float; labels (n, A) bool. The latents are standardised by the training images; both classes weigh
    the same. NaN for a label with one class only, in either set.
    """
    centre, scale = train_latents.mean(0), train_latents.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    train, held_out = ((array - centre) / scale for array in (train_latents, latents))
    scores = {"auc": [], "balanced_accuracy": []}
    for column in range(train_labels.shape[1]):
        targets, truth = train_labels[:, column], labels[:, column]
        if min(targets.sum(), (~targets).sum(), truth.sum(), (~truth).sum()) == 0:
            scores["auc"].append(np.nan)
            scores["balanced_accuracy"].append(np.nan)
            continue
        weights, intercept = ridge_classifier(train, targets)
        decision = held_out @ weights + intercept
        scores["auc"].append(area_under_curve(decision, truth))
        scores["balanced_accuracy"].append(0.5 * ((decision[truth] > 0).mean() + (decision[~truth] <= 0).mean()))
    return {name: np.array(values) for name, values in scores.items()}


def ridge_classifier(inputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, float]:
    """Least squares on ±1 with penalty 1 and balanced class weights: the weights (L,) and the intercept."""
    signs = np.where(targets, 1.0, -1.0)
    share = np.where(targets, 0.5 / targets.sum(), 0.5 / (~targets).sum()) * len(targets)
    centre, level = np.average(inputs, axis=0, weights=share), np.average(signs, weights=share)
    centred = inputs - centre
    gram = centred.T @ (share[:, None] * centred) + RIDGE * np.eye(inputs.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (share * (signs - level)))
    return weights, float(level - centre @ weights)


def area_under_curve(scores: np.ndarray, truth: np.ndarray) -> float:
    """Probability that a positive scores above a negative, ties counting half: the area under the ROC curve."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives, negatives = truth.sum(), (~truth).sum()
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))
