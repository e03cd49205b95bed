"""Sets of images judged as sets: generated, reconstructed, interpolated and training images against held-out ones."""

from collections.abc import Iterable, Iterator

import numpy as np
from torch import Tensor

from vaebench.evaluation.held_out import RECONSTRUCTED
from vaebench.evaluation.measurement import Pass, Task
from vaebench.metrics import added_values, distribution
from vaebench.metrics.added import SETS, metrics_of
from vaebench.metrics.distribution import Measured
from vaebench.metrics.metric import Value
from vaebench.metrics.set_names import frechet_name, kernel_name, prd_names
from vaebench.metrics.standard_errors import mean_error
from vaebench.models.batches import aligned_batches, conditions_beside
from vaebench.models.inference import between, decode, encode, reconstruct

TRAINING_BLOCK = 1024
CHOICE_SEED = 0  # of the training images of the floor and the pairs of the mid-points: the same for every model


def pass_over_samples(task: Task) -> Pass:
    """Reconstruct every generated image; its metrics against its reconstruction, and its features."""
    found = Pass()
    for x, kept in task.batches(task.samples, "generated images", task.sample_conditions):
        compared = task.pairs(x, reconstruct(task.model, x))
        features, wanted = compared.features_x, found.room(kept, task.limit)
        if wanted:
            features = features | {name: network(x[:wanted]) for name, network in task.networks.items()}
        found.add(compared.values, features, kept, task.limit)
    return found


def set_values(task: Task, held_out: Pass, generated: Pass) -> dict[str, Value]:
    """Every set metric in each feature space that the images are large enough for, with its standard error."""
    count = min(len(task.samples), task.limit)
    training = _features_of(task, _training_batches(task, count)) if task.features else Pass()
    midpoints = _features_of(task, _midpoint_batches(task, count)) if task.features else Pass()
    values = {}
    for name in task.features:
        real = held_out.features(name)
        sides = {
            "": ("generated", generated.features(name)),
            "floor": ("training", training.features(name)),
            "midpoint": ("interpolated", midpoints.features(name)),
            "r": ("reconstructed", held_out.features(f"{RECONSTRUCTED}{name}")),
        }
        for what, (word, features) in sides.items():
            values[frechet_name(name, what)] = _frechet(word, features, real, paired=what == "r")
        values |= _against_generated(name, sides[""][1], real, task.settings.distribution.neighbours)
        values |= _of_all_pairs(name, sides[""][1], real, task.settings.distribution.prd)
    return values


def memorisation(task: Task) -> dict[str, Value]:
    """How near the generated images come to the training images, also relative to what held-out images do."""
    queries = np.concatenate([task.samples[: task.limit], task.images[: task.limit]])
    blocks = (task.train[i : i + TRAINING_BLOCK] for i in range(0, len(task.train), TRAINING_BLOCK))
    distances = distribution.nearest_distances(queries, blocks, task.device)
    count = min(len(task.samples), task.limit)
    generated, held_out = np.split(distances, [count])
    (near, error), (reference, reference_error) = (
        (float(part.mean()), mean_error(part)) for part in (generated, held_out)
    )
    note = f"{count} generated and {len(held_out)} held-out against {len(task.train)} training images"
    values = {"nearest_train_distance": Value(near, count, error, note)}
    if reference > 0:
        spread = np.hypot(error / reference, near * reference_error / reference**2)  # of a ratio of independent means
        values["nearest_train_ratio"] = Value(near / reference, count, float(spread), note)
    return values


def _frechet(word: str, features: np.ndarray, real: np.ndarray, paired: bool) -> Value:
    note = f"{len(features)} {word} against {len(real)} held-out images"
    if min(len(features), len(real)) <= features.shape[1]:
        note += f", fewer than the {features.shape[1]} features"
    missing = _why_not(features, real, 2)
    if missing:
        return Value(np.nan, len(features), note=missing)
    return _value(distribution.frechet_distance(features, real, paired), len(features), note)


def _against_generated(name: str, generated: np.ndarray, real: np.ndarray, neighbours: int) -> dict[str, Value]:
    """The kernel distance, which needs two images of either set, and the metrics of k-NN balls, which need k + 1."""
    count = len(generated)
    note = f"{count} generated against {len(real)} held-out images"
    names = [f"{metric}_{name}" for metric in ("precision", "recall", "density", "coverage")]
    missing = _why_not(generated, real, 2)
    if missing:
        added = [f"{addition.name}_{name}" for addition in metrics_of(SETS)]
        return dict.fromkeys((kernel_name(name), *names, *added), Value(np.nan, count, note=missing))
    values = {kernel_name(name): _value(distribution.kernel_distance(generated, real), count, note)}
    values |= added_values.set_values(name, generated, real, note)
    missing = _why_not(generated, real, neighbours + 1)
    if missing:
        return values | dict.fromkeys(names, Value(np.nan, count, note=missing))
    found = distribution.manifold_metrics(generated, real, neighbours)
    note = f"{note}, k = {neighbours}"
    return values | {f"{metric}_{name}": _value(measured, count, note) for metric, measured in found.items()}


def _of_all_pairs(name: str, generated: np.ndarray, real: np.ndarray, prd: bool) -> dict[str, Value]:
    """CMMD where the features are CLIP's, and the two scores of PRD where they are wanted."""
    names = [*(["cmmd"] if name == "clip" else []), *(prd_names(name) if prd else [])]
    count = len(generated)
    if missing := _why_not(generated, real, 2):
        return dict.fromkeys(names, Value(np.nan, count, note=missing))
    note = f"{count} generated against {len(real)} held-out images"
    values = {"cmmd": Value(distribution.cmmd(generated, real), count, note=note)} if "cmmd" in names else {}
    if prd:
        from vaebench.metrics.prd import CLUSTERS, RUNS, prd_scores

        used = min(count, len(real))
        note = f"{used} generated against {used} held-out images, {CLUSTERS} clusters, mean over {RUNS} clusterings"
        scores = zip(prd_names(name), prd_scores(generated, real), strict=True)
        values |= {score: Value(value, used, note=note) for score, value in scores}
    return values


def _value(measured: Measured, count: int, note: str) -> Value:
    return Value(measured[0], count, measured[1], note)


def _why_not(features: np.ndarray, real: np.ndarray, least: int) -> str:
    """Why a metric cannot be computed from these features; empty when it can."""
    if min(len(features), len(real)) < least:
        return f"needs at least {least} images of either set, there are {len(features)} and {len(real)}"
    bad = sum(int((~np.isfinite(rows)).any(1).sum()) for rows in (features, real))
    return f"the features of {bad} images are not finite" if bad else ""


def _features_of(task: Task, batches: Iterable[tuple[Tensor, int]]) -> Pass:
    """The features of images in every space."""
    found = Pass()
    for x, kept in batches:
        features = task.pairs.features_of(x) | {name: network(x[:kept]) for name, network in task.networks.items()}
        found.add({}, features, kept, task.limit)
    return found


def _training_batches(task: Task, count: int) -> Iterator[tuple[Tensor, int]]:
    """As many training images as there are generated ones, or all."""
    chosen = np.random.default_rng(CHOICE_SEED).permutation(len(task.train))[:count]
    yield from task.batches(task.train[np.sort(chosen)], "training images")


def _midpoint_batches(task: Task, count: int) -> Iterator[tuple[Tensor, int]]:
    """Images decoded half way between the latents of random pairs of held-out images, each in up to two pairs."""
    order = np.random.default_rng(CHOICE_SEED).permutation(min(len(task.images), task.limit))
    first, second = order[:count], np.roll(order, -1)[:count]
    size, model = task.settings.batch_size, task.model
    given = [None if task.given is None else task.given[chosen] for chosen in (first, second)]
    others = aligned_batches(task.images[second], size, task.device)
    partners = zip(others, conditions_beside(given[1], size, task.device), strict=False)
    batches = task.batches(task.images[first], "mid-points", given[0])
    for (x, kept), ((y, _), condition) in zip(batches, partners, strict=True):
        start, first_condition = encode(model, x), model.condition
        with model.given(condition):
            end = encode(model, y)
        with model.given(between(first_condition, condition, 0.5)):
            yield decode(model, start.between(end, 0.5)), kept
