"""A finished study in a notebook: its runs, tables, models and images, from the results folder alone."""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vaebench.base.errors import UserError
from vaebench.base.formats import check_npz, read_json
from vaebench.base.layout import runs_folder, training_folder
from vaebench.base.npz import open_array
from vaebench.results.study import Run
from vaebench.results.suite_files import read_context

if TYPE_CHECKING:
    from vaebench.models.interface import Autoencoder


class Tables(Mapping[str, pd.DataFrame]):
    """The CSV tables of a study by name, read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, name: str) -> pd.DataFrame:
        path = self._folder / f"{name}.csv"
        if not path.is_file():
            raise KeyError(f"{path} is not there; there are {', '.join(self) or 'none'}")
        return pd.read_csv(path)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(path.stem for path in self._folder.glob("*.csv")))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class OpenedStudy:
    """What a study left in `results/{dataset}`.

    `runs` are its runs by name, in the order of the configuration, then those that it no longer has; `tables` its CSV
    tables by name.
    """

    def __init__(self, folder: Path, runs: Mapping[str, Run]) -> None:
        self.folder = folder
        self.runs = dict(runs)
        self.tables = Tables(folder / "tables")

    def __repr__(self) -> str:
        trainings = sum(len(run.seeds) for run in self.runs.values())
        return f"<study {self.folder}: {len(self.runs)} runs, {trainings} trainings, tables {', '.join(self.tables)}>"

    def history(self, run: str) -> pd.DataFrame:
        """The training history of all seeds of a run: columns epoch, split, term, value, seed."""
        return self._run(run).history

    def samples(
        self, run: str, count: int | None = None, seed: int | None = None, sampler: str | None = None
    ) -> np.ndarray:
        """Generated images of one training, (count, C, H, W) uint8; all of them when `count` is None.

        They are those of the run's first sampler, or of a further `sampler` by its name in samplers.csv; `seed` None is
        the first.
        """
        path = self._path(run, seed, *(() if sampler is None else ("samplers", sampler)), "samples.npz")
        check_npz("samples", path)
        if count is not None:
            return np.array(open_array(path)[:count])
        with np.load(path) as arrays:
            images: np.ndarray = arrays["data"]
            return images

    def metrics(self, run: str, seed: int | None = None) -> pd.DataFrame:
        """The metrics of every measured image of one training, a row an image; `seed` None is the first."""
        path = self._path(run, seed, "metrics", "per_image.parquet")
        read_context(path)
        return pd.read_parquet(path)

    def model(self, run: str, seed: int | None = None, device: str = "cpu") -> "Autoencoder":
        """The trained model, in evaluation mode on `device`; `seed` None is the first."""
        from vaebench.models.storage import load_model

        return load_model(self._path(run, seed, "final_model"), device)

    def _run(self, name: str) -> Run:
        if name not in self.runs:
            raise UserError(f"{self.folder} has no run {name!r}; it has {', '.join(self.runs)}")
        return self.runs[name]

    def _path(self, name: str, seed: int | None, *parts: str) -> Path:
        run = self._run(name)
        seed = run.seeds[0] if seed is None else seed
        if seed not in run.seeds:
            raise UserError(f"{name} has no seed {seed}; it has {', '.join(map(str, run.seeds))}")
        path = run.path(seed, *parts)
        if not path.exists():
            raise UserError(f"{path} is not there: the study has not come that far")
        return path


def open_study(folder: Path | str) -> OpenedStudy:
    """The study whose results lie in `folder`, `results/demo` for example.

    Raises UserError where no training of a study lies there.
    """
    folder = Path(folder)
    found: dict[str, list[int]] = {}
    for path in sorted(folder.glob("runs/*/seed*/provenance.json")):
        found.setdefault(path.parts[-3], []).append(int(path.parts[-2].removeprefix("seed")))
    if not found:
        raise UserError(f"{folder} holds no trainings: give the folder that a study wrote, such as results/demo")
    runs, place = {}, runs_folder(folder)
    for name in sorted(found, key=_order_of(folder / "tables" / "runs.csv")):
        seeds = tuple(sorted(found[name]))
        recorded = read_json("training", training_folder(place, name, seeds[0]) / "provenance.json")
        runs[name] = Run(name, recorded["spec"], place / name, seeds)
    return OpenedStudy(folder, runs)


def main(arguments: list[str] | None = None) -> int:
    """Print a study's comparison: the mean of each headline metric of each run."""
    parser = argparse.ArgumentParser(prog="vaebench results", description=main.__doc__)
    parser.add_argument("results", type=Path, help="the folder that a study wrote, results/demo for example")
    folder = parser.parse_args(arguments).results
    try:
        study = open_study(folder)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(study)
    if "comparison" in study.tables:
        table = study.tables["comparison"].set_index("run").filter(regex="_mean$")
        with pd.option_context("display.width", None, "display.max_columns", None, "display.precision", 4):
            print(table.rename(columns=lambda name: name.removesuffix("_mean")).T.to_string(na_rep="-"))
    return 0


def _order_of(table: Path) -> Callable[[str], tuple[int, str]]:
    """A sort key that puts runs in the order of runs.csv, which is the configuration's, and others behind by name."""
    names = pd.read_csv(table, usecols=["run"])["run"].unique().tolist() if table.is_file() else []
    places = {name: place for place, name in enumerate(names)}
    return lambda name: (places.get(name, len(places)), name)
