"""What the measurements of training share: the description of a run, and a short training."""

import csv
from argparse import ArgumentTypeError
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from pythae.models import BaseAE

from vaebench.base.npz import open_array, write_array
from vaebench.base.values import from_dict
from vaebench.models.run_spec import RunSpec
from vaebench.models.storage import load_model
from vaebench.training.one_training import train
from vaebench.training.record import TrainingFiles, TrainingJob

FIELDS = {
    "VAE": {"latent_dim": 64},
    "VQVAE": {"latent_dim": 64, "num_embeddings": 512},
    "VAEGAN": {"latent_dim": 64, "reconstruction_layer": 2},
}


def specification(model: str, nets: str, discriminator: str, batch_size: int, **training: object) -> RunSpec:
    """A run of `model` with `nets`: Adam at 1e-4, pythae's default, in fp32 unless `training` says otherwise."""
    given = {
        "run": f"{model}-{nets}",
        "entry": model,
        "model": model,
        "nets": {"encoder": nets, "decoder": nets, "discriminator": discriminator if model == "VAEGAN" else None},
        "config": FIELDS[model],
        "training": {
            "epochs": 1,
            "batch_size": batch_size,
            "eval_batch_size": batch_size,
            "learning_rate": 1e-4,
            "optimizer": {"name": "Adam", "options": {}},
            "scheduler": None,
            "components": {},
            "gradients": "exact",
            "vq_scale": "mean",
            "precision": "fp32",
            "channels_last": True,
            "compile": False,
            "deterministic": False,
            "select": "mse",
            "patience": None,
            "checkpoint_minutes": 60,
            "record_steps": True,
            "device": "auto",
        }
        | training,
        "sampler": {"name": "auto", "options": {}},
        "pretrained": None,
    }
    return from_dict(RunSpec, given)


def with_training(spec: RunSpec, **changes: object) -> RunSpec:
    """The same run, trained otherwise."""
    return replace(spec, training=replace(spec.training, **changes))


def file_of_demo(name: str) -> Path:
    """An argument that is a file which the demo makes; argparse ends the program with one line when it is not there."""
    if not Path(name).is_file():
        raise ArgumentTypeError(f"{name} is missing: make demo makes it")
    return Path(name)


def trained(spec: RunSpec, seed: int, train_data: Path, count: int, eval_data: Path, folder: Path) -> BaseAE:
    """The model that `spec` gives after training on the first `count` images of `train_data`, on one thread."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = with_training(spec, deterministic=True)
    write_array(folder / "train_data.npz", np.array(open_array(train_data)[:count]))
    paths = {"output": folder / "model", "history": folder / "history.csv", "provenance": folder / "provenance.json"}
    files = TrainingFiles(folder / "train_data.npz", eval_data, **paths, state=folder / "state")
    train(TrainingJob(spec, seed, files, "measure"), threads=1)
    return load_model(paths["output"])


def files_in(folder: Path) -> TrainingFiles:
    """What a training reads, train_data.npz and eval_data.npz, and writes, all in one folder."""
    places = {name: folder / name for name in ("output", "history", "provenance", "state")}
    return TrainingFiles(folder / "train_data.npz", folder / "eval_data.npz", **places)


def evaluation_images(eval_data: Path) -> torch.Tensor:
    """All images of `eval_data`, float32 (n, C, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(open_array(eval_data))).float() / 255


def write_rows(rows: list[dict], output: Path) -> None:
    """Write the measurements as CSV, and say where."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with open(output, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"written to {output}")
