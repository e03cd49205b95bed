"""Whether each run of config/zoo.yaml learns to reconstruct better than the mean training image does.

Trains them as they stand there, on one thread, and writes the mean squared error of the validation images before the
training and after each epoch, in units of that of the mean training image, to benchmarks/results/zoo.csv.
First: snakemake --cores all --configfile config/zoo.yaml -- data

    python benchmarks/measure_zoo.py --data data/zoo --vgg16 data/weights/vgg16.pt [--runs vae svae ...]

Runs trained on LPIPS are left out where its weights are not given.
"""

import argparse
import csv
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from runs import files_in, write_rows

from vaebench.base.npz import open_array
from vaebench.config.plan import read_config
from vaebench.config.runs import expand_runs
from vaebench.models.lookup import trained_on_by
from vaebench.models.run_spec import RunSpec
from vaebench.training.one_training import train
from vaebench.training.record import TrainingJob

CONFIG = [Path("config/config.yaml"), Path("config/zoo.yaml")]


def error_of_the_mean(data: Path) -> float:
    """The mean squared error of the validation images, in [0, 1], by the mean training image."""
    images, shown = (np.array(open_array(data / f"{split}_data.npz"), np.float64) / 255 for split in ("train", "eval"))
    return float(np.square(shown - images.mean(0)).mean())


def course(spec: RunSpec, data: Path, weights: dict[str, Path], seed: int = 0) -> list[float]:
    """The mean squared error of the validation images before the training and after each of its epochs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for split in ("train", "eval"):
            (folder / f"{split}_data.npz").symlink_to((data / f"{split}_data.npz").resolve())
        files = replace(files_in(folder), weights=weights)
        train(TrainingJob(spec, seed, files, "measure"), threads=1)
        with open(files.history, newline="") as file:
            rows = [row for row in csv.DictReader(file) if (row["split"], row["term"]) == ("eval", "mse")]
    return [float(row["value"]) for row in rows]


def main() -> None:
    """Train the runs, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/zoo"))
    parser.add_argument("--vgg16", type=Path)
    parser.add_argument("--runs", nargs="*")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/zoo.csv"))
    given = parser.parse_args()
    weights = {"vgg16": given.vgg16} if given.vgg16 else {}
    mean = error_of_the_mean(given.data)
    rows = []
    for run, spec in expand_runs(read_config(CONFIG)).items():
        needed = trained_on_by(spec)
        if (given.runs and run not in given.runs) or not set(needed) <= set(weights):
            continue
        errors = course(spec, given.data, {network: weights[network] for network in needed})
        told = " ".join(f"{error / mean:.3f}" for error in errors)
        rows.append({"run": run, "model": spec.model_name, "of_mean_image_by_epoch": told})
        print(run, told, flush=True)
    write_rows(rows, given.output)


if __name__ == "__main__":
    main()
