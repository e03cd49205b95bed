"""What a study left on disk, read for figures, report and paper: planned runs, their files and the tables."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vaebench.base.evaluation_settings import TRAINED_ON
from vaebench.base.formats import check_npz, read_json, read_npz
from vaebench.base.layout import runs_folder, state_folder, training_folder
from vaebench.base.npz import open_array

NOT_FINISHED = "not finished"


@dataclass(frozen=True, eq=False)
class Run:
    """One planned run: its resolved specification and the folder that holds its seeds.

    samplers: the labels of those that draw its images; the run is compared by the first.
    """

    name: str
    spec: Mapping[str, Any] = field(repr=False)  # of a page's length
    folder: Path
    seeds: tuple[int, ...]
    samplers: tuple[str, ...] = ("",)

    @property
    def entry(self) -> str:
        """The entry under `models:` in the configuration; the runs of one sweep share it."""
        return self.spec.get("entry") or self.name

    @property
    def model(self) -> str:
        """The name of the model: of the configuration, or for a pretrained one what was found in its files."""
        return self.made_with.get("model") or "pretrained"

    @cached_property
    def made_with(self) -> dict[str, Any]:
        """`spec` as the first seed's provenance has it, with what a tuning chose; as planned before there is one.

        Of a pretrained model it is what its files say, with an empty `training`: how it was trained is not known.
        """
        made = {**self.spec, **(self.provenance.get("spec") or {})}
        return made | {"training": {}} if self.spec.get("pretrained") else made

    def path(self, seed: int, *parts: str) -> Path:
        """A file of one training."""
        return training_folder(self.folder.parent, self.folder.name, seed).joinpath(*parts)

    @property
    def trained(self) -> list[int]:
        """The seeds whose training has written its history."""
        return [seed for seed in self.seeds if self.path(seed, "history.csv").exists()]

    def first(self, *parts: str) -> Path | None:
        """The named file of the lowest seed that has it: the one that figures show."""
        paths = (self.path(seed, *parts) for seed in self.seeds)
        return next((path for path in paths if path.exists()), None)

    def arrays(self, *parts: str) -> dict[str, np.ndarray]:
        """All arrays of an npz file of the first seed that has it; empty when no seed has."""
        path = self.first(*parts)
        if path is None:
            return {}
        return read_npz("showcase" if parts[-1] == "showcase.npz" else "metrics", path)

    def samples(self, sampler: str | None = None) -> Path | None:
        """samples.npz of the first seed that has it, drawn by one of `samplers`, or by the first."""
        further = sampler is not None and sampler in self.samplers[1:]
        return self.first("samplers", str(sampler), "samples.npz") if further else self.first("samples.npz")

    def generated(self, count: int, sampler: str | None = None) -> np.ndarray | None:
        """The first `count` generated images of the first seed, (count, C, H, W) uint8, without reading the others."""
        path = self.samples(sampler)
        if path is None:
            return None
        check_npz("samples", path)
        return np.array(open_array(path)[:count])

    def generated_for(self, rows: np.ndarray, count: int) -> np.ndarray | None:
        """The first `count` generated images for labels, a row (K,) each: (rows, count, C, H, W), white where missing.

        None where the run has none, or none with labels.
        """
        path = self.samples()
        if path is None:
            return None
        check_npz("samples", path)
        images = open_array(path)
        with np.load(path) as archive:
            if "conditions" not in archive:
                return None
            drawn_for = archive["conditions"]
        found = np.full((len(rows), count, *images.shape[1:]), 255, np.uint8)
        for place, row in enumerate(rows):
            alike = (drawn_for == row).all(1).nonzero()[0][:count]
            found[place, : len(alike)] = images[alike]
        return found

    @cached_property
    def sampler(self) -> dict[str, Any]:
        """What is recorded about the first of the samplers."""
        return self.drawn_by()

    def drawn_by(self, sampler: str | None = None) -> dict[str, Any]:
        """What samples.npz of the first seed that has it records of its sampler: name, options and seeds."""
        path = self.samples(sampler)
        if path is None:
            return {}
        check_npz("samples", path)
        with np.load(path) as archive:
            recorded: dict[str, Any] = json.loads(str(archive["sampler"]))
            return recorded

    @cached_property
    def history(self) -> pd.DataFrame:
        """history.csv of every trained seed, with a column `seed`; no rows when nothing was trained."""
        for seed in self.trained:
            if (recorded := self.path(seed, "provenance.json")).exists():  # which tells the format of both
                read_json("training", recorded)
        frames = [pd.read_csv(self.path(seed, "history.csv")).assign(seed=seed) for seed in self.trained]
        return pd.concat(frames) if frames else pd.DataFrame(columns=["epoch", "split", "term", "value", "seed"])

    @cached_property
    def failures(self) -> dict[int, str]:
        """Why a planned seed has no result, in words, by seed."""
        return {seed: self._reason(seed) for seed in self.seeds if seed not in self.trained}

    @property
    def unmeasured(self) -> list[int]:
        """The trained seeds that have not been evaluated."""
        return [seed for seed in self.trained if not self.path(seed, "metrics", "per_image.parquet").exists()]

    def _reason(self, seed: int) -> str:
        path = state_folder(self.path(seed)) / "failure.json"
        if not path.exists():
            return NOT_FINISHED
        failure = read_json("state", path)
        where = [f"{key} {failure[key]}" for key in ("term", "epoch", "step") if failure.get(key) is not None]
        return f"{failure.get('reason', 'failed')}" + (f" ({', '.join(where)})" if where else "")

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """provenance.json of the first seed; empty when there is none."""
        path = self.first("provenance.json")
        return read_json("training", path) if path else {}


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its confidence interval; low and high are NaN where there is none.

    With one seed the interval is over images or samples, for this trained model.
    """

    mean: float
    low: float
    high: float
    seeds: int


@dataclass(frozen=True)
class Study:
    """The runs of one data set in the order of the configuration, and their tables."""

    dataset: str
    runs: tuple[Run, ...]
    tables: Path

    @cached_property
    def values(self) -> pd.DataFrame:
        """runs.csv: one row per run, seed, split and metric."""
        return self.table("runs")

    def table(self, name: str) -> pd.DataFrame:
        """One of the CSV tables; an empty frame when it was not written."""
        path = self.tables / f"{name}.csv"
        return pd.read_csv(path) if path.exists() and path.stat().st_size > 1 else pd.DataFrame()

    @cached_property
    def _comparison(self) -> pd.DataFrame:
        return self._by_run("comparison")

    def _by_run(self, name: str) -> pd.DataFrame:
        table = self.table(name)
        return table.set_index("run") if "run" in table else table

    @cached_property
    def _wide(self) -> list[pd.DataFrame]:
        """The tables with a row per run, the comparison first."""
        return [self._comparison, *map(self._by_run, ("reconstruction", "generation", "latent"))]

    def interval(self, run: str, metric: str) -> Interval | None:
        """Mean over seeds and interval of a metric, from the tables of a row per run; None when it has no value."""
        table = next((table for table in self._wide if f"{metric}_mean" in table), None)
        return None if table is None or run not in table.index else _interval(table, run, metric)

    @cached_property
    def by_sampler(self) -> pd.DataFrame:
        """by_sampler.csv, indexed by run and sampler, as `run sampler`; empty where no run has several."""
        table = self.table("by_sampler")
        return table.set_index(table["run"] + " " + table["sampler"]) if "sampler" in table else table

    def interval_by(self, run: Run, sampler: str, metric: str) -> Interval | None:
        """`interval` of a metric of the images that one of a run's samplers drew."""
        pair = f"{run.name} {sampler}"
        if f"{metric}_mean" in self.by_sampler and pair in self.by_sampler.index:
            return _interval(self.by_sampler, pair, metric)
        return self.interval(run.name, metric) if sampler == run.samplers[0] else None

    @cached_property
    def trained_on(self) -> set[tuple[str, str]]:
        """The pairs of run and metric where the run was trained on what the network of the metric measures."""
        if "note" not in self.values:
            return set()
        judged = self.values["note"].fillna("").astype(str).str.contains(TRAINED_ON, regex=False)
        found = self.values[judged & self.values["value"].notna()]
        return set(zip(found["run"], found["metric"], strict=True))

    def notes(self, run: str, metric: str) -> str:
        """What qualifies a run's values of a metric, or why there are none, from runs.csv; empty for nothing."""
        if "note" not in self.values:
            return ""
        own = self.values[(self.values["run"] == run) & (self.values["metric"] == metric)]
        return "; ".join(str(note) for note in own["note"].dropna().unique() if note)

    def ranks(self, metric: str) -> dict[str, float]:
        """The rank of each run by a headline metric, from comparison.csv; NaN where it has none."""
        column = self._comparison.get(f"{metric}_rank", pd.Series(dtype=float))
        return {run.name: float(column.get(run.name, math.nan)) for run in self.runs}

    def winner(self, metric: str) -> str | None:
        """The run that is better than every other beyond chance by a headline metric, from comparison.csv."""
        column = self._comparison.get(f"{metric}_best", pd.Series(dtype=bool))
        return next((str(run) for run, best in column.items() if best), None)

    def difference(self, first: str, second: str, metric: str) -> Interval | None:
        """First minus second with its interval, from pairwise.csv; None where it was not tested."""
        table = self.table("pairwise")
        if "metric" not in table:
            return None
        for sign, (a, b) in ((1, (first, second)), (-1, (second, first))):
            found = table[(table["metric"] == metric) & (table["run_a"] == a) & (table["run_b"] == b)]
            for row in records(found[found["p_value"].notna()]):
                low, high = sorted((sign * row["ci_low"], sign * row["ci_high"]))
                return Interval(sign * row["difference"], low, high, int(min(row["n_seeds_a"], row["n_seeds_b"])))
        return None

    @cached_property
    def betas(self) -> dict[str, dict[str, float]]:
        """By entry, its runs and their betas in ascending order; entries with a single beta are left out.

        Where a sweep varies more than the beta, runs that are alike in all else are a series of their own, called by
        their names without the beta. A VAE is a BetaVAE with a beta of 1, and counts as that run of a series that has
        none of its own.
        """
        series: dict[tuple[str, str], dict[str, float]] = {}
        for run in self.runs:
            beta = (run.made_with.get("config") or {}).get("beta")
            if beta is not None:
                series.setdefault((run.entry, _all_but_beta(run)), {})[run.name] = float(beta)
        entries = Counter(entry for entry, _ in series)
        found = {}
        for (entry, others), betas in series.items():
            first, beta = next(iter(betas.items()))
            if 1.0 not in betas.values():
                betas |= {run.name: 1.0 for run in self.runs if run.model == "VAE" and _all_but_beta(run) == others}
            if len(set(betas.values())) > 1:
                name = entry if entries[entry] == 1 else first.replace(f"-beta{beta:g}", "")
                found[name] = dict(sorted(betas.items(), key=lambda item: item[1]))
        return found

    @property
    def several_seeds(self) -> bool:
        """Whether any run was trained with several seeds."""
        return any(len(run.trained) > 1 for run in self.runs)

    def elsewhere(self, tables: Path, folder: Path) -> "Study":
        """The same study with its tables and its trainings in other folders."""
        return Study(self.dataset, tuple(replace(run, folder=folder / run.name) for run in self.runs), tables)

    def count(self, metric: str) -> int:
        """How many runs have a value of this metric."""
        return sum(self.interval(run.name, metric) is not None for run in self.runs)

    def has(self, metric: str) -> bool:
        """Whether any run has a value of this metric."""
        return self.count(metric) > 0


def _interval(table: pd.DataFrame, row: str, metric: str) -> Interval | None:
    """The interval of a metric in a row of a table; None when it has no value."""
    parts = [f"{metric}_{part}" for part in ("mean", "ci_low", "ci_high", "n_seeds")]
    mean, low, high, seeds = (float(value) for value in table.loc[row, parts].to_numpy(np.float64))
    return Interval(mean, low, high, int(seeds)) if math.isfinite(mean) else None


def _all_but_beta(run: Run) -> str:
    """What decides the trained model of a VAE or a BetaVAE, or of another model, except for the beta: as text."""
    config = {field: value for field, value in (run.spec.get("config") or {}).items() if field != "beta"}
    model = "BetaVAE" if run.model == "VAE" else run.model
    parts = {part: run.spec.get(part) for part in ("nets", "training", "pretrained")}
    return json.dumps({"model": model, "config": config} | parts, sort_keys=True)


@dataclass(frozen=True)
class StudyPlan:
    """The runs of a data set by name, in the order to show: what each was planned with, its seeds and its samplers."""

    dataset: str
    runs: Mapping[str, Mapping[str, Any]]
    seeds: Mapping[str, Sequence[int]]
    samplers: Mapping[str, Sequence[str]] = field(default_factory=dict)


def study_of(plan: StudyPlan, results: Path) -> Study:
    """The study whose trainings and tables lie in the folders `runs` and `tables` of `results`."""
    runs = tuple(
        Run(name, spec, runs_folder(results) / name, tuple(plan.seeds[name]), tuple(plan.samplers.get(name, ("",))))
        for name, spec in plan.runs.items()
    )
    return Study(plan.dataset, runs, results / "tables")


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, each by column."""
    return [{str(column): value for column, value in row.items()} for row in frame.to_dict("records")]
