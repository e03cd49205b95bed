"""What the tests of training share: real digits, small specifications for every model, and one call to train."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType

import numpy as np
import pytest
from run_specs import run_spec
from sklearn.datasets import load_digits

from vaebench import models
from vaebench.base.fingerprint import CALLED_BY_STAGE, CATALOG
from vaebench.base.npz import write_array
from vaebench.models.lookup import AFTER_TRAINING
from vaebench.models.run_spec import RunSpec
from vaebench.training.one_training import train
from vaebench.training.record import TrainingFiles, TrainingJob

# Settings that make a model small or set what its defaults refuse.
FIELDS = {
    "VAEGAN": {"reconstruction_layer": 2},
    "IWAE": {"number_samples": 3},
    "CIWAE": {"number_samples": 3},
    "MIWAE": {"number_samples": 3, "number_gradient_estimates": 2},
    "PIWAE": {"number_samples": 3, "number_gradient_estimates": 2},
    "VAMP": {"number_components": 5},
    "VQVAE": {"num_embeddings": 16},
    "VAE_IAF": {"hidden_size": 16},
    "MSSSIM_VAE": {"beta": 1e-3},
    "DisentangledBetaVAE": {"C": 5.0, "warmup_epoch": 2},
    "HVAE": {"n_lf": 1},
    "RHVAE": {"n_lf": 1},
    "WAE_MMD": {"reg_weight": 10.0},
}


def digits(count: int, start: int = 0) -> np.ndarray:
    """Real handwritten digits of scikit-learn, enlarged to uint8 (count, 1, 32, 32)."""
    images = load_digits().images[start : start + count] * (255 / 16)
    return np.kron(images, np.ones((4, 4))).round().astype(np.uint8)[:, None]


def write_data(folder: Path, train_count: int = 40, eval_count: int = 20) -> dict[str, Path]:
    """npz files of digits, without manifests."""
    paths = {"train_data": folder / "train_data.npz", "eval_data": folder / "eval_data.npz"}
    write_array(paths["train_data"], digits(train_count))
    write_array(paths["eval_data"], digits(eval_count, 1000))
    return paths


def make_spec(model: str, net: str = "compact", config: dict | None = None, **training) -> RunSpec:
    """A run's specification with networks of one family and a latent of 4."""
    nets = {"encoder": net, "decoder": net, "discriminator": net if model == "VAEGAN" else None}
    fields = {"latent_dim": 4, **FIELDS.get(model, {}), **(config or {})}
    return run_spec(model, nets, fields, training)


def with_training(spec: RunSpec, **training) -> RunSpec:
    """The same run, trained otherwise."""
    return replace(spec, training=replace(spec.training, **training))


def outputs(folder: Path) -> dict[str, Path]:
    """Where a training in `folder` writes."""
    return {
        "output": folder / "final_model",
        "history": folder / "history.csv",
        "provenance": folder / "provenance.json",
        "state": folder / "training_state",
    }


def run(
    spec: RunSpec,
    data: dict[str, Path],
    folder: Path,
    seed: int = 0,
    code: str = "code",
    weights=None,
    labels=None,
    **more,
) -> dict[str, Path]:
    """Train, and give the paths of the results."""
    paths = outputs(folder)
    files = TrainingFiles(data["train_data"], data["eval_data"], **paths, weights=weights or {}, labels=labels or {})
    train(TrainingJob(spec, seed, files, code), threads=1, **more)
    return paths


@contextmanager
def without_what_follows_training() -> Iterator[None]:
    """Let the functions that a training's fingerprint leaves out (`AFTER_TRAINING`) fail when they are called."""
    with pytest.MonkeyPatch.context() as patch:
        for module in _modules_of_models():
            own = [each for each in vars(module).values() if getattr(each, "__module__", "") == module.__name__]
            for owner in (module, *(each for each in own if isinstance(each, type))):
                for name in AFTER_TRAINING & vars(owner).keys():
                    fail = _failing(f"{module.__name__}: {name}")
                    patch.setattr(owner, name, property(fail) if isinstance(vars(owner)[name], property) else fail)
        yield


def _failing(name: str):
    def fail(*arguments, **options):
        raise AssertionError(f"{name} was called in a training")

    return fail


def _modules_of_models() -> list[ModuleType]:
    """The modules of models whose functions may be left out, all imported; a catalog counts by what it says."""
    names = [found.name for found in walk_packages(models.__path__, f"{models.__name__}.")]
    return [import_module(name) for name in names if CALLED_BY_STAGE.fullmatch(name) and not CATALOG.fullmatch(name)]


def read_history(path: Path, split: str, term: str) -> list[float]:
    """The values of one term, by epoch."""
    with open(path) as file:
        rows = [row for row in csv.DictReader(file) if (row["split"], row["term"]) == (split, term)]
    return [float(row["value"]) for row in rows]
