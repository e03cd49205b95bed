"""The summary in words: who is best at what, and whether the study's intervals support it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from vaebench.metrics.registry import METRICS
from vaebench.study import Interval, Study
from vaebench.tables import clear_winner
from vaebench.text import interval, number

SUITE_TITLES = {
    "reconstruction": "Reconstruction",
    "generation": "Generated images",
    "latent": "Latent space",
    "likelihood": "Likelihood",
}
GRADES = {"clear": "told apart from all", "open": "not told apart", "unknown": "no interval"}


@dataclass(frozen=True)
class Verdict:
    """The best run of one headline metric, and what the study's intervals say of its lead.

    `rivals` are the runs that the best is not told apart from; `grade` is `clear` when there are none, `open` when
    there are, `unknown` when neither several seeds nor images were there to tell. `difference` is best minus runner-up
    over the same images, None where it was not compared.
    """

    metric: str
    best: str
    best_value: Interval
    second: str
    second_value: Interval
    difference: Interval | None
    rivals: tuple[str, ...]
    grade: str


def verdicts(study: Study, confidence: float) -> list[Verdict]:
    """One verdict per headline metric that has a better direction and differs between runs.

    Two runs are told apart by the rule of the tables (`vaebench.tables.clear_winner`).
    """
    names = [name for name, metric in METRICS.items() if metric.headline and metric.higher_is_better is not None]
    return [_verdict(study, name, 1 - confidence) for name in names if _differs(study, name)]


def _differs(study: Study, name: str) -> bool:
    """Whether the runs have more than one mean; where all are equal, none is best."""
    return len({value.mean for run in study.runs if (value := study.interval(run.name, name))}) > 1


def _verdict(study: Study, name: str, alpha: float) -> Verdict:
    values = {run.name: value for run in study.runs if (value := study.interval(run.name, name))}
    sign = -1 if METRICS[name].higher_is_better else 1
    best, second, *_ = ranked = sorted(values, key=lambda run: sign * values[run].mean)
    parts = pd.DataFrame(
        [(value.mean, value.low, value.high) for value in values.values()],
        index=list(values),
        columns=["mean", "ci_low", "ci_high"],
    )
    pairs = study.table("pairwise")
    rivals = tuple(run for run in ranked[1:] if clear_winner(name, parts.loc[[best, run]], pairs, alpha) != best)
    difference = study.difference(best, second, name)
    tied = values[best].mean == values[second].mean
    known = tied or difference is not None or not parts.loc[[best, second]].isna().any(axis=None)
    grade = "unknown" if not known else "open" if rivals else "clear"
    return Verdict(name, best, values[best], second, values[second], difference, rivals, grade)


def sentences(study: Study, found: Sequence[Verdict]) -> list[str]:
    """What the numbers say, one sentence each: the winners by suite, then beta, collapse and codebooks."""
    return [*_winners(found), *_beta(study), *_collapse(study), *_codebooks(study)]


def _winners(found: Sequence[Verdict]) -> list[str]:
    """One sentence per suite and best run: its metrics, grouped by which runs the intervals leave level with it."""
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in found:
        groups.setdefault((METRICS[verdict.metric].suite, verdict.best), []).append(verdict)
    result = []
    for (suite, best), group in groups.items():
        parts = []
        for rivals in dict.fromkeys(verdict.rivals if verdict.grade != "unknown" else None for verdict in group):
            same = [verdict for verdict in group if rivals == (verdict.rivals if verdict.grade != "unknown" else None)]
            parts.append(f"{_listing([_with_value(verdict) for verdict in same])} ({_evidence(rivals)})")
        result.append(f"{SUITE_TITLES[suite]}: {best} is best by {'; by '.join(parts)}.")
    return result


def _evidence(rivals: tuple[str, ...] | None) -> str:
    """What the intervals say, in words, given the runs that were not told apart from the best."""
    if rivals is None:
        return "without an interval: a single seed cannot tell"
    if not rivals:
        return "told apart from every other run"
    return f"not told apart from {_listing(rivals) if len(rivals) <= 4 else f'{len(rivals)} others'}"


def _with_value(verdict: Verdict) -> str:
    return f"{METRICS[verdict.metric].label} {number(verdict.best_value.mean)}"


def _beta(study: Study) -> list[str]:
    """How KL and MSE move along beta, for every entry that sweeps it."""
    result = []
    for entry, betas in study.betas.items():
        ends = min(betas, key=betas.get), max(betas, key=betas.get)
        kl, mse = ([study.interval(name, metric) for name in ends] for metric in ("kl", "mse"))
        if all(kl) and all(mse):
            result.append(
                f"Raising β of {entry} from {betas[ends[0]]:g} to {betas[ends[1]]:g} takes KL from "
                f"{number(kl[0].mean)} to {number(kl[1].mean)} nats and MSE from {number(mse[0].mean)} to "
                f"{number(mse[1].mean)}."
            )
    return result


def _collapse(study: Study) -> list[str]:
    """The runs that use fewer than one latent dimension in ten."""
    values = study.values
    if "metric" not in values:
        return []
    rows = values[(values["metric"] == "posterior_collapse") & (values["value"] > 0)]
    names = [run.name for run in study.runs if run.name in set(rows["run"])]
    return [f"Posterior collapse: {_listing(names)} uses fewer than one latent dimension in ten."] if names else []


def _codebooks(study: Study) -> list[str]:
    perplexities = {run.name: study.interval(run.name, "codebook_perplexity") for run in study.runs}
    return [
        f"The codebook of {name} has perplexity {interval(value)}."
        for name, value in perplexities.items()
        if value is not None
    ]


def _listing(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
