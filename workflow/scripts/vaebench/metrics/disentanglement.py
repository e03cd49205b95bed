"""How far single latent dimensions stand for single factors, for discrete factors: MIG, SAP, DCI and FactorVAE score.

MIG: Chen et al. 2018. SAP: Kumar et al. 2018. DCI: Eastwood and Williams 2018. FactorVAE score: Kim and Mnih 2018. The
estimators and their settings are those of disentanglement_lib (Locatello et al. 2019, unsupervised_study_v1); where it
draws new images from a generator, the labelled images at hand are shuffled, fitted on and scored apart.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import entropy
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.svm import LinearSVC

from vaebench.metrics.metric import Value

NAMES = ("mig", "sap", "dci_disentanglement", "dci_completeness", "dci_informativeness", "factor_vae_score")
FITTED, SCORED = 10_000, 5_000  # images
BINS = 20  # of the mutual information
PENALTY = 0.01  # C of the linear SVM
VOTE_IMAGES, FITTED_VOTES, SCORED_VOTES = 64, 10_000, 5_000
INACTIVE = 0.05  # a dimension of a smaller standard deviation has no vote


@dataclass(frozen=True)
class Codes:
    """Latents (n, L) float and factors (n, F) int of the images that are fitted on, and of those that are scored."""

    latents: np.ndarray
    factors: np.ndarray
    scored_latents: np.ndarray
    scored_factors: np.ndarray


def disentanglement(latents: np.ndarray, factors: pd.DataFrame, seed: int, threads: int = 1) -> dict[str, Value]:
    """The six metrics in `NAMES` of latents (n, L) and integer factors (n rows, a column per factor).

    At most 15,000 images, shuffled by `seed`: two thirds are fitted on, the others scored. Factors that do not vary
    among the fitted images are left out. What cannot be computed is NaN and its note says why.
    """
    fitted, scored = shuffled_split(len(latents), seed)
    used = np.concatenate([fitted, scored])
    constant = [str(name) for name in factors.columns if factors[name].iloc[fitted].nunique() < 2]
    varying = factors.drop(columns=constant)
    undefined = _undefined(latents, varying.shape[1])
    if len(undefined) == len(NAMES):
        return {name: Value(math.nan, 0, note=undefined[name]) for name in NAMES}
    labels = varying.to_numpy()
    codes = Codes(latents[fitted], labels[fitted], latents[scored], labels[scored])
    importances, accuracy = boosted_importances(codes, seed, threads)
    found = {
        "mig": mutual_information_gap(latents[used], labels[used]),
        "sap": separated_predictability(codes, seed),
        "dci_disentanglement": concentration(importances, axis=1),
        "dci_completeness": concentration(importances, axis=0),
        "dci_informativeness": accuracy,
        "factor_vae_score": factor_vae_score(codes, seed),
    }
    if math.isnan(found["factor_vae_score"]):
        undefined.setdefault(
            "factor_vae_score", f"fewer than two factors have a value that {VOTE_IMAGES} images of either part share"
        )
    note = f"without {', '.join(constant)}, which does not vary" if constant else ""
    notes = dict.fromkeys(NAMES, note)
    held = _held_factors(codes)[0]
    rare = [str(name) for factor, name in enumerate(varying.columns) if factor not in held]
    if rare:
        few = f"without {', '.join(rare)}: each value is shared by fewer than {VOTE_IMAGES} images of one part"
        notes["factor_vae_score"] = "; ".join(filter(None, (note, few)))
    return {
        name: Value(math.nan, 0, note=undefined[name])
        if name in undefined
        else Value(found[name], len(used), note=notes[name])
        for name in NAMES
    }


def _undefined(latents: np.ndarray, factors: int) -> dict[str, str]:
    """Why a metric has no value for these latents and this number of factors, by metric."""
    bad = int((~np.isfinite(latents).all(1)).sum())
    if bad:
        return dict.fromkeys(NAMES, f"the latents of {bad} of {len(latents)} images are not finite")
    if len(latents) < 3:
        return dict.fromkeys(NAMES, "too few images")
    if not factors:
        return dict.fromkeys(NAMES, "no factor varies")
    reasons: dict[str, str] = {}
    if latents.shape[1] < 2:
        reasons |= dict.fromkeys(("mig", "sap", "dci_completeness"), "needs two latent dimensions")
    if factors < 2:
        reasons |= dict.fromkeys(("dci_disentanglement", "factor_vae_score"), "needs two factors")
    return reasons


def shuffled_split(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the images that are fitted on and of those that are scored: 2 to 1, at most 10,000 and 5,000."""
    order = np.random.default_rng(seed).permutation(count)[: FITTED + SCORED]
    cut = math.ceil(len(order) * FITTED / (FITTED + SCORED))
    return order[:cut], order[cut:]


def mutual_information_gap(latents: np.ndarray, factors: np.ndarray) -> float:
    """Mean over factors of (I_1 - I_2) / H: the two dimensions that tell most of the factor, in 20 equal bins.

    NaN for a single dimension, which has no second.
    """
    if latents.shape[1] < 2:
        return math.nan
    binned = np.stack([np.digitize(z, np.histogram_bin_edges(z, BINS)[1:-1]) for z in latents.T], axis=1)
    gaps = []
    for factor in factors.T:
        information = sorted(mutual_information(z, factor) for z in binned.T)
        gaps.append((information[-1] - information[-2]) / mutual_information(factor, factor))
    return float(np.mean(gaps))


def mutual_information(a: np.ndarray, b: np.ndarray) -> float:
    """I(a; b) in nats of two discrete variables (n,), from their joint counts; I(a; a) is the entropy."""
    a, b = np.unique(a, return_inverse=True)[1], np.unique(b, return_inverse=True)[1]
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1 / len(a))
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / independent[seen])).sum())


def separated_predictability(codes: Codes, seed: int) -> float:
    """SAP: mean over factors of the gap in accuracy between the two dimensions that predict it best.

    The classifier of one dimension is a linear SVM with C = 0.01 and balanced classes, on the latent as it is; a factor
    of more than two values is predicted one value against the rest. NaN for a single dimension.
    """
    if codes.latents.shape[1] < 2:
        return math.nan
    gaps = []
    for factor, truth in zip(codes.factors.T, codes.scored_factors.T, strict=True):
        accuracies = []
        for z, scored in zip(codes.latents.T, codes.scored_latents.T, strict=True):
            machine = LinearSVC(C=PENALTY, class_weight="balanced", random_state=seed).fit(z[:, None], factor)
            accuracies.append(float((machine.predict(scored[:, None]) == truth).mean()))
        accuracies.sort()
        gaps.append(accuracies[-1] - accuracies[-2])
    return float(np.mean(gaps))


def boosted_importances(codes: Codes, seed: int, threads: int = 1) -> tuple[np.ndarray, float]:
    """Importance of every dimension for every factor, (L, F), and the mean accuracy on the scored images.

    One classifier of gradient boosted trees per factor, with scikit-learn's defaults; `threads` of them at a time.
    """
    with ThreadPoolExecutor(threads) as pool:  # growing a tree releases the interpreter's lock
        fitted = list(pool.map(partial(_boosted, codes, seed), range(codes.factors.shape[1])))
    importances, accuracies = zip(*fitted, strict=True)
    return np.stack(importances, axis=1), float(np.mean(accuracies))


def _boosted(codes: Codes, seed: int, factor: int) -> tuple[np.ndarray, float]:
    trees = GradientBoostingClassifier(random_state=seed).fit(codes.latents, codes.factors[:, factor])
    return trees.feature_importances_, trees.score(codes.scored_latents, codes.scored_factors[:, factor])


def concentration(importances: np.ndarray, axis: int) -> float:
    """1 - normalised entropy along `axis` of a matrix (L, F), averaged with the weight of each row or column.

    axis=1: does a dimension serve one factor (disentanglement); axis=0: does one dimension serve a factor
    (completeness). 0 when nothing is important; NaN when there is a single choice.
    """
    choices = importances.shape[axis]
    if choices < 2:
        return math.nan
    scores = 1 - entropy(importances + 1e-11, base=choices, axis=axis)
    weights = importances.sum(axis) if importances.sum() else None
    return float(np.average(scores, weights=weights))


def factor_vae_score(codes: Codes, seed: int) -> float:
    """Accuracy of the majority vote that tells a fixed factor from the dimension that varies least, in [0, 1].

    A vote: one factor is held at the value of a random image, 64 images of that value are drawn with replacement, and
    the dimension with the smallest variance, relative to its variance over all fitted images, is chosen. The factor
    that each dimension stands for is the one with most of its 10,000 votes among the fitted images; the accuracy is
    over 5,000 votes among the scored ones. Values that fewer than 64 images share are left out. 0 when no dimension
    has a standard deviation of 0.05; NaN when fewer than two factors can be held.
    """
    deviation = codes.latents.std(0, ddof=1)
    active = deviation >= INACTIVE
    held, fitted, scored = _held_factors(codes)
    if len(held) < 2:
        return math.nan
    if not active.any():
        return 0.0
    generator = np.random.default_rng([seed, 1])
    scale = deviation[active]
    learned = _votes(codes.latents[:, active] / scale, [fitted[i] for i in held], FITTED_VOTES, generator)
    counted = _votes(codes.scored_latents[:, active] / scale, [scored[i] for i in held], SCORED_VOTES, generator)
    return float(counted[learned.argmax(0), np.arange(learned.shape[1])].sum() / counted.sum())


def _held_factors(codes: Codes) -> tuple[list[int], list[list[np.ndarray]], list[list[np.ndarray]]]:
    """The factors that can be held fixed among the fitted and among the scored images, and their `_shared_values`."""
    fitted, scored = ([_shared_values(factor) for factor in table.T] for table in (codes.factors, codes.scored_factors))
    held = [factor for factor, groups in enumerate(zip(fitted, scored, strict=True)) if all(map(len, groups))]
    return held, fitted, scored


def _shared_values(factor: np.ndarray) -> list[np.ndarray]:
    """The positions of the images of each value that at least 64 images share."""
    groups = [np.flatnonzero(factor == value) for value in np.unique(factor)]
    return [group for group in groups if len(group) >= VOTE_IMAGES]


def _votes(
    latents: np.ndarray, groups: list[list[np.ndarray]], count: int, generator: np.random.Generator
) -> np.ndarray:
    """How often each dimension (D,) varied least while each factor was held: (F, D) counts of `count` votes."""
    votes = np.zeros((len(groups), latents.shape[1]), np.int64)
    images = [np.array([len(group) for group in values]) for values in groups]
    for factor in generator.integers(len(groups), size=count):
        value = generator.choice(len(images[factor]), p=images[factor] / images[factor].sum())
        group = groups[factor][value]
        drawn = latents[group[generator.integers(len(group), size=VOTE_IMAGES)]]
        votes[factor, drawn.var(0, ddof=1).argmin()] += 1
    return votes
