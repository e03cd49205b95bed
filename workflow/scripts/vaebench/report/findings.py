"""The summary in words: who is best at what, whether the study's tests support it, and what it holds for."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from vaebench.metrics.registry import METRICS, describe
from vaebench.metrics.set_names import CLEAN, OFFICIAL
from vaebench.results.standing import standing
from vaebench.results.study import Interval, Study
from vaebench.results.table_formats import TRAINED
from vaebench.results.words import interval, number

SUITE_TITLES = {
    "reconstruction": "Reconstruction",
    "generation": "Generated images",
    "latent": "Latent space",
    "likelihood": "Likelihood",
}
GRADES = {"clear": "told apart from all", "open": "not told apart", "unknown": "not tested"}
MOST_NAMED = 4  # runs in one sentence
UNLIKE_RATES = 2  # ratio of the highest to the lowest rate from which on the report says so
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Verdict:
    """The best run of one headline metric, and what the study's tests say of its lead.

    `rivals` are the runs that the best is not told apart from, `tied` those of them with the same value; `grade` is
    `clear` when there are none, `open` when there are, `unknown` when the best two could not be tested. `difference` is
    best minus runner-up, None where it was not tested. `single` are the runs with a value of one seed alone: what is
    said of them is said of that trained model. `compared` is how many runs have a value.
    """

    metric: str
    best: str
    best_value: Interval
    second: str
    second_value: Interval
    difference: Interval | None
    rivals: tuple[str, ...]
    tied: tuple[str, ...]
    grade: str
    single: tuple[str, ...]
    compared: int


def verdicts(study: Study, confidence: float) -> list[Verdict]:
    """One verdict per headline metric that has a better direction and differs between runs.

    Best and told apart by the rule of the tables (`vaebench.results.standing`).
    """
    names = [name for name, metric in METRICS.items() if metric.headline and metric.higher_is_better is not None]
    found = (_verdict(study, name, 1 - confidence) for name in names)
    return [verdict for verdict in found if verdict]


def _verdict(study: Study, name: str, alpha: float) -> Verdict | None:
    """The verdict on one metric; None where fewer than two runs have a value, or all are tied."""
    values = {run.name: value for run in study.runs if (value := study.interval(run.name, name))}
    means = pd.Series({run: value.mean for run, value in values.items()}, dtype=float)
    found = standing(name, means, study.table("pairwise"), alpha)
    if found.best is None or len(set(found.ranks.values())) < 2:
        return None
    second = min((run for run in values if run != found.best), key=found.ranks.__getitem__)
    difference = study.difference(found.best, second, name)
    grade = "clear" if found.winner else "unknown" if difference is None else "open"
    single = tuple(run for run, value in values.items() if value.seeds == 1)
    first = values[found.best], second, values[second]
    tied = tuple(run for run in found.rivals if found.ranks[run] == found.ranks[found.best])
    return Verdict(name, found.best, *first, difference, found.rivals, tied, grade, single, len(values))


def sentences(study: Study, found: Sequence[Verdict]) -> list[str]:
    """What the numbers say, one sentence each: the winners by suite, then rates, beta, collapse and codebooks."""
    return [*_winners(study, found), *_rates(study), *_beta(study), *_collapse(study), *_codebooks(study)]


def inside_note(study: Study) -> str:
    """A note that set distances compare the study's runs only, where none is in the official Inception's features."""
    if "metric" not in study.values:
        return ""
    measured = study.values.loc[study.values["value"].notna(), "metric"].unique()
    networks = sorted({entry.features for entry in map(describe, map(str, measured))} - {""})
    if not networks or {OFFICIAL, CLEAN} & {*networks}:
        return ""
    return (
        f"Distances between sets of images are in the features of {_listing(networks)}: they are comparable inside "
        "this study only, and with no published FID, which needs the official Inception file (weights.inception)."
    )


def _winners(study: Study, found: Sequence[Verdict]) -> list[str]:
    """One sentence per suite, scope and best run: its metrics, grouped by which runs the tests leave level with it.

    A metric of a network that the best run was trained on has the mark of the tables.
    """
    groups: dict[tuple[str, str, str], list[Verdict]] = {}
    for verdict in found:
        key = METRICS[verdict.metric].suite, _scope(verdict), verdict.best
        groups.setdefault(key, []).append(verdict)
    result = []
    for (suite, scope, best), group in groups.items():
        evidence: dict[str, list[str]] = {}
        for verdict in group:
            evidence.setdefault(_evidence(verdict), []).append(_with_value(study, verdict))
        parts = [f"{_listing(metrics)} ({told})" for told, metrics in evidence.items()]
        result.append(f"{SUITE_TITLES[suite]}: {scope}{best} is best by {'; by '.join(parts)}.")
    return result


def _scope(verdict: Verdict) -> str:
    """What a statement is limited to where runs have a single training: all of them, or some."""
    if not verdict.single:
        return ""
    if len(verdict.single) == verdict.compared:
        return f"of these {_count(verdict.compared)} trained models, "
    return f"of the one trained model of {_named(verdict.single)} and trainings of the other runs, "


def _count(runs: int) -> str:
    return NUMBERS[runs] if runs < len(NUMBERS) else str(runs)


def _named(runs: Sequence[str]) -> str:
    """The runs by their names, or how many they are."""
    return _listing(runs) if len(runs) <= MOST_NAMED else f"each of {_count(len(runs))} runs"


def _evidence(verdict: Verdict) -> str:
    """The tests' result on the best run's lead, as text; before it those that have the same value."""
    rivals = [run for run in verdict.rivals if run not in verdict.tied]
    equal = f"equal to {_others(verdict.tied)}" if verdict.tied else ""
    if equal and not rivals:
        return equal
    if verdict.grade == "clear":
        return "told apart from every other run"
    tested = "not tested: a single seed without a standard error, or no variance at all"
    told = tested if verdict.grade == "unknown" else f"not told apart from {_others(rivals)}"
    return f"{equal}; {told}" if equal else told


def _others(runs: Sequence[str]) -> str:
    """The runs by their names, or how many they are."""
    return _listing(runs) if len(runs) <= MOST_NAMED else f"{len(runs)} others"


def _with_value(study: Study, verdict: Verdict) -> str:
    mark = TRAINED if (verdict.best, verdict.metric) in study.trained_on else ""
    return f"{METRICS[verdict.metric].label} {number(verdict.best_value.mean)}{mark}"


def _rates(study: Study) -> list[str]:
    """A sentence that reconstructions are compared at unlike rates, where the highest rate is twice the lowest."""
    rates = {run.name: value.mean for run in study.runs if (value := study.interval(run.name, "rate"))}
    if len(rates) < 2:
        return []
    low, high = min(rates, key=rates.__getitem__), max(rates, key=rates.__getitem__)
    if rates[high] < UNLIKE_RATES * max(rates[low], 0):
        return []
    return [
        f"The runs spend unlike rates, from {number(rates[low])} nats an image ({low}) to {number(rates[high])} "
        f"({high}): a lower reconstruction error at a higher rate is not by itself a better model."
    ]


def _beta(study: Study) -> list[str]:
    """How rate and MSE move along beta, for every entry that sweeps it."""
    result = []
    for entry, betas in study.betas.items():
        ends = min(betas, key=betas.__getitem__), max(betas, key=betas.__getitem__)
        rate, mse = ([value for name in ends if (value := study.interval(name, metric))] for metric in ("rate", "mse"))
        if len(rate) == len(mse) == len(ends):
            result.append(
                f"Raising β of {entry} from {betas[ends[0]]:g} to {betas[ends[1]]:g} takes the rate from "
                f"{number(rate[0].mean)} to {number(rate[1].mean)} nats and MSE from {number(mse[0].mean)} to "
                f"{number(mse[1].mean)}."
            )
    return result


def _collapse(study: Study) -> list[str]:
    """The runs that use fewer than one latent dimension in ten, with how many of their trainings, unless all do."""
    values = study.values
    if "metric" not in values:
        return []
    judged = values[(values["metric"] == "posterior_collapse") & values["value"].notna()]
    names = []
    for run in study.runs:
        collapsed = judged.loc[judged["run"] == run.name, "value"] > 0
        if collapsed.any():
            names.append(run.name + ("" if collapsed.all() else f" (with {collapsed.sum()} of {len(collapsed)} seeds)"))
    use = "uses" if len(names) == 1 else "use"
    return [f"Posterior collapse: {_listing(names)} {use} fewer than one latent dimension in ten."] if names else []


def _codebooks(study: Study) -> list[str]:
    """The perplexity of each codebook beside its size, without which it compares with no other."""
    result = []
    for run in study.runs:
        value = study.interval(run.name, "codebook_perplexity")
        if value is not None:
            usage = run.arrays("metrics", "latent.npz").get("code_usage")
            size = "" if usage is None else f" of {usage.shape[-1]:,} codes"
            levels = f", the geometric mean of its {len(usage)} levels" if usage is not None and usage.ndim > 1 else ""
            result.append(f"The codebook of {run.name} has perplexity {interval(value)}{size}{levels}.")
    return result


def _listing(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
