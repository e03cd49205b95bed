"""How far single latent dimensions stand for single factors: MIG, SAP and DCI, for discrete factors.

MIG: Chen et al. 2018. SAP: Kumar et al. 2018. DCI: Eastwood and Williams 2018, with random forests.
"""

import numpy as np

BINS = 20
TREES, DEPTH = 50, 8


def disentanglement(latents: np.ndarray, factors: np.ndarray, seed: int) -> dict[str, float]:
    """mig, sap, dci_disentanglement, dci_completeness, dci_informativeness of latents (n, L) and factors (n, F) int.

    SAP and DCI are fitted on the first half of the images and scored on the second. Factors that do not vary are left
    out; an empty dictionary when none varies.
    """
    factors = factors[:, [len(np.unique(column)) > 1 for column in factors.T]]
    if not factors.shape[1]:
        return {}
    informative, accuracy = forest_importances(latents, factors, seed)
    return {
        "mig": mutual_information_gap(latents, factors),
        "sap": separated_predictability(latents, factors),
        "dci_disentanglement": concentration(informative, axis=1),
        "dci_completeness": concentration(informative, axis=0),
        "dci_informativeness": accuracy,
    }


def mutual_information_gap(latents: np.ndarray, factors: np.ndarray) -> float:
    """Mean over factors of (I_1 - I_2) / H: the two dimensions that tell most of the factor, in 20 equal bins."""
    binned = np.stack([np.digitize(z, np.histogram_bin_edges(z, BINS)[1:-1]) for z in latents.T], axis=1)
    gaps = []
    for factor in factors.T:
        information = sorted(mutual_information(z, factor) for z in binned.T)
        runner_up = information[-2] if len(information) > 1 else 0.0
        gaps.append((information[-1] - runner_up) / mutual_information(factor, factor))
    return float(np.mean(gaps))


def mutual_information(a: np.ndarray, b: np.ndarray) -> float:
    """I(a; b) in nats of two discrete variables (n,), from their joint counts; I(a; a) is the entropy."""
    a, b = np.unique(a, return_inverse=True)[1], np.unique(b, return_inverse=True)[1]
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1 / len(a))
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / independent[seen])).sum())


def separated_predictability(latents: np.ndarray, factors: np.ndarray) -> float:
    """Mean over factors of the gap in balanced accuracy between the two dimensions that predict it best.

    The classifier of one dimension is a decision tree of depth 3.
    """
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.tree import DecisionTreeClassifier

    half = len(latents) // 2
    gaps = []
    for factor in factors.T:
        scores = []
        for z in latents.T[:, :, None]:
            tree = DecisionTreeClassifier(max_depth=3, class_weight="balanced", random_state=0)
            tree.fit(z[:half], factor[:half])
            scores.append(balanced_accuracy_score(factor[half:], tree.predict(z[half:])))
        scores = sorted(scores)
        gaps.append(scores[-1] - (scores[-2] if len(scores) > 1 else 0.0))
    return float(np.mean(gaps))


def forest_importances(latents: np.ndarray, factors: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """Importance of every dimension for every factor, (L, F), and the mean held-out accuracy of the forests."""
    from sklearn.ensemble import RandomForestClassifier

    half = len(latents) // 2
    columns, accuracies = [], []
    for factor in factors.T:
        forest = RandomForestClassifier(TREES, max_depth=DEPTH, random_state=seed)
        forest.fit(latents[:half], factor[:half])
        columns.append(forest.feature_importances_)
        accuracies.append(forest.score(latents[half:], factor[half:]))
    return np.stack(columns, axis=1), float(np.mean(accuracies))


def concentration(importances: np.ndarray, axis: int) -> float:
    """1 - normalised entropy along `axis` of a matrix (L, F), averaged with the weight of each row or column.

    axis=1: does a dimension serve one factor (disentanglement); axis=0: does one dimension serve a factor
    (completeness). 1 when there is a single choice.
    """
    total = importances.sum(axis)
    choices = importances.shape[axis]
    if choices == 1:
        return 1.0
    shares = importances / np.where(total > 0, total, 1).reshape((-1, 1) if axis == 1 else (1, -1))
    logs = np.log(np.where(shares > 0, shares, 1)) / np.log(choices)
    scores = 1 + (shares * logs).sum(axis)
    return float((scores * total).sum() / total.sum()) if total.sum() > 0 else 0.0
