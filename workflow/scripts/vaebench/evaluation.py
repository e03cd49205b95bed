"""One trained model measured: a pass over held-out images, a pass over its samples, and what follows from both."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from pythae.models import BaseAE
from torch import Tensor
from tqdm import tqdm

from vaebench.arrays import open_array, read_manifest
from vaebench.batches import aligned_batches, prepare_torch, to_bytes, to_float
from vaebench.errors import UserError
from vaebench.inference import central_latent, decode, draw_latent, encode, family, reconstruct
from vaebench.metrics import distribution
from vaebench.metrics.extractors import inception_extractor, inception_features
from vaebench.metrics.latent import LatentSummary, kl_estimate, kl_per_dimension, vq_commitment
from vaebench.metrics.legacy import MODEL_TERMS, legacy_generation, legacy_reconstruction
from vaebench.metrics.pairs import PairMetrics
from vaebench.metrics.perceptual import LAYOUTS, Perceptual
from vaebench.metrics.vaegan import vaegan_terms
from vaebench.models import load_model
from vaebench.results import Suites, write_npz, write_per_image

EXTREMES = 8
TRAINING_BLOCK = 1024
DETERMINISTIC = ("none", "vq")


@dataclass
class Task:
    """One evaluation: the model and everything it is measured on. Images are uint8 (n, C, H, W), mapped from disk."""

    model: BaseAE
    seed: int
    images: np.ndarray
    train: np.ndarray
    samples: np.ndarray
    settings: dict
    pairs: PairMetrics
    weights: dict[str, Path]
    device: str

    @property
    def limit(self) -> int:
        """How many images of either side the distances between sets use."""
        return self.settings["distribution"]["limit"]

    def generator(self, purpose: int) -> np.random.Generator:
        """The random stream of one purpose, the same whatever else is measured."""
        return np.random.default_rng([self.seed, purpose])


@dataclass
class Pass:
    """What one pass over images leaves: per-image values by metric, and features by extractor."""

    values: dict[str, list[np.ndarray]] = field(default_factory=dict)
    features: dict[str, list[np.ndarray]] = field(default_factory=dict)

    count: int = 0

    def add(self, values: dict, features: dict, kept: int, limit: int) -> None:
        """Take in the values of the first `kept` images of a batch, and their features up to `limit` in all."""
        room = max(min(kept, limit - self.count), 0)
        for name, found in values.items():
            self.values.setdefault(name, []).append(found[:kept].cpu().numpy())
        for name, found in features.items():
            self.features.setdefault(name, []).append(found[:room].float().cpu().numpy())
        self.count += kept

    def columns(self) -> dict[str, np.ndarray]:
        """Per-image values, (n,) float64 by metric."""
        return {name: np.concatenate(parts) for name, parts in self.values.items()}


def evaluate(
    model: Path,
    spec: dict,
    seed: int,
    dataset: str,
    data: dict[str, Path],
    samples: Path,
    weights: dict[str, Path],
    settings: dict,
    labels: Path | None,
    outputs: dict[str, Path],
    threads: int,
) -> None:
    """Measure a trained model and write its result files.

    model: folder of the trained model; spec: the run's specification; data: split -> npz with its manifest;
    samples: the run's samples.npz; weights: network -> file; settings: the section `evaluation` of the configuration;
    outputs: file name -> path, of `{suite}.csv`, `per_image.parquet`, `latent.npz` and `extremes.npz`.
    Raises UserError for weights or labels that are missing or do not fit.
    """
    check_weights(settings, weights)
    device = prepare_torch(threads, settings["device"])
    network = load_model(model, device)
    images = open_array(data[settings["split"]])[: settings["limit"]]
    features = [name for name in settings["distribution"]["features"] if "generation" in settings["suites"]]
    task = Task(
        network,
        seed,
        images,
        open_array(data["train"]),
        open_array(samples),
        settings,
        PairMetrics(images.shape[1:], settings["lpips"], features, weights, device),
        weights,
        device,
    )
    summary = LatentSummary(codebook=getattr(network.model_config, "num_embeddings", None))
    held_out = pass_over_images(task, summary)
    model_name = spec["model"] or network.model_name
    suites = Suites(dataset, spec["run"], model_name, seed, settings, task.pairs.skipped, len(images))
    suites.add_per_image(held_out.columns(), len(images))
    suites.add(summary.metrics(), len(images))
    if "generation" in settings["suites"]:
        suites.add_per_image(
            {f"self_{name}": v for name, v in pass_over_samples(task, held_out).items()}, len(task.samples)
        )
        suites.add(set_metrics(task, held_out), min(len(task.samples), task.limit))
        suites.add(memorisation(task), min(len(task.samples), task.limit))
    if "latent" in settings["suites"] and labels is not None:
        from vaebench.supervised import supervised_metrics

        suites.add(supervised_metrics(network, labels, data, settings, seed, threads), len(images))
    if "likelihood" in settings["suites"] and family(network) == "gaussian":
        add_likelihood(task, suites)
    if settings["protocol"] == "legacy":
        add_legacy(task, suites)
    write_results(task, suites, held_out, summary, model, data, outputs)


def check_weights(settings: dict, weights: dict[str, Path]) -> None:
    """Raise UserError, before any work, when a network that the settings need has no weights."""
    needed = {LAYOUTS[net].weights for net in settings["lpips"]}
    if "generation" in settings["suites"]:
        needed |= set(settings["distribution"]["features"])
    if settings["protocol"] == "legacy":
        needed.add("vgg16")
    for network in sorted(needed - set(weights)):
        raise UserError(f"the evaluation needs the {network} weights: give their source under weights.{network}")


def pass_over_images(task: Task, summary: LatentSummary) -> Pass:
    """Reconstruct every held-out image once; its metrics, its latent's, and its features for the Fréchet distance."""
    model, found = task.model, Pass()
    noise, prior = task.generator(0), task.generator(1)
    draws = [task.generator(2 + k) for k in range(task.settings["samples_per_image"])]
    for x, kept in _batches(task, task.images, "held-out images"):
        encoding = encode(model, x)
        latent = central_latent(model, encoding)
        y = decode(model, latent)
        compared = task.pairs(x, y)
        values = compared.values
        if encoding.family == "gaussian":
            values["kl"] = kl_per_dimension(encoding.mean, encoding.log_variance).sum(1)
            values["neg_elbo"] = 0.5 * (x - y).double().square().flatten(1).sum(1) + values["kl"]
        elif encoding.family == "vq":
            values["vq_commitment"] = vq_commitment(encoding)
        elif (estimate := kl_estimate(model, x, encoding, noise)) is not None:
            values["kl_estimate"] = estimate
        if model.model_name == "VAEGAN":
            values |= vaegan_terms(model, x, y, encoding, prior)
        if draws and encoding.family not in DETERMINISTIC:
            drawn = [task.pairs(x, decode(model, draw_latent(model, x, encoding, g))).values for g in draws]
            values |= {f"sampled_{name}": torch.stack([d[name] for d in drawn]).mean(0) for name in drawn[0]}
        summary.update(encoding.head(kept), latent[:kept])
        found.add(values, compared.features_x, kept, task.limit)
    return found


def pass_over_samples(task: Task, held_out: Pass) -> dict[str, np.ndarray]:
    """Reconstruct every generated image; its features join those of the held-out images as `generated/...`."""
    found = Pass()
    for x, kept in _batches(task, task.samples, "generated images"):
        compared = task.pairs(x, reconstruct(task.model, x))
        found.add(compared.values, compared.features_x, kept, task.limit)
    held_out.features |= {f"generated/{name}": parts for name, parts in found.features.items()}
    return found.columns()


def set_metrics(task: Task, held_out: Pass) -> dict[str, float]:
    """Distances between generated and held-out images in each configured feature space."""
    metrics = {}
    for name in task.settings["distribution"]["features"]:
        if name == "inception":
            generated, real = _inception(task, task.samples), _inception(task, task.images)
        elif name in held_out.features:
            generated, real = (np.concatenate(held_out.features[key]) for key in (f"generated/{name}", name))
        else:
            continue  # the images are too small for this network; the suite says so
        metrics |= _distances(generated.astype(np.float64), real.astype(np.float64), name, task)
    return metrics


def _inception(task: Task, images: np.ndarray) -> np.ndarray:
    network = inception_extractor(task.weights["inception"])
    return inception_features(network, images[: task.limit], task.settings["batch_size"], task.device)


def _distances(generated: np.ndarray, real: np.ndarray, name: str, task: Task) -> dict[str, float]:
    neighbours = task.settings["distribution"]["neighbours"]
    if min(len(generated), len(real)) <= neighbours or not np.isfinite(generated).all():
        return {}
    frechet, kernel = ("fid", "kid") if name == "inception" else (f"fd_{name}", f"kd_{name}")
    manifold = distribution.manifold_metrics(generated, real, neighbours)
    return {
        frechet: distribution.frechet_distance(generated, real),
        kernel: distribution.kernel_distance(generated, real),
        **{f"{metric}_{name}": value for metric, value in manifold.items()},
    }


def memorisation(task: Task) -> dict[str, float]:
    """How near the generated images come to the training images, also relative to what held-out images do."""
    queries = np.concatenate([task.samples[: task.limit], task.images[: task.limit]])
    blocks = (task.train[i : i + TRAINING_BLOCK] for i in range(0, len(task.train), TRAINING_BLOCK))
    distances = distribution.nearest_distances(queries, blocks)
    generated, held_out = np.split(distances, [min(len(task.samples), task.limit)])
    reference = held_out.mean()
    ratio = {"nearest_train_ratio": float(generated.mean() / reference)} if reference > 0 else {}
    return {"nearest_train_distance": float(generated.mean())} | ratio


def add_likelihood(task: Task, suites: Suites) -> None:
    """The importance-weighted bound of the first images."""
    from vaebench.metrics.likelihood import importance_weighted_bound

    options, generator = task.settings["likelihood"], task.generator(1000)
    chosen = task.images[: options["images"]]
    found = Pass()
    for x, kept in _batches(task, chosen, "importance samples"):
        bound, effective = importance_weighted_bound(task.model, x, options["samples"], generator)
        found.add({"log_likelihood": bound, "effective_samples": effective}, {}, kept, 0)
    suites.add_per_image(found.columns(), len(chosen))


def add_legacy(task: Task, suites: Suites) -> None:
    """The original study's numbers, for its four models."""
    if task.model.model_name not in MODEL_TERMS:
        return
    lpips = task.pairs.trunks.get("vgg") or Perceptual("vgg", task.weights["vgg16"]).to(task.device)
    found = legacy_reconstruction(task.model, lpips, task.images, task.device)
    suites.add({f"legacy_{name}": value for name, value in found.items()}, len(task.images))
    found = legacy_generation(task.model, lpips, task.device)
    suites.add({f"legacy_self_{name}": value for name, value in found.items()}, 64)


def write_results(
    task: Task, suites: Suites, held_out: Pass, summary: LatentSummary, model: Path, data: dict, outputs: dict
) -> None:
    """All result files of this evaluation, each whole or absent."""
    columns = held_out.columns()
    manifest = read_manifest(data[task.settings["split"]])
    context = suites.context(model, {split: read_manifest(path)["sha256"] for split, path in data.items()}, task.device)
    write_per_image(outputs["per_image.parquet"], manifest["ids"][: len(task.images)], columns, context)
    write_npz(outputs["latent.npz"], summary.arrays())
    write_npz(outputs["extremes.npz"], extremes(task, columns["mse"]))
    for suite in task.settings["suites"]:
        suites.write(suite, outputs[f"{suite}.csv"])
    print(f"Measured {len(task.images)} images and {len(task.samples)} samples: {outputs['per_image.parquet'].parent}")


def extremes(task: Task, mse: np.ndarray) -> dict[str, np.ndarray]:
    """The best and the worst reconstructed images by MSE, with their reconstructions, uint8."""
    order = np.argsort(mse, kind="stable")
    arrays = {}
    for name, index in (("best", order[:EXTREMES]), ("worst", order[::-1][:EXTREMES])):
        originals = task.images[np.sort(index)][np.argsort(np.argsort(index))]
        arrays[f"{name}_index"] = index
        arrays[f"{name}_original"] = originals
        arrays[f"{name}_reconstruction"] = to_bytes(reconstruct(task.model, to_float(originals, task.device)))
    return arrays


def _batches(task: Task, images: np.ndarray, label: str) -> Iterator[tuple[Tensor, int]]:
    found = aligned_batches(images, task.settings["batch_size"], task.device)
    with tqdm(total=len(images), desc=label, unit="image") as progress:
        for x, kept in found:
            yield x, kept
            progress.update(kept)
