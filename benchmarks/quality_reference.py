"""The references of `make check-quality`: what a fixed small study gave, how it scattered, and what counts as moved.

A training on another processor rounds otherwise, and a training enlarges that, at most until the result is another draw
of what seeds give. A check repeats n of the reference's N seeds, and a value has moved when its mean over them differs
by more than two means of n unrelated seeds do: t s √(2 / n), with the standard deviation s over all N seeds, and
Student's t with N - 1 degrees of freedom for the probability `ALARM` shared out over all values of the table
(Bonferroni). So at most one check in 1 / `ALARM` on another processor names a value although nothing changed; what was
made on a processor of the same kind (Intel with AMX, and AMD with AVX-512 for later models) does not differ at all.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vaebench.results.statistics import student

KEY = ["run", "metric"]
COLUMNS = (*KEY, "model", "value", "sd", "seeds", "bound")
ALARM = 0.05  # the probability that a check in which nothing changed names something
CHECKED = (0, 1, 2)  # the seeds of a check: `value` is their mean, `sd` and `seeds` are of all
ROUNDING = 1e-5  # of a value: what does not depend on the training is only rounded otherwise


@dataclass(frozen=True)
class Comparison:
    """moved: references of what moved with `found` and `change`, a row each; nearest: of the others what is nearest to
    its bound, empty where nothing differs; equal, compared: how many values are as they were to 12 digits, of all;
    missing, new: runs, or `run metric`, without values now, or without references.
    """

    moved: pd.DataFrame
    nearest: str
    equal: int
    compared: int
    missing: tuple[str, ...]
    new: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether all have values and references, and none of them moved."""
        return self.moved.empty and not self.missing and not self.new

    def lines(self) -> list[str]:
        """What is to be said, a line for each thing that is wrong, and two of all others."""
        told = [f"{name}: missing, quality.csv has it" for name in self.missing]
        told += [f"{name}: new, quality.csv does not have it" for name in self.new]
        told += [sentence(row) for _, row in self.moved.iterrows()]
        told.append(f"{len(self.moved)} of {self.compared} values moved; {self.equal} are what they were.")
        return [*told, f"Nearest to its bound of the others: {self.nearest}"] if self.nearest else told


def sentence(row: pd.Series) -> str:
    """What one value did: run, model, metric, from, to, by how much in spreads over seeds, and the bound."""
    way = "up" if row["change"] > 0 else "down"
    moved = f"{row['run']} ({row['model']}), {row['metric']}: {row['value']:.5g} -> {row['found']:.5g}, {way}"
    if row["sd"] > 0:
        return f"{moved} {abs(row['change']) / row['sd']:.2g} spreads (bound {row['bound'] / row['sd']:.2g})"
    return f"{moved} {abs(row['change']):.3g}, where all seeds were equal (bound {row['bound']:.1g})"


def references(values: pd.DataFrame) -> pd.DataFrame:
    """Of a table run, model, metric, seed, value: what a check is held against, a row for each run and metric.

    Raises ValueError where a run has fewer than two seeds, or not those of a check.
    """
    groups = values.groupby(KEY, sort=False)
    table = groups.agg(model=("model", "first"), sd=("value", "std"), seeds=("value", "size"))
    checked = values[values["seed"].isin(CHECKED)].groupby(KEY, sort=False)["value"].agg(["mean", "size"])
    if (table["seeds"] < 2).any() or not checked["size"].reindex(table.index).eq(len(CHECKED)).all():
        raise ValueError(f"references need two seeds or more, and the seeds {CHECKED} among them, of every run")
    return with_bounds(table.assign(value=checked["mean"]).reset_index())


def with_bounds(table: pd.DataFrame) -> pd.DataFrame:
    """The references, each with the bound that follows from how many there are."""
    p = ALARM / len(table)
    factors = [student(seeds - 1, p) * math.sqrt(2 / len(CHECKED)) for seeds in table["seeds"]]
    bounds = (table["sd"] * factors).clip(lower=ROUNDING * table["value"].abs())
    return table.assign(bound=bounds)[list(COLUMNS)]


def compare(known: pd.DataFrame, values: pd.DataFrame) -> Comparison:
    """Hold a table run, model, metric, seed, value, of the seeds of a check, against references."""
    found = values.groupby(KEY, sort=False)["value"].mean().rename("found").reset_index()
    both = known.merge(found, how="outer", on=KEY, sort=False)
    missing = _names(both[both["found"].isna()], set(values["run"]))
    new = _names(both[both["value"].isna()], set(known["run"]))
    both = both.dropna(subset=["found", "value"])
    both = both.assign(change=both["found"] - both["value"])
    share = both["change"].abs() / both["bound"].where(both["bound"] > 0, math.inf)
    moved = both[both["change"].abs() > both["bound"]]
    others = share.drop(moved.index)
    nearest = sentence(both.loc[others.idxmax()]) if (others > 0).any() else ""
    equal = int((both["change"].abs() <= 1e-12 * both["value"].abs()).sum())
    return Comparison(moved, nearest, equal, len(both), missing, new)


def _names(rows: pd.DataFrame, known: set[str]) -> tuple[str, ...]:
    """Runs that the other side does not have at all, and single metrics of the others."""
    names = [
        run if run not in known else f"{run} {metric}" for run, metric in zip(rows["run"], rows["metric"], strict=True)
    ]
    return tuple(dict.fromkeys(names))


def read(path: Path) -> pd.DataFrame:
    """The references of a file."""
    return pd.read_csv(path)[list(COLUMNS)]
