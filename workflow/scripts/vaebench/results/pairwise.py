"""Differences between runs: for other trainings where there are several seeds, else of the trained models."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vaebench.metrics.registry import METRICS
from vaebench.results.statistics import (
    Component,
    StatisticsSettings,
    detectable_deviations,
    difference_of,
    half_width,
    holm,
    p_value,
    variance_of_mean,
)
from vaebench.results.suite_files import Context

COLUMNS = (
    "metric",
    "run_a",
    "run_b",
    "difference",
    "ci_low",
    "ci_high",
    "p_value",
    "p_holm",
    "detectable",
    "n_images",
    "n_seeds_a",
    "n_seeds_b",
    "better",
    "holds_for",
    "against_baseline",
    "note",
)
Row = dict[str, Any]  # one difference, by column
FAR_APART = 10  # standard deviations of a training: a correction that asks for more is warned of


@dataclass(frozen=True)
class Trainings:
    """What one run's trainings got for one metric.

    values: (seeds,); std_error, freedom: of the only training, with its degrees of freedom, where there is one;
    images: the values by image, a row per image and a column per training, where the metric has them.
    """

    run: str
    values: np.ndarray
    std_error: float
    freedom: int
    images: pd.DataFrame | None

    @property
    def several(self) -> bool:
        """Whether there are several trainings, which show the run's variance."""
        return len(self.values) > 1

    def of_images(self, chosen: pd.Index) -> np.ndarray:
        """The values of the chosen images, (images, seeds); a metric without values by image has none."""
        images = pd.DataFrame(index=chosen) if self.images is None else self.images
        return (images if images.index.equals(chosen) else images.loc[chosen]).to_numpy(np.float64)


def pairwise(
    values: pd.DataFrame,
    per_image: Sequence[Path],
    contexts: Sequence[Context],
    order: Sequence[str],
    settings: StatisticsSettings,
) -> pd.DataFrame:
    """The difference run_a - run_b of every pair of runs in every metric that has a better direction.

    values: runs.csv; per_image, contexts: the tables per_image.parquet with what they were made under; order: the runs.
    """
    frames = {
        (context["run"], context["seed"]): pd.read_parquet(path).set_index("image").drop(columns="index")
        for path, context in zip(per_image, contexts, strict=True)
    }
    ranked = [name for name, metric in METRICS.items() if metric.higher_is_better is not None]
    rows = [row for name in ranked for row in compare_all(name, trainings(name, values, frames, order), settings)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({"p_value": float, "n_images": "Int64", "n_seeds_a": int, "n_seeds_b": int})


def trainings(
    metric: str, values: pd.DataFrame, frames: Mapping[tuple[str, int], pd.DataFrame], order: Sequence[str]
) -> list[Trainings]:
    """What each run has of a metric: of the seeds with a value in runs.csv, and no others; no run without a value."""
    found = values[(values["metric"] == metric) & values["value"].notna()]
    result = []
    for run in order:
        own = found[found["run"] == run]
        if own.empty:
            continue
        columns = [frames.get((run, seed), pd.DataFrame()).get(metric) for seed in own["seed"]]
        images = None
        if all(column is not None for column in columns):
            images = pd.concat(columns, axis=1, join="inner", keys=own["seed"]).dropna()
        error, n = own["std_error"].iloc[0], own["n"].iloc[0]
        freedom = METRICS[metric].freedom(int(n))
        result.append(Trainings(run, own["value"].to_numpy(np.float64), float(error), freedom, images))
    return result


def compare_all(metric: str, runs: Sequence[Trainings], settings: StatisticsSettings) -> list[Row]:
    """A row for every pair of runs that were measured alike: `compare`, and what follows from all of them together.

    `p_holm` is Holm's over these pairs, and `better` names the better run where `p_holm` is below 1 - confidence;
    `detectable` is the smallest difference that would pass the first step of the correction, given the variances found.
    """
    pairs = [pair for pair in combinations(runs, 2) if _comparable(*pair)]
    rows = [compare(metric, *pair, settings.confidence) for pair in pairs]
    alpha = 1 - settings.confidence
    tested = sum(not math.isnan(row["p_value"]) for row in rows)
    for row, adjusted in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        components = row.pop("components")
        a_is_better = (row["difference"] > 0) == METRICS[metric].higher_is_better
        known = not math.isnan(adjusted)
        row["p_holm"] = float(adjusted)
        row["detectable"] = half_width(components, alpha / tested) if known else math.nan
        row["better"] = row["run_a" if a_is_better else "run_b"] if adjusted < alpha else ""
        row["against_baseline"] = any(_is_baseline(row[run], settings.baseline) for run in ("run_a", "run_b"))
        seeds = min((n for n in (row["n_seeds_a"], row["n_seeds_b"]) if n > 1), default=None)
        if known and seeds and not row["better"] and detectable_deviations(seeds, tested, alpha) > FAR_APART:
            row["note"] = f"{_tested(tested, of='')} hardly reaches the level with {seeds} seeds"
    return rows


def compare(metric: str, a: Trainings, b: Trainings, confidence: float) -> Row:
    """One row: the difference a - b with its interval and p-value, what it holds for, or why it is not tested.

    With several seeds the trainings are a sample of all trainings, and the images a sample of all images: the variances
    of both means over seeds and that of the paired difference over images add up (crossed random effects, as for
    readers and cases: Clark 1973; Bouthillier et al. 2021 for trainings). With one seed only the
    images, or the samples, are a sample.
    """
    common = _common_images(a, b)
    paired = common is not None
    x, y = (run.values if common is None else run.of_images(common) for run in (a, b))
    difference = difference_of(float(x.mean()), float(y.mean()))
    components = [variance_of_mean(z.mean(0) if paired else z) for z, run in ((x, a), (y, b)) if run.several]
    if paired:
        components.append(variance_of_mean(x.mean(1) - y.mean(1)))
    else:
        components += [Component(run.std_error**2, run.freedom) for run in (a, b) if not run.several]
    tested = not any(math.isnan(part.variance) for part in components)
    p = p_value(difference, components) if tested else math.nan
    half = half_width(components, 1 - confidence) if not math.isnan(p) else math.nan
    why = "one seed without a standard error: not tested" if not tested else "no variance at all: not tested"
    return {
        "metric": metric,
        "run_a": a.run,
        "run_b": b.run,
        "difference": difference,
        "ci_low": difference - half,
        "ci_high": difference + half,
        "p_value": p,
        "components": components,
        "n_images": len(x) if paired else pd.NA,
        "n_seeds_a": len(a.values),
        "n_seeds_b": len(b.values),
        "holds_for": holds_for(a, b, paired),
        "note": why if math.isnan(p) else "",
    }


def _common_images(a: Trainings, b: Trainings) -> pd.Index | None:
    """The images that both were measured on, in the order of the first; None for a metric without values by image."""
    if a.images is None or b.images is None:
        return None
    one, other = a.images.index, b.images.index
    return one if one.equals(other) else one[one.isin(other)]


def _comparable(a: Trainings, b: Trainings) -> bool:
    """Whether two runs were measured alike: on at least two of the same images, where there are values by image."""
    common = _common_images(a, b)
    return common is None or len(common) > 1


def holds_for(a: Trainings, b: Trainings, paired: bool) -> str:
    """What the statement on two runs is about, in words."""
    if a.several and b.several:
        return "other trainings and images" if paired else "other trainings, these held-out images"
    if a.several or b.several:
        one, many = (b, a) if a.several else (a, b)
        return f"this one trained model of {one.run}, other trainings of {many.run}"
    return "these two trained models"


def _is_baseline(run: str, baseline: str | None) -> bool:
    """Whether a run belongs to the baseline entry: its own name, or one run of its sweep."""
    return baseline is not None and (run == baseline or run.startswith(f"{baseline}-"))


def reach_notes(pairs: pd.DataFrame, alpha: float) -> list[str]:
    """A warning where Holm's correction hardly reaches the level alpha with so few seeds and so many pairs."""
    tested = pairs[pairs["p_value"].notna() & (pairs[["n_seeds_a", "n_seeds_b"]].max(axis=1) > 1)]
    worst = (0.0, 0, 0)
    for _, group in tested.groupby("metric", sort=False):
        counts = group[["n_seeds_a", "n_seeds_b"]].to_numpy()
        seeds = int(counts[counts > 1].min())
        comparisons = int(pairs.loc[pairs["metric"] == group["metric"].iloc[0], "p_value"].notna().sum())
        worst = max(worst, (detectable_deviations(seeds, comparisons, alpha), seeds, comparisons))
    deviations, seeds, comparisons = worst
    if deviations <= FAR_APART:
        return []
    enough = next(n for n in count(seeds + 1) if detectable_deviations(n, comparisons, alpha) <= FAR_APART)
    uncorrected = " Which run is best by a metric is told without this correction." if comparisons > 1 else ""
    return [
        f"With {seeds} seeds, {_tested(comparisons)} reaches the level {alpha:g} only "
        f"where two runs lie {deviations:.0f} standard deviations of a training apart, with {enough} seeds "
        f"{detectable_deviations(enough, comparisons, alpha):.1f} (column detectable of pairwise.csv)."
        f"{uncorrected}"
    ]


def _tested(comparisons: int, of: str = " of runs") -> str:
    """What reaches a level: the correction over so many pairs, which has nothing to correct where there is one."""
    return f"Holm's correction over {comparisons} pairs{of}" if comparisons > 1 else "a difference"


def seed_notes(values: pd.DataFrame, order: Sequence[str]) -> dict[str, str]:
    """By run, the metrics that some of its seeds have no value of, with the reason; those seeds count nowhere."""
    notes: dict[str, list[str]] = {}
    for run in order:
        own = values[values["run"] == run]
        lost: dict[tuple[tuple[int, ...], int, str], list[str]] = {}
        for metric, group in own.groupby("metric", sort=False):
            empty = group[group["value"].isna()]
            if 0 < len(empty) < len(group):
                reason = "; ".join(dict.fromkeys(note for note in empty["note"] if note))
                lost.setdefault((tuple(empty["seed"]), len(group), reason), []).append(str(metric))
        for (seeds, planned, reason), metrics in lost.items():
            notes.setdefault(run, []).append(
                f"{run} has no value of {', '.join(metrics)} for seed {', '.join(map(str, seeds))}"
                f"{f' ({reason})' if reason else ''}: means, intervals and comparisons are of the other "
                f"{planned - len(seeds)} of {planned} seeds."
            )
    return {run: " ".join(told) for run, told in notes.items()}


def single_seed_note(values: pd.DataFrame) -> list[str]:
    """What a study with one seed a run can say, where there are such runs."""
    counts = values[values["value"].notna()].groupby("run", sort=False)["seed"].nunique()
    single = list(counts.index[counts == 1])
    if not single or len(counts) < 2:
        return []
    who = (
        "Every run has one seed: " if len(single) == len(counts) else f"One seed each have {', '.join(single)}: their "
    )
    return [
        f"{who}intervals and comparisons are over images or samples and hold for these trained models only; another "
        "training may rank otherwise."
    ]
