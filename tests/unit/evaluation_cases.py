"""Small models, images and settings for the tests of the evaluation."""

import csv
from pathlib import Path

import numpy as np
import torch
from pythae import models as pythae_models
from run_specs import run_spec

from vaebench.base.evaluation_settings import EvaluationSettings
from vaebench.base.files import sha256_of
from vaebench.base.formats import write_npz
from vaebench.base.npz import write_array, write_manifest
from vaebench.base.values import from_dict
from vaebench.evaluation import run as evaluation
from vaebench.models.building import build_model
from vaebench.models.providers.pythae.model import adopt
from vaebench.models.run_spec import Named, RunSpec
from vaebench.models.storage import save_model
from vaebench.results.suite_files import TrainingIdentity
from vaebench.sampling import samplers
from vaebench.sampling.sampling_settings import SamplingSettings, ShowcaseSettings

SETTINGS = {
    "split": "test",
    "batch_size": 8,
    "limit": None,
    "suites": ["reconstruction", "generation", "latent"],
    "protocol": "standard",
    "lpips": [],
    "samples_per_image": 0,
    "elbo_draws": 4,
    "distribution": {"features": [], "neighbours": 3, "limit": 100},
    "likelihood": {"samples": 8, "images": 6},
    "factors": [],
    "device": "auto",
}
WITH_VGG = {"lpips": ["vgg"], "distribution": {"features": ["vgg16"], "neighbours": 3, "limit": 100}}
SAMPLES = {
    "count": 12,
    "batch_size": 5,
    "seed": 999,
    "device": "auto",
    "showcase": {"images": 6, "traversal_dims": 3, "traversal_steps": 5, "interpolations": 2, "device": "auto"},
}
# Relative difference of what float32 networks give in two orders of summation. A sum of n terms is rounded by about
# sqrt(n) 6e-8 (Higham & Mary 2019, https://doi.org/10.1137/18M1226312): 4e-6 for VGG16's longest, n = 4608, and at most
# 7e-5 after its 16 layers.
FLOAT32 = 1e-4
SUITES = ("reconstruction", "generation", "latent", "likelihood")


def settings_of(settings: dict) -> EvaluationSettings:
    """Settings as the configuration has them, as a value."""
    return from_dict(EvaluationSettings, settings)


def evaluate(model, spec, seed, dataset, data, samples, weights, settings, labels, outputs, threads):
    """The evaluation, of a run's specification and with settings as the configuration has them."""
    training = TrainingIdentity(dataset, spec.run, spec.model, seed)
    files = evaluation.EvaluationFiles(model, data, samples, weights, labels)
    evaluation.evaluate(training, files, settings_of(settings), outputs, threads)


def write_samples(path, images, **nats):
    """A run's samples.npz as the sampling leaves it; `nats` of latents, where a density was fitted to them."""
    write_npz("samples", path, {"data": images, "sampler": np.array("{}"), **nats})


def sample(model, data, output, sampler, settings, seed, threads):
    """The sampling, its sampler and settings as the configuration has them."""
    settings = from_dict(SamplingSettings, {key: value for key, value in settings.items() if key != "showcase"})
    samplers.sample(samplers.SamplingFiles(model, data, output), from_dict(Named, sampler), settings, seed, threads)


def make_showcase(model, test_data, output, settings, seed, threads):
    """The showcase, its settings as the configuration has them."""
    from vaebench.sampling import showcase  # here, since a test looks at what an evaluation imports

    files = showcase.ShowcaseFiles(model, test_data, output)
    showcase.make_showcase(files, from_dict(ShowcaseSettings, settings), seed, threads)


def default_model(name: str, seed: int = 0, **fields):
    """A pythae model with its default networks for 1x28x28 images and 4 latent dimensions, in eval mode."""
    config = getattr(pythae_models, f"{name}Config", None) or getattr(pythae_models, f"{name}_Config")
    torch.manual_seed(seed)
    return adopt(getattr(pythae_models, name)(config(input_dim=(1, 28, 28), **{"latent_dim": 4} | fields))).eval()


def compact_spec(model: str, **config):
    """The specification of a run with the compact networks."""
    return run_spec(model, config=config)


def save_run(folder: Path, model: str, shape=(1, 28, 28), seed: int = 0, change=None, **config) -> tuple[Path, RunSpec]:
    """An untrained model saved as a training would; `change(model)` may damage it before."""
    spec = compact_spec(model, **config)
    torch.manual_seed(seed)
    network = build_model(spec, shape).eval()
    if change:
        change(network)
    save_model(network, spec.as_record(), folder / "final_model")
    return folder / "final_model", spec


def smooth_images(count: int, shape=(1, 28, 28), seed: int = 0) -> np.ndarray:
    """Random blurred uint8 images: rough noise, scaled up."""
    generator = np.random.default_rng(seed)
    coarse = generator.random((count, shape[0], 4, 4))
    size = torch.nn.functional.interpolate(torch.from_numpy(coarse), shape[1:], mode="bicubic")
    return (size.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def write_data(folder: Path, images: dict[str, np.ndarray]) -> dict[str, Path]:
    """Each split's npz and its manifest, as preprocessing writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for split, array in images.items():
        paths[split] = folder / f"{split}_data.npz"
        write_array(paths[split], array)
        facts = {"sha256": sha256_of(paths[split]), "split": split, "shape": list(array.shape)}
        write_manifest(paths[split], facts, [f"{split}_{i:03d}.png" for i in range(len(array))])
    return paths


def result_paths(folder: Path) -> dict[str, Path]:
    """Where an evaluation writes, by file name."""
    names = [*(f"{suite}.csv" for suite in SUITES), "per_image.parquet", "latent.npz", "extremes.npz"]
    return {name: folder / "metrics" / name for name in names}


def read_suites(folder: Path) -> dict[str, dict[str, str]]:
    """The rows that an evaluation into `result_paths(folder)` wrote, by metric."""
    rows = {}
    for path in result_paths(folder).values():
        if path.suffix == ".csv" and path.exists():
            with open(path) as file:
                rows |= {row["metric"]: row for row in csv.DictReader(file)}
    return rows


def write_random_inception(network_class, path):
    """A state dictionary of the right names and shapes, from the class's own construction with loading left out."""
    captured = {}

    class Unloaded(network_class):
        def load_state_dict(self, state, *args, **kwargs):
            captured.update(self.state_dict())

    torch.save({}, path)
    try:
        Unloaded("x", ["2048"], feature_extractor_weights_path=str(path))
    finally:
        generator = torch.Generator().manual_seed(0)
        for name, tensor in captured.items():
            if tensor.is_floating_point() and "running_var" not in name:
                captured[name] = 0.05 * torch.randn(tensor.shape, generator=generator)
        torch.save(captured, path)
