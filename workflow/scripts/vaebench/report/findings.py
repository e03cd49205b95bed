"""The summary in words: who is best at what, and whether the study's intervals support it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vaebench.metrics.registry import METRICS
from vaebench.study import Interval, Study
from vaebench.text import interval, number

SUITE_TITLES = {
    "reconstruction": "Reconstruction",
    "generation": "Generated images",
    "latent": "Latent space",
    "likelihood": "Likelihood",
}
GRADES = {
    "supported": "supported",
    "open": "not told apart",
    "unknown": "no interval",
}


@dataclass(frozen=True)
class Verdict:
    """The best run of one headline metric against its runner-up.

    `grade` is `supported` when an interval separates the two, `open` when it does not, `unknown` without an interval;
    `difference` is best minus runner-up over the same images, None where the study has no paired comparison.
    """

    metric: str
    best: str
    best_value: Interval
    second: str
    second_value: Interval
    difference: Interval | None
    grade: str


def verdicts(study: Study) -> list[Verdict]:
    """One verdict per headline metric that has a better direction and at least two runs with a value."""
    result = []
    for name, metric in METRICS.items():
        if not metric.headline or metric.higher_is_better is None:
            continue
        values = {run.name: study.interval(run.name, name) for run in study.runs}
        ranked = sorted(
            ((run, value) for run, value in values.items() if value),
            key=lambda item: -item[1].mean if metric.higher_is_better else item[1].mean,
        )
        if len(ranked) > 1:
            (best, best_value), (second, second_value) = ranked[:2]
            difference = study.difference(best, second, name)
            grade = _grade(best_value, second_value, difference)
            result.append(Verdict(name, best, best_value, second, second_value, difference, grade))
    return result


def _grade(best: Interval, second: Interval, difference: Interval | None) -> str:
    """A paired difference decides; without one, whether the two intervals overlap."""
    if difference is not None and math.isfinite(difference.low):
        return "open" if difference.low <= 0 <= difference.high else "supported"
    if not (math.isfinite(best.low) and math.isfinite(second.low)):
        return "unknown"
    apart = best.high < second.low or second.high < best.low
    return "supported" if apart else "open"


def sentences(study: Study) -> list[str]:
    """What the numbers say, one sentence each: the winners by suite, beta, collapse, codebooks and failures."""
    found = verdicts(study)
    return [
        *_winners(found),
        *_beta(study),
        *_collapse(study),
        *_codebooks(study),
    ]


def _winners(found: Sequence[Verdict]) -> list[str]:
    """One sentence per suite and best run, with the metrics that its intervals support and those they leave open."""
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in found:
        groups.setdefault((METRICS[verdict.metric].suite, verdict.best), []).append(verdict)
    result = []
    for (suite, best), group in groups.items():
        parts = [
            f"{_listing([_with_value(verdict) for verdict in group if verdict.grade == grade])} ({words})"
            for grade, words in (
                ("supported", "the interval separates it from the runner-up"),
                ("open", "not told apart from " + _runners_up(group, "open")),
                ("unknown", "no interval: one seed"),
            )
            if any(verdict.grade == grade for verdict in group)
        ]
        result.append(f"{SUITE_TITLES[suite]}: {best} is best by {'; by '.join(parts)}.")
    return result


def _with_value(verdict: Verdict) -> str:
    return f"{METRICS[verdict.metric].label} {number(verdict.best_value.mean)}"


def _runners_up(group: Sequence[Verdict], grade: str) -> str:
    return _listing(list(dict.fromkeys(verdict.second for verdict in group if verdict.grade == grade)))


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
