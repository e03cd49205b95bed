"""Who is best at a metric: the one rule for ranks, ties and bold face of all tables, figures and the report."""

from dataclasses import dataclass

import pandas as pd

from vaebench.metrics.registry import describe
from vaebench.results.statistics import ranks
from vaebench.results.study import records


@dataclass(frozen=True)
class Difference:
    """The best run against another: whether it is ahead, p without correction, and whether it is better by Holm's."""

    ahead: bool
    p_value: float
    corrected: bool


@dataclass(frozen=True)
class Standing:
    """The order of the runs by one metric.

    ranks: by run, 1 is best, ties share the mean of their ranks, NaN without a value or a direction; best: the run with
    the best mean, the first of several that are tied, None where there is nothing to order; winner: the best run, if it
    is better than every other beyond chance, and so bold; rivals: where there is no winner, the runs that the best one
    is not told apart from.
    """

    ranks: dict[str, float]
    best: str | None = None
    winner: str | None = None
    rivals: tuple[str, ...] = ()


def standing(metric: str, means: pd.Series, pairs: pd.DataFrame, alpha: float) -> Standing:
    """The standing of the runs whose means over seeds are given by run, NaN where absent; `pairs`: table `pairwise`.

    The best mean wins when its difference to every other run has p < alpha, one by one: for this claim alone no
    correction for the number of runs is needed (Gutmann & Maymin 1987; Hung & Fithian 2019 for other distributions;
    unequal variances and dependence: arXiv 2503.01065). Where it does not win, `rivals` are those that Holm's
    correction over all pairs leaves level with it (column `better`).
    """
    better = describe(metric).higher_is_better
    if better is None:
        return Standing(dict.fromkeys(means.index, float("nan")))
    ranked = pd.Series(ranks(means.to_numpy(), better), means.index)
    by_run = {str(run): float(rank) for run, rank in ranked.items()}
    present = ranked.dropna()
    if present.empty:
        return Standing(by_run)
    best = str(present.idxmin())
    others = [str(run) for run in present.sort_values(kind="stable").index if run != best]
    differences: dict[str, Difference] = {}
    for row in records(pairs[pairs["metric"] == metric]):
        first = row["run_a"] == best
        if best in (row["run_a"], row["run_b"]):
            ahead = (row["difference"] > 0) == (first == better)
            differences[row["run_b" if first else "run_a"]] = Difference(ahead, row["p_value"], row["better"] == best)
    if present[best] == 1 and all(_beaten(differences.get(run), alpha) for run in others):
        return Standing(by_run, best, best)
    told_apart = {run for run, found in differences.items() if found.corrected and by_run[run] > by_run[best]}
    return Standing(by_run, best, None, tuple(run for run in others if run not in told_apart))


def _beaten(difference: Difference | None, alpha: float) -> bool:
    """Whether the best run is ahead of another one beyond chance."""
    return difference is not None and difference.ahead and difference.p_value < alpha
