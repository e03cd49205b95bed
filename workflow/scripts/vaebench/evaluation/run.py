"""One trained model measured: a pass over held-out images, a pass over its samples, and what follows from both."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaebench.base.evaluation_settings import TRAINED_ON, EvaluationSettings
from vaebench.base.formats import write_npz
from vaebench.base.layout import SPLITS
from vaebench.base.npz import open_array, pixels_sha256, read_manifest
from vaebench.base.values import from_dict
from vaebench.evaluation.generated import memorisation, pass_over_samples, set_values
from vaebench.evaluation.held_out import labels_not_drawn, pass_over_images, rate_notes
from vaebench.evaluation.measurement import LIKELIHOOD, Pass, Task, check_weights, load_networks
from vaebench.metrics.added_values import latent_values
from vaebench.metrics.dists import Dists
from vaebench.metrics.latent import LatentSummary
from vaebench.metrics.legacy import legacy_generation, legacy_reconstruction
from vaebench.metrics.metric import Value
from vaebench.metrics.pairs import PairMetrics
from vaebench.metrics.perceptual import Perceptual
from vaebench.metrics.registry import METRICS
from vaebench.models.batches import prepare_torch, to_bytes, to_float
from vaebench.models.conditions import read_conditions
from vaebench.models.feature_networks import FEATURE_NETWORKS, wanted_features
from vaebench.models.inference import encode, reconstruct
from vaebench.models.posterior import Posterior
from vaebench.models.storage import load_model
from vaebench.results.suite_files import Suites, TrainingIdentity, mean_of, write_per_image, write_rows

EXTREMES = 8
RATES = ("rate", "rate_bits")


@dataclass(frozen=True)
class EvaluationFiles:
    """What an evaluation reads: the folder of the trained model, the npz of each split with its manifest, the run's
    samples.npz, the weights by network, and the label file, where there is one.

    conditions: of a conditional model, the CSV of the labels of each split.
    """

    model: Path
    data: Mapping[str, Path]
    samples: Path
    weights: Mapping[str, Path]
    labels: Path | None
    conditions: Mapping[str, Path] = field(default_factory=dict)


def job_of(
    files: Mapping[str, Any], parameters: Mapping[str, Any], seed: int
) -> tuple[TrainingIdentity, EvaluationFiles, EvaluationSettings]:
    """What an evaluation measures, from which files, and how: from the rule's inputs and parameters, by their names.

    `data` is a list in the order of `SPLITS`, `weights` are named by their networks, and `labels`, where there are any,
    is a list of one. What cannot change a result is apart from the other settings, in `how`.
    """
    spec, labels = parameters["spec"], files.get("labels")
    read = EvaluationFiles(
        Path(files["model"]),
        data=dict(zip(SPLITS, map(Path, files["data"]), strict=True)),
        samples=Path(files["samples"]),
        weights={Path(path).stem: Path(path) for path in files["weights"]},
        labels=Path(labels[0]) if labels else None,
        conditions=dict(zip(SPLITS, map(Path, files.get("conditions") or []), strict=False)),
    )
    settings = from_dict(EvaluationSettings, {**parameters["settings"], **vars(parameters["how"])})
    return TrainingIdentity(parameters["dataset"], spec["run"], spec["model"], seed), read, settings


def evaluate(
    training: TrainingIdentity,
    files: EvaluationFiles,
    settings: EvaluationSettings,
    outputs: Mapping[str, Path],
    threads: int,
) -> None:
    """Measure a trained model and write its result files.

    outputs: file name -> path, of `{suite}.csv`, `per_image.parquet`, `latent.npz` and `extremes.npz`.
    Raises UserError for weights or labels that are missing or do not fit.
    """
    measured = measure_held_out(training, files, settings, threads)
    task, suites, held_out = measured.task, measured.suites, measured.held_out
    columns, posterior = held_out.columns(), posterior_on_trial(task)
    if "generation" in settings.suites:
        add_generation(task, suites, held_out)
    if "latent" in settings.suites and files.labels is not None:
        from vaebench.evaluation.labelled import supervised_metrics

        suites.add(supervised_metrics(task, files.labels, files.data, threads), len(task.images))
    if "likelihood" in settings.suites and posterior.kl_per_dimension() is not None:
        columns |= add_likelihood(task, suites)
    if settings.protocol == "legacy":
        add_legacy(task, suites)
    suites.remark(task.model.trained_on, TRAINED_ON)
    arrays = {"latent.npz": measured.summary.arrays(), "extremes.npz": extremes(task, columns["mse"])}
    for file, content in arrays.items():
        write_npz("metrics", outputs[file], content)
    write_results(task, suites, columns, files, outputs)


def evaluate_samples(
    training: TrainingIdentity, files: EvaluationFiles, settings: EvaluationSettings, output: Path, threads: int
) -> None:
    """Measure what one more sampler drew: a CSV of the suite generation, and of codes what they cost under its prior.

    Raises UserError for weights that are missing or do not fit.
    """
    measured = measure_held_out(training, files, settings, threads)
    add_generation(measured.task, measured.suites, measured.held_out)
    measured.suites.remark(measured.task.model.trained_on, TRAINED_ON)
    rows = measured.suites.rows("generation")
    if measured.task.model.codebook_size is not None:
        rows += [row for row in measured.suites.rows(METRICS["rate"].suite) if row["metric"] in RATES]
    write_rows(rows, output)
    print(f"Measured {len(measured.task.samples)} samples of {measured.task.sampler}: {output}")


@dataclass(frozen=True)
class HeldOut:
    """A model measured on the held-out images: what it was measured with, what was found, and its latents."""

    task: Task
    suites: Suites
    held_out: Pass
    summary: LatentSummary


def measure_held_out(
    training: TrainingIdentity, files: EvaluationFiles, settings: EvaluationSettings, threads: int
) -> HeldOut:
    """The pass over the held-out images, which the metrics of generated images need too: they are its reference."""
    weights = files.weights
    check_weights(settings, weights)
    device = prepare_torch(threads, settings.device)
    network = load_model(files.model, device)
    images = open_array(files.data[settings.split])[: settings.limit]
    networks = load_networks(settings, weights, images.shape[1:], device)
    trunks = [name for name in wanted_features(settings) if FEATURE_NETWORKS[name].backbone]
    task = Task(
        network,
        seed=training.seed,
        images=images,
        train=open_array(files.data["train"]),
        drawn=files.samples,
        settings=settings,
        pairs=PairMetrics(images.shape[1:], settings.lpips, trunks, weights, device),
        weights=weights,
        device=device,
        networks=networks.ready,
        conditions={split: read_conditions(path, network.labels) for split, path in files.conditions.items()},
    )
    task.pairs.skipped |= networks.skipped
    if settings.dists:
        task.pairs.add("dists", Dists(weights["vgg16"], weights["dists"], device), images.shape[1:])
    summary = LatentSummary(codebook=network.codebook_size)
    held_out = pass_over_images(task, summary)
    columns = held_out.columns()
    posterior = posterior_on_trial(task)
    named = replace(training, model=training.model or network.name)
    features = [*trunks, *networks.ready, *networks.skipped]
    suites = Suites(named, settings, task.pairs.skipped, len(images), features)
    suites.add_per_image(columns, len(images), task.pairs.notes | rate_notes(network, posterior, task))
    suites.add(summary.metrics(), len(images))
    suites.add(latent_values(summary.means()), len(images))
    add_rate(suites, columns)
    return HeldOut(task, suites, held_out, summary)


def posterior_on_trial(task: Task) -> Posterior:
    """The posterior of one image, for facts that are the same for all images."""
    with task.model.on_trial():
        return encode(task.model, to_float(task.images[:1], task.device))


def add_rate(suites: Suites, columns: dict[str, np.ndarray]) -> None:
    """The rate in bits, and the error that the mean negative ELBO has from the finite number of draws."""
    if "rate" in columns:
        rate, bit = suites.found["rate"], math.log(2)
        suites.add({"rate_bits": Value(rate.value / bit, rate.n, rate.std_error / bit, rate.note)}, rate.n)
    if "neg_elbo_draw_error" in columns:
        errors = columns["neg_elbo_draw_error"]
        suites.add({"neg_elbo_draw_error": float(np.sqrt(np.square(errors).sum()) / len(errors))}, len(errors))


def add_generation(task: Task, suites: Suites, held_out: Pass) -> None:
    """The generated images: against held-out and training images, and against their own reconstructions."""
    generated = pass_over_samples(task)
    count = min(len(task.samples), task.limit)
    own = {f"self_{name}": values for name, values in generated.columns().items()}
    suites.add_per_image(own, len(task.samples), {f"self_{name}": note for name, note in task.pairs.notes.items()})
    suites.add(set_values(task, held_out, generated), count)
    suites.add(memorisation(task), count)
    if task.latent_nats is not None:
        note = f"by {task.sampler}{labels_not_drawn(task.model, task.latent_nats)}"
        suites.add({"latent_nats": mean_of(task.latent_nats, note)}, len(task.latent_nats))
    if task.model.labels:
        from vaebench.evaluation.obedience import obedience

        suites.add(obedience(task), count)


def add_likelihood(task: Task, suites: Suites) -> dict[str, np.ndarray]:
    """The importance-weighted bounds of the first images; gives them per image, NaN for the images left out."""
    from vaebench.metrics.likelihood import importance_weighted_bounds

    options, generator = task.settings.likelihood, task.generator(LIKELIHOOD)
    chosen = task.images[: options.images]
    found = Pass()
    given = None if task.given is None else task.given[: len(chosen)]
    for x, kept in task.batches(chosen, "importance samples", given):
        found.add(importance_weighted_bounds(task.model, x, options.samples, generator), {}, kept, 0)
    columns = found.columns()
    suites.add_per_image(columns, len(chosen), dict.fromkeys(columns, f"{options.samples} importance samples"))
    left_out = np.full(len(task.images) - len(chosen), np.nan)
    return {name: np.concatenate([values, left_out]) for name, values in columns.items()}


def add_legacy(task: Task, suites: Suites) -> None:
    """The original study's numbers, for its four models."""
    study = task.model.original_study()
    if study is None:
        return
    lpips = task.pairs.trunks.get("vgg") or Perceptual("vgg", task.weights["vgg16"]).to(task.device)
    found = legacy_reconstruction(study, lpips, task.images, task.device)
    suites.add({f"legacy_{name}": value for name, value in found.items()}, len(task.images))
    found = legacy_generation(study, lpips)
    suites.add({f"legacy_self_{name}": value for name, value in found.items()}, 64)


def write_results(
    task: Task,
    suites: Suites,
    columns: dict[str, np.ndarray],
    files: EvaluationFiles,
    outputs: Mapping[str, Path],
) -> None:
    """The values of this evaluation, in files that are each whole or absent."""
    manifest = read_manifest(files.data[task.settings.split])
    digests = {split: pixels_sha256(path) for split, path in files.data.items()}
    context = suites.context(files.model, digests, task.device)
    write_per_image(outputs["per_image.parquet"], manifest["ids"][: len(task.images)], columns, context)
    for suite in task.settings.suites:
        suites.write(suite, outputs[f"{suite}.csv"])
    print(f"Measured {len(task.images)} images and {len(task.samples)} samples: {outputs['per_image.parquet'].parent}")


def extremes(task: Task, mse: np.ndarray) -> dict[str, np.ndarray]:
    """The best and the worst reconstructed images by MSE, with their reconstructions, uint8."""
    order = np.argsort(mse, kind="stable")
    arrays = {}
    for name, index in (("best", order[:EXTREMES]), ("worst", order[::-1][:EXTREMES])):
        originals = task.images[np.sort(index)][np.argsort(np.argsort(index))]
        given = None if task.given is None else torch.from_numpy(task.given[index]).to(task.device)
        arrays[f"{name}_index"] = index
        arrays[f"{name}_original"] = originals
        with task.model.given(given):
            arrays[f"{name}_reconstruction"] = to_bytes(reconstruct(task.model, to_float(originals, task.device)))
    return arrays
