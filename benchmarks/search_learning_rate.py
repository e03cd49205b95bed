"""The search for the learning rate of the shipped studies: every run of a configuration is trained with each of a few.

All runs get the same trials, and the same rate: the one whose result is, for the run that likes it least, nearest to
that run's best. A run is judged on the validation images after its last epoch, by the loss that it minimises; a model
of several adversarial losses, which say nothing of quality, by its squared error. Rows are added to one CSV, and
trainings that it holds already are not repeated. config/README.md reads it.

    python benchmarks/search_learning_rate.py config/demo.yaml
"""

import argparse
import csv
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from pathlib import Path

import pandas as pd
from runs import trained, with_training, write_rows

from vaebench.base.errors import UserError
from vaebench.config.plan import read_config
from vaebench.config.runs import expand_runs
from vaebench.models.providers.pythae.catalog import MODELS

RATES = (3e-4, 1e-3, 2e-3, 3e-3, 1e-2)
IDENTITY = ("study", "images", "epochs", "run", "learning_rate", "seed")
MEASURED = ("precision", "judged_by", "value", "mse", "kl", "lowest_mse_in_epoch", "note")


def main() -> None:
    """Train what is missing, add it to the CSV, and print what each rate costs each run."""
    arguments = parse()
    config = read_config([Path("config/config.yaml"), *arguments.config])
    data = Path("data") / (arguments.data or config["dataset"]["name"])
    rows = read_rows(arguments.output)
    known = {tuple(row[name] for name in IDENTITY) for row in rows}
    tasks = [task for task in plan(config, arguments) if tuple(str(task[name]) for name in IDENTITY) not in known]
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for future in as_completed([pool.submit(measure, task, data) for task in tasks]):
            rows.append({name: str(value) for name, value in future.result().items()})
            rows.sort(key=sort_key)
            write_rows(rows, arguments.output)
    print(excess(pd.read_csv(arguments.output)).to_string(float_format="{:.3f}".format))


def plan(config: Mapping, arguments: argparse.Namespace) -> Iterator[dict]:
    """What is to be trained: each run of the configuration with each rate and seed, nothing else changed."""
    for (run, spec), rate, seed in product(expand_runs(config).items(), arguments.rates, range(arguments.seeds)):
        epochs = arguments.epochs or spec.training.epochs
        spec = with_training(spec, learning_rate=rate, epochs=epochs, select="last", patience=None)
        yield {
            "study": arguments.config[-1].stem if arguments.config else "config",
            "images": arguments.images or "all",
            "epochs": epochs,
            "run": run,
            "learning_rate": rate,
            "seed": seed,
            "spec": spec,
        }


def measure(task: Mapping, data: Path) -> dict:
    """Train once and read the validation values of the last epoch from the history."""
    spec = task["spec"]
    judged_by = "mse" if MODELS[spec.model].components else "loss"
    found = {name: task[name] for name in IDENTITY} | dict.fromkeys(MEASURED, "") | {"judged_by": judged_by}
    count = None if task["images"] == "all" else task["images"]
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as silence:
        os.dup2(silence.fileno(), 2)
        try:
            trained(spec, task["seed"], data / "train_data.npz", count, data / "eval_data.npz", Path(folder))
        except UserError as error:
            return found | {"note": str(error)}
        history = pd.read_csv(Path(folder) / "history.csv").query("split == 'eval'")
        precision = json.loads((Path(folder) / "provenance.json").read_text())["precision"]
    table = history.pivot(index="epoch", columns="term", values="value")
    last = table.iloc[-1]
    return found | {
        "precision": precision,
        "value": last[judged_by],
        "mse": last["mse"],
        "kl": last.get("kl", ""),
        "lowest_mse_in_epoch": table["mse"].loc[1:].idxmin(),
    }


def excess(table: pd.DataFrame) -> pd.DataFrame:
    """By study and rate: how far each run's value is above its best, as a fraction, mean over seeds; and the worst."""
    means = table.groupby([*IDENTITY[:3], "learning_rate", "run"])["value"].mean().unstack("run")
    best = means.groupby([*IDENTITY[:3]]).transform("min")
    above = means / best - 1
    return above.assign(worst=above.max(axis=1))


def read_rows(path: Path) -> list[dict]:
    """The rows that are there already."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def sort_key(row: Mapping) -> tuple:
    """By study and run; rates and seeds in their order as numbers."""
    return *(row[name] for name in IDENTITY[:4]), float(row["learning_rate"]), int(row["seed"])


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="*", type=Path, help="merged over config/config.yaml")
    parser.add_argument("--data", help="the folder under data/; the configuration's own if not given")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--images", type=int, help="training images; all if not given")
    parser.add_argument("--epochs", type=int, help="the configuration's if not given")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/learning_rate.csv"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
