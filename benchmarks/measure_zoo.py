"""Whether each run of config/zoo.yaml learns more than the mean training image, after 0, 1, ... epochs.

Trains them all as they stand there, on one thread, and writes the squared error of the validation images by epochs, in
units of that of the mean training image, to benchmarks/results/zoo.csv. Runs trained on LPIPS are left out unless its
weights are given. First: snakemake --cores all --configfile config/zoo.yaml -- data

    python benchmarks/measure_zoo.py --data data/zoo [--epochs 5] [--runs vae svae ...] [--vgg16 data/weights/vgg16.pt]
"""

import argparse
import csv
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from runs import files_in, with_training, write_rows

from vaebench.base.npz import open_array
from vaebench.config.plan import read_config
from vaebench.config.runs import expand_runs
from vaebench.models.lookup import trained_on_by
from vaebench.models.run_spec import RunSpec
from vaebench.training.one_training import train


def error_of_the_mean(train_data: Path, eval_data: Path) -> float:
    """The mean squared error of validation images, in [0, 1], by the mean training image."""
    mean = np.array(open_array(train_data), np.float64).mean(0) / 255
    return float(np.square(np.array(open_array(eval_data), np.float64) / 255 - mean).mean())


def course(spec: RunSpec, data: Path, weights: dict[str, Path], folder: Path) -> list[float]:
    """The `mse` of the validation images before the training and after each of its epochs."""
    for split in ("train", "eval"):
        (folder / f"{split}_data.npz").symlink_to((data / f"{split}_data.npz").resolve())
    files = replace(files_in(folder), weights=weights)
    train(spec, 0, files, code="measure", threads=1)
    with open(files.history, newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["split"], row["term"]) == ("eval", "mse")]
    return [float(row["value"]) for row in rows]


def main() -> None:
    """Train the runs, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/zoo"))
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--runs", nargs="*")
    parser.add_argument("--vgg16", type=Path)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/zoo.csv"))
    given = parser.parse_args()
    weights = {"vgg16": given.vgg16} if given.vgg16 else {}
    mean = error_of_the_mean(given.data / "train_data.npz", given.data / "eval_data.npz")
    rows = []
    for run, spec in expand_runs(read_config([Path("config/config.yaml"), Path("config/zoo.yaml")])).items():
        if (given.runs and run not in given.runs) or not set(trained_on_by(spec)) <= set(weights):
            continue
        spec = with_training(spec, **({"epochs": given.epochs} if given.epochs else {}))
        with tempfile.TemporaryDirectory() as folder:
            errors = course(spec, given.data, weights, Path(folder))
        told = " ".join(f"{error / mean:.3f}" for error in errors)
        rows.append({"run": run, "model": str(spec.model), "of_mean_image_by_epoch": told})
        print(", ".join(rows[-1].values()), flush=True)
    write_rows(rows, given.output)


if __name__ == "__main__":
    main()
