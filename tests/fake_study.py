"""A whole results folder made from arithmetic instead of training: what figures, report and paper are tested on."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

from vaebench.base.evaluation_settings import EvaluationSettings, LikelihoodSettings, SetSettings
from vaebench.base.formats import stamped, write_npz
from vaebench.base.npz import write_manifest
from vaebench.base.provenance import write_provenance
from vaebench.figures.listing import FIGURES, FORMATS
from vaebench.figures.style import missing, save
from vaebench.metrics.metric import Value
from vaebench.results.budget import Tuned, budget
from vaebench.results.statistics import StatisticsSettings
from vaebench.results.study import StudyPlan
from vaebench.results.suite_files import Suites, TrainingIdentity, write_per_image
from vaebench.results.tables import Expected, runs_table, summary
from vaebench.training.checkpoint import Checkpoint
from vaebench.training.record import write_history

DATASET = "fake"
SUITES = ("reconstruction", "generation", "latent")
HELD_OUT = 40
NOTES = {"fd_vgg16": "40 generated against 40 held-out images, fewer than the 512 features"}
MEASURED = EvaluationSettings(
    split="test", batch_size=8, limit=None, suites=SUITES, protocol="standard", lpips=("alex", "vgg"), factors=(),
    samples_per_image=0, elbo_draws=1, distribution=SetSettings(("vgg16",), 5, 100),
    likelihood=LikelihoodSettings(8, 8),
)  # fmt: skip
STATISTICS = StatisticsSettings(confidence=0.95, baseline="vae")


@dataclass(frozen=True)
class Fake:
    """A run to make up: its entry and model, how poor it is (0..1), its beta, codes and failed seeds; its dimensions,
    and where a sweep over more than the beta makes it, the entry that it is `of`."""

    entry: str
    model: str = "VAE"
    badness: float = 0.5
    beta: float | None = None
    codes: int | None = None
    failed: tuple[int, ...] = ()
    dims: int = 16
    of: str = ""

    @property
    def name(self) -> str:
        return self.entry if self.beta is None else f"{self.entry}-beta{self.beta:g}"

    @property
    def spec(self) -> dict:
        config = {"latent_dim": self.dims} | ({} if self.beta is None else {"beta": self.beta})
        return {
            "run": self.name, "entry": self.of or self.entry, "model": self.model, "config": config, "pretrained": None,
            "nets": {"encoder": "compact", "decoder": "compact", "discriminator": None},
            "sampler": {"name": "auto", "options": {}},
            "training": {
                "epochs": 8, "batch_size": 64, "learning_rate": 1e-3, "optimizer": {"name": "Adam", "options": {}},
                "scheduler": None, "components": {}, "select": "last", "precision": "fp32",
            },
        }  # fmt: skip


DEMO = (
    Fake("vae", "VAE", 0.5),
    Fake("beta_vae", "BetaVAE", 0.4, beta=0.5),
    Fake("beta_vae", "BetaVAE", 0.55, beta=1.0),
    Fake("beta_vae", "BetaVAE", 0.9, beta=4.0),
    Fake("vqvae", "VQVAE", 0.15, codes=64),
    Fake("vaegan", "VAEGAN", 0.7),
)


def make_images(count: int, shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Smooth random pictures, (count, C, H, W) uint8."""
    rng = np.random.default_rng(seed)
    channels, height, width = shape
    coarse = rng.random((count, channels, 6, 6))
    fine = zoom(coarse, (1, 1, height / 6, width / 6), order=1)
    return (255 * fine[:, :, :height, :width]).astype(np.uint8)


def blurred(images: np.ndarray, badness: float, seed: int) -> np.ndarray:
    """What a reconstruction of that badness looks like: blurred, with a little noise."""
    rng = np.random.default_rng(seed)
    soft = gaussian_filter(images.astype(float), (0, 0, 3 * badness, 3 * badness))
    return np.clip(soft + rng.normal(0, 4 * badness, images.shape), 0, 255).astype(np.uint8)


def build_study(
    folder: Path,
    fakes: tuple[Fake, ...] = DEMO,
    seeds: tuple[int, ...] = (0, 1, 2),
    shape: tuple[int, int, int] = (3, 32, 32),
    images: np.ndarray | None = None,
) -> dict:
    """Write results/fake under `folder`; returns the arguments of `study_of`, by name."""
    images = make_images(HELD_OUT, shape) if images is None else images[:HELD_OUT]
    results = folder / "results" / DATASET
    for fake in fakes:
        for seed in seeds:
            path = results / "runs" / fake.name / f"seed{seed}"
            if seed in fake.failed:
                _write_failure(path)
            else:
                _write_training(path, fake, seed, images)
                _write_metrics(path / "metrics", fake, seed, images)
    _write_tables(results, fakes, seeds)
    _write_data(folder / "data" / DATASET, results, images)
    plan = StudyPlan(DATASET, {fake.name: fake.spec for fake in fakes}, {fake.name: list(seeds) for fake in fakes})
    return {"plan": plan, "results": results}


def _write_failure(path: Path) -> None:
    Checkpoint(path / "training_state", "").fail({"reason": "the loss is not a number", "term": "kl", "step": 130})


def _write_training(path: Path, fake: Fake, seed: int, images: np.ndarray) -> None:
    (path / "final_model").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    terms = {"loss": 900.0, "reconstruction_loss": 700.0, "vq" if fake.codes else "kl": 60.0}
    if fake.model == "VAEGAN":
        terms |= {"encoder_loss": 400.0, "decoder_loss": 200.0, "discriminator_loss": 1.4}
    rows = []
    for epoch in range(9):
        for split, level in (("train", 1.0), ("eval", 1.06)):
            decay = level * (fake.badness * 0.6 + np.exp(-epoch / 2.5)) * (1 + 0.03 * rng.standard_normal())
            rows += [(epoch, split, term, size * decay) for term, size in terms.items()]
        rows.append((epoch, "eval", "mse", 0.02 * decay))
        if epoch:
            speed = 600 * (1.2 - fake.badness) + 20 * rng.standard_normal()
            rows += [(epoch, "train", "learning_rate", 1e-3), (epoch, "train", "images_per_second", speed)]
            rows += [
                (epoch, "train", "peak_memory_mb", 800 + 300 * fake.badness),
                (epoch, "train", "seconds", 2400 / speed),
            ]
    names = ("epoch", "split", "term", "value")
    write_history([dict(zip(names, (*row[:3], float(row[3])), strict=True)) for row in rows], path / "history.csv")
    environment = {
        "git": {"commit": "0123456789abcdef", "dirty": False}, "time": "2026-11-22T12:00:00+00:00",
        "python": "3.11.9", "packages": {"torch": "2.15.0", "pythae": "0.1.2"}, "host": "node7",
        "device": {"type": "cpu", "name": "x86_64", "cores": 2},
    }  # fmt: skip
    provenance = {
        "spec": fake.spec, "seed": seed, "parameters": 350_000 if fake.codes else 645_000, "epochs": 8, "steps": 304,
        "images_seen": 19_200, "seconds": 40.0 + seed, "threads": 1, "precision": "bf16",
        "environment": environment,
    }  # fmt: skip
    write_provenance(path / "provenance.json", provenance)
    k, steps, dims, pairs = min(10, len(images)), 7, 8, 4
    reconstructions = blurred(images, fake.badness, seed)
    weights = np.linspace(0, 1, steps)[None, :, None, None, None]
    starts, ends = reconstructions[:pairs, None], reconstructions[pairs : 2 * pairs, None]
    arrays = {
        "index": np.arange(k) * (len(images) // k),
        "originals": images[:: len(images) // k][:k],
        "reconstructions": reconstructions[:: len(images) // k][:k],
        "interpolation": ((1 - weights) * starts + weights * ends).astype(np.uint8),
    }
    if not fake.codes:
        values = np.linspace(-3, 3, steps)
        shifts = 8 * values[None, :, None, None, None] * np.exp(-np.arange(dims) / 3)[:, None, None, None, None]
        traversal = np.clip(reconstructions[0].astype(float) + shifts, 0, 255).astype(np.uint8)
        arrays |= {"traversal": traversal, "traversal_dims": np.arange(dims)[::-1], "traversal_values": values}
    write_npz("showcase", path / "showcase.npz", arrays)
    sampled = blurred(np.roll(images, seed + 1, axis=0)[:, :, ::-1], fake.badness, seed)
    sampler = json.dumps({"name": "normal", "options": {}, "seed": 999})
    write_npz("samples", path / "samples.npz", {"data": sampled, "sampler": np.array(sampler)})


def _write_metrics(path: Path, fake: Fake, seed: int, images: np.ndarray) -> None:
    path.mkdir(parents=True)
    rng = np.random.default_rng(100 + seed)
    reconstructions = blurred(images, fake.badness, seed)
    mse = (((images.astype(float) - reconstructions) / 255) ** 2).mean(axis=(1, 2, 3))
    per_image = {"mse": mse, "bce": 0.5 + mse, "lpips_alex": 10 * mse + 0.02, "lpips_vgg": 12 * mse + 0.1}
    per_image |= {"ssim": 1 - 5 * mse, "gmsd": 2 * mse}
    scalars: dict[str, float] = {"fd_vgg16": 40 + 60 * fake.badness + rng.normal(), "kd_vgg16": 0.1 * fake.badness}
    scalars |= {"density_vgg16": 1 - fake.badness / 2, "coverage_vgg16": 0.9 - fake.badness / 2 + 0.01 * rng.random()}
    scalars |= {"fd_floor_vgg16": 12.5, "precision_vgg16": 1.0, "recall_vgg16": 0.0}
    per_image |= {"distortion": 0.5 * mse * images[0].size}
    arrays: dict[str, np.ndarray] = {}
    if fake.codes:
        usage = (1e4 * np.exp(-np.arange(fake.codes) / 12)).astype(np.int64) * (np.arange(fake.codes) < 50)
        arrays = {"code_usage": rng.permutation(usage)}
        scalars |= {"codebook_perplexity": 31.0, "codes_used": 50.0}
        per_image |= {"rate": 60 + rng.normal(0, 3, len(images))}
    elif fake.model != "AE":
        kl = 3 * np.exp(-np.arange(16) * (fake.beta or 1.0) / 5) * (1 + 0.05 * rng.random(16))
        means = rng.standard_normal((500, 16)).astype(np.float32) * np.sqrt(1 - np.exp(-kl)).astype(np.float32)
        variances = np.log(np.exp(-kl) + 1e-3).astype(np.float32) * np.ones((500, 1), np.float32)
        arrays = {"kl_per_dim": kl, "active": means.var(axis=0) > 0.01, "mean": means.mean(axis=0)}
        arrays |= {"variance": means.var(axis=0), "posterior_means": means, "posterior_log_variances": variances}
        per_image |= {"kl": kl.sum() + rng.normal(0, 1, len(images))}
        per_image |= {"rate": per_image["kl"]}
        scalars |= {"active_units": float(arrays["active"].sum())}
    write_npz("metrics", path / "latent.npz", arrays)
    if "rate" in per_image:
        per_image |= {"neg_elbo": per_image["rate"] + per_image["distortion"]}
    ids = [f"{number:06d}.jpg" for number in range(len(images))]
    context = {"run": fake.name, "seed": seed, "split": "test", "images": len(images), "protocol": "standard"}
    context |= {"data": {"test": "ab" * 32}, "training_environment": {}, "evaluation_environment": {}}
    context["training_precision"] = "bf16"
    write_per_image(path / "per_image.parquet", ids, per_image, context)
    ends = {"best": np.argsort(mse)[:8], "worst": np.argsort(-mse)[:8]}
    parts = {"index": np.arange(len(images)), "original": images, "reconstruction": reconstructions}
    extremes = {f"{end}_{key}": value[order] for end, order in ends.items() for key, value in parts.items()}
    write_npz("metrics", path / "extremes.npz", extremes)
    suites = Suites(TrainingIdentity(DATASET, fake.name, fake.model, seed), MEASURED, {}, len(images), ["vgg16"])
    suites.add_per_image(per_image, len(images))
    errors = {"fd_vgg16": 1.5, "kd_vgg16": 0.004}
    n = len(images)
    suites.add(
        {key: Value(value, n, errors.get(key, math.nan), NOTES.get(key, "")) for key, value in scalars.items()}, n
    )
    for suite in SUITES:
        suites.write(suite, path / f"{suite}.csv")


def _write_tables(results: Path, fakes: tuple[Fake, ...], seeds: tuple[int, ...]) -> None:
    done = [results / "runs" / fake.name / f"seed{seed}" for fake in fakes for seed in seeds if seed not in fake.failed]
    tables = results / "tables"
    runs_table([path / "metrics" / f"{suite}.csv" for path in done for suite in SUITES], tables / "runs.csv")
    failures = [
        {"run": fake.name, "seed": seed, "stage": "train", "reason": "the loss is not a number (term kl, step 130)"}
        for fake in fakes
        for seed in fake.failed
    ]
    per_image = [path / "metrics" / "per_image.parquet" for path in done]
    summary(tables / "runs.csv", per_image, tables, STATISTICS, Expected([fake.name for fake in fakes], failures))
    budget([path / "provenance.json" for path in done], {fake.name: Tuned(4) for fake in fakes}, tables)


def _write_data(folder: Path, results: Path, images: np.ndarray) -> None:
    folder.mkdir(parents=True)
    skipped = [{"image": "000017.jpg", "reason": "truncated: 118 of 9000 bytes"}]
    for split in ("train", "eval", "test"):
        array = folder / f"{split}_data.npz"
        facts = {
            "sha256": "ab" * 32, "split": split, "shape": list(images.shape),
            "skipped": skipped if split == "train" else [], "crop": {"center": 148}, "size": list(images.shape[2:]),
            "filter": "lanczos", "mean": [0.5] * images.shape[1], "std": [0.2] * images.shape[1],
            "sources": {"images": {"file": "img_align_celeba.zip", "md5": "00d2"}}, "versions": {"pillow": "11.0"},
        }  # fmt: skip
        write_manifest(array, facts, [f"{number:06d}.jpg" for number in range(len(images))])
    (results / "validation").mkdir()
    (results / "validation" / "summary.json").write_text(json.dumps(stamped("validation", {"images": 41, "bad": 1})))


def stand_in_figures(folder):
    """Files in place of drawn figures, which the report only embeds; one is of no data."""
    folder.mkdir(parents=True)
    for name in FIGURES:
        Image.new("L", (1, 1)).save(folder / f"{name}.png")
        (folder / f"{name}.svg").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    save(missing("Images for each label", "no run is conditional"), folder / "conditional", FORMATS)
    return folder
