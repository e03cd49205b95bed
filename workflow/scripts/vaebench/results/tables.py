"""The tables of a study: all values in runs.csv, and what is derived from it and from the per-image values."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from vaebench.base.errors import UserError
from vaebench.base.evaluation_settings import GIVEN, TRAINED_ON
from vaebench.base.files import atomic_path
from vaebench.metrics.registry import METRICS, describe
from vaebench.results.pairwise import pairwise, reach_notes, seed_notes, single_seed_note
from vaebench.results.standing import standing
from vaebench.results.statistics import StatisticsSettings, seed_summary
from vaebench.results.suite_files import COLUMNS, Context, read_context
from vaebench.results.table_formats import Table, write_latex, write_markdown
from vaebench.results.table_names import TABLES

RUNS_COLUMNS = (*COLUMNS[:-1], "unit", "higher_is_better", COLUMNS[-1])  # of runs.csv
SUMMARY_PARTS = ("mean", "sd", "ci_low", "ci_high", "n_seeds", "rank", "best")
PRECISIONS = {
    "fp32": "float32",
    "tf32": "TensorFloat-32",
    "bf16": "bfloat16 (networks; losses and weights in float32)",
    "unknown": "a precision that is not known",
}
# What two kinds of notes have in common: the report has places of its own for both.
ALL_TRAINED_IN = "All models were trained in "
FAILURE_NOTE = re.compile(r" \(seed \d+\) failed in |^.+ has no result\.$")


class Failure(TypedDict):
    """A training that did not finish: where it stopped, and why."""

    run: str
    seed: int
    stage: str
    reason: str


@dataclass(frozen=True)
class Expected:
    """What a study should have: its runs in their order, the trainings that did not finish, and what draws images.

    models: by run, for those without results, whose own files cannot say it. samplers: by run, for the table of
    generated images; empty where it is not known.
    """

    runs: Sequence[str]
    failures: Sequence[Failure] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    samplers: Mapping[str, str] = field(default_factory=dict)


def runs_table(metric_files: list[Path], output: Path) -> None:
    """Join the metric CSVs of all trainings into runs.csv, in the order given, with each metric's unit and direction.

    Raises UserError for a file that lacks a column.
    """
    joined = values_of(metric_files)
    write_csv(joined, output)
    print(f"Joined {len(metric_files)} files, {len(joined)} values: {output}")


def values_of(metric_files: Sequence[Path]) -> pd.DataFrame:
    """The values of metric CSVs, as text, with each metric's unit and direction: the columns of runs.csv."""
    frames = [read_values(path, COLUMNS) for path in metric_files]
    joined = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))
    entries = joined["metric"].map(describe)
    joined["unit"] = [entry.unit for entry in entries]
    joined["higher_is_better"] = ["" if entry.higher_is_better is None else entry.higher_is_better for entry in entries]
    return joined[list(RUNS_COLUMNS)]


def summary(
    runs: Path,
    per_image: list[Path],
    outputs_folder: Path,
    settings: StatisticsSettings,
    expected: Expected,
) -> None:
    """Write comparison, reconstruction, generation, latent and pairwise as .csv, .md and .tex, and notes.json.

    A run without results keeps its row, empty, with the reason in the column `note`.
    """
    values = read_values(runs, RUNS_COLUMNS)
    numbers = ["seed", "value", "std_error", "n"]
    values[numbers] = values[numbers].apply(pd.to_numeric)
    order = list(dict.fromkeys([*expected.runs, *values["run"]]))
    contexts = [read_context(path) for path in per_image]
    pairs = pairwise(values, per_image, contexts, order, settings)
    mixtures, lost = mixture_notes(contexts), seed_notes(values, order)
    notes = [*mixtures, *reach_notes(pairs, 1 - settings.confidence), *single_seed_note(values), *lost.values()]
    trained, given = trained_notes(values, order), conditional_notes(values, order)
    notes += [*failure_notes(expected.failures, order, values), *precision_note(contexts)]
    notes += [*trained.values(), *given.values()]
    measured = Measured(values, pairs, order, settings, expected.models)
    tables = [wide_table("comparison", [name for name, entry in METRICS.items() if entry.headline], measured)]
    for info in TABLES.values():
        if info.suites:
            metrics = [name for name, entry in METRICS.items() if entry.suite in info.suites and not entry.long_only]
            tables.append(wide_table(info.name, metrics, measured))
        if info.suites == ("generation",) and expected.samplers:
            tables[-1].frame.insert(1, "sampler", [expected.samplers.get(run, "") for run in order])
    outputs_folder.mkdir(parents=True, exist_ok=True)
    kinds = (lost, trained, given)
    own = {run: " ".join(told[run] for told in kinds if run in told) for run in {*lost, *trained, *given}}
    remarks = _row_notes(order, expected.failures, mixtures, values, own)
    for table in tables:
        frame = table.frame.assign(note=table.frame["run"].map(remarks))
        write_csv(frame, outputs_folder / f"{table.name}.csv")
        write_markdown(outputs_folder / f"{table.name}.md", TABLES[table.name].title, table, notes, settings)
        write_latex(outputs_folder / f"{table.name}.tex", TABLES[table.name].title, table, notes, settings)
    write_csv(pairs, outputs_folder / "pairwise.csv")
    headline = pairs.loc[[METRICS[metric].headline for metric in pairs["metric"]]]
    write_markdown(outputs_folder / "pairwise.md", TABLES["pairwise"].title, headline, notes, settings)
    write_latex(outputs_folder / "pairwise.tex", TABLES["pairwise"].title, headline, notes, settings)
    with atomic_path(outputs_folder / "notes.json") as temporary:
        temporary.write_text(json.dumps(notes, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"Compared {values['run'].nunique()} runs in {len(tables) + 1} tables: {outputs_folder}")


@dataclass(frozen=True)
class Measured:
    """runs.csv with numbers, the differences between runs, the runs in their order, and the statistics.

    models: by run, of runs without values.
    """

    values: pd.DataFrame
    pairs: pd.DataFrame
    order: list[str]
    settings: StatisticsSettings
    models: Mapping[str, str] = field(default_factory=dict)


def wide_table(name: str, metrics: list[str], measured: Measured) -> Table:
    """Summarise `metrics` over seeds for every run; only metrics that some run has a value for are shown."""
    values, order = measured.values, measured.order
    found = values[values["value"].notna() & values["metric"].isin(metrics)]
    metrics = [metric for metric in metrics if metric in set(found["metric"])]
    models = {**measured.models, **dict(zip(values["run"], values["model"], strict=True))}
    columns: dict[str, Sequence[object] | np.ndarray] = {"run": order, "model": [models.get(run, "") for run in order]}
    by_cell = dict(list(found.groupby(["run", "metric"], sort=False)))
    best = {}
    for metric in metrics:
        cells = [by_cell.get((run, metric)) for run in order]
        parts = pd.DataFrame([_summary(cell, measured.settings.confidence) for cell in cells], index=order)
        found_order = standing(metric, parts["mean"], measured.pairs, 1 - measured.settings.confidence)
        parts["rank"] = pd.Series(found_order.ranks)
        parts["best"] = parts.index == found_order.winner
        columns |= {f"{metric}_{part}": parts[part].to_numpy() for part in SUMMARY_PARTS}
        if found_order.winner:
            best[metric] = found_order.winner
    judged = found[found["note"].str.contains(TRAINED_ON, regex=False)]
    return Table(name, pd.DataFrame(columns), metrics, best, set(zip(judged["run"], judged["metric"], strict=True)))


def _summary(cell: pd.DataFrame | None, confidence: float) -> dict[str, float]:
    """The summary of one run's values of one metric; empty, for 0 seeds, where it has none."""
    if cell is None:
        return dict.fromkeys(("mean", "sd", "ci_low", "ci_high"), np.nan) | {"n_seeds": 0}
    first = cell.iloc[0]
    freedom = METRICS[first["metric"]].freedom(int(first["n"]))
    return seed_summary(cell["value"].to_numpy(), confidence, first["std_error"], freedom)


def mixture_notes(contexts: Sequence[Context]) -> list[str]:
    """What the results do not share although a comparison needs it: data, images, protocol, precision, environments."""
    aspects: dict[str, Callable[[Context], tuple[str, ...]]] = {
        "data sets": lambda c: tuple(f"{split} {sha[:8]}" for split, sha in sorted(c["data"].items())),
        "held-out splits": lambda c: (f"{c['split']}, {c['images']} images",),
        "protocols": lambda c: (c["protocol"],),
        "training precisions": lambda c: (_precision(c),),
        "training environments": lambda c: _environment(c["training_environment"]),
        "evaluation environments": lambda c: _environment(c["evaluation_environment"]),
    }
    notes = []
    for aspect, identity in aspects.items():
        groups: dict[tuple[str, ...], list[str]] = {}
        for context in contexts:
            groups.setdefault(identity(context), []).append(f"{context['run']} (seed {context['seed']})")
        if len(groups) > 1:
            told = "; ".join(f"{', '.join(key)}: {', '.join(members)}" for key, members in groups.items())
            notes.append(f"These results mix {len(groups)} {aspect}. {told}.")
    return notes


def trained_notes(values: pd.DataFrame, order: list[str]) -> dict[str, str]:
    """Notes by run: its model was trained on the features of a network that also measures it."""
    judged = set(values["run"][values["note"].str.contains(TRAINED_ON, regex=False)])
    return {run: f"{run} was trained on the network of some of its metrics (‡)." for run in order if run in judged}


def conditional_notes(values: pd.DataFrame, order: list[str]) -> dict[str, str]:
    """Notes by run: its model is given labels, which its bounds take for known."""
    given = set(values["run"][(values["metric"] == "neg_elbo") & values["note"].str.contains(GIVEN, regex=False)])
    told = "is given labels: its rate and bounds leave out what these would cost."
    return {run: f"{run} {told}" for run in order if run in given}


def precision_note(contexts: Sequence[Context]) -> list[str]:
    """A sentence on what all models were trained in; `mixture_notes` tells where it is not the same for all."""
    precisions = {_precision(context) for context in contexts}
    return [f"{ALL_TRAINED_IN}{precisions.pop()}."] if len(precisions) == 1 else []


def _precision(context: Context) -> str:
    names = context["training_precision"].split(", then ")
    return ", then ".join(PRECISIONS[name] for name in names)


def _environment(environment: Mapping[str, Any]) -> tuple[str, ...]:
    packages = environment.get("packages", {})
    names = [f"{name} {packages[name]}" for name in ("torch", "pythae", "lpips", "piq") if name in packages]
    device = environment.get("device", {})
    return (*names, str(device.get("name") or device.get("type") or "unknown device"))


def failure_notes(failures: Sequence[Failure], order: list[str], values: pd.DataFrame) -> list[str]:
    """One sentence for every training that failed, and for every run without any result."""
    notes = [
        f"{failure['run']} (seed {failure['seed']}) failed in {failure['stage']}: {failure['reason']}"
        for failure in failures
    ]
    explained = {failure["run"] for failure in failures} | set(values["run"])
    return notes + [f"{run} has no result." for run in order if run not in explained]


def _row_notes(
    order: list[str], failures: Sequence[Failure], mixed: list[str], values: pd.DataFrame, lost: dict[str, str]
) -> dict[str, str]:
    """Notes by run: why it lacks values of all or of some seeds, and the first sentence on what the results mix."""
    mixed = [f"{note.partition('.')[0]}." for note in mixed]
    own = {run: failure_notes([f for f in failures if f["run"] == run], [run], values) for run in order}
    return {run: " ".join([*own[run], *([lost[run]] if run in lost else []), *mixed]) for run in order}


def read_values(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A CSV of values, as text; UserError where it lacks a column."""
    if (sidecar := path.with_name("per_image.parquet")).exists():  # which tells the format of both
        read_context(sidecar)
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    missing = [column for column in columns if column not in frame]
    if missing:
        raise UserError(f"{path}: not a metrics file: it has no column {missing[0]!r}")
    return frame


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table, whole or not at all."""
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")
