"""The table of runs by sampler: what each sampler of each run draws, where a study has more than one of a run."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from vaebench.metrics.registry import METRICS
from vaebench.results.pairwise import COLUMNS as PAIR_COLUMNS
from vaebench.results.statistics import StatisticsSettings
from vaebench.results.table_formats import Table, write_latex, write_markdown
from vaebench.results.tables import RUNS_COLUMNS, Measured, read_values, values_of, wide_table, write_csv

NAME, TITLE = "samplers", "Generated images by sampler"
BY_SAMPLER = "by_sampler"
OTHERS = ("rate", "rate_bits")  # of codes: what they cost under the sampler's prior
NATS = ("rate", "latent_nats")  # which of the samplers' densities knows codes or latents best
OF_CODES = "codebook_perplexity"  # a metric that models with codes have, and no others
COLUMNS = ("dataset", "run", "model", "seed", "sampler", "compared", *RUNS_COLUMNS[RUNS_COLUMNS.index("split") :])


@dataclass(frozen=True)
class Samplers:
    """The labels of the samplers of each run, and of the common ones."""

    of_run: Mapping[str, Sequence[str]]
    common: Collection[str] = ()


def samplers_table(
    runs: Path,
    further: Sequence[Path],
    samplers: Samplers,
    folder: Path,
    settings: StatisticsSettings,
) -> None:
    """Write samplers.csv, a row for each value; by_sampler.csv, a row for each run and sampler with means over seeds;
    samplers.md and samplers.tex, which show the headline metrics of these.

    runs: runs.csv, with the values of the sampler that each run is compared by, the first of its own. further:
    {run}/seed{seed}/samplers/{sampler}/generation.csv of the others. Raises UserError for a file that lacks a column.
    """
    compared = read_values(runs, RUNS_COLUMNS)
    with_codes = compared[(compared["metric"] == OF_CODES) & (compared["value"] != "")]
    of_codes = compared["run"].isin(with_codes["run"])
    compared = compared[(compared["suite"] == "generation") | (compared["metric"].isin(OTHERS) & of_codes)]
    first = compared["run"].map({run: labels[0] for run, labels in samplers.of_run.items()})
    frames = [compared.assign(sampler=first, compared=True)]
    frames += [values_of([path]).assign(sampler=path.parent.name, compared=False) for path in further]
    joined = pd.concat(frames, ignore_index=True)
    pairs = [(run, label) for run, labels in samplers.of_run.items() for label in labels]
    order = {pair: place for place, pair in enumerate(pairs)}
    places = [order[run, label] for run, label in zip(joined["run"], joined["sampler"], strict=True)]
    joined = joined.assign(place=places).sort_values("place", kind="stable").drop(columns="place")
    write_csv(joined[list(COLUMNS)], folder / f"{NAME}.csv")
    suite = [name for name, entry in METRICS.items() if entry.suite == "generation"]
    every = _wide(joined, pairs, settings, [*suite, *OTHERS]).frame
    every.insert(2, "compared", [label == samplers.of_run[run][0] for run, label in pairs])
    every.insert(3, "common", [label in samplers.common for _, label in pairs])
    write_csv(every, folder / f"{BY_SAMPLER}.csv")
    headline = [name for name in suite if METRICS[name].headline]
    table = _wide(joined, pairs, settings, [*headline, *NATS])
    notes = ["Runs are compared, in all other tables, by the images of the first sampler of each.", common_words(every)]
    write_markdown(folder / f"{NAME}.md", TITLE, table, notes, settings)
    write_latex(folder / f"{NAME}.tex", TITLE, table, notes, settings)
    print(f"Measured {len(pairs)} pairs of run and sampler: {folder / NAME}.csv")


def common_words(by_sampler: pd.DataFrame) -> str:
    """By which sampler runs are compared, from by_sampler.csv: the common one of their kind, or each by its own."""
    first = by_sampler[by_sampler["compared"]]
    shared = first[first["common"]]
    if shared.empty:
        return "There is no common sampler: what differs between two runs may be due to their samplers."
    told = [f"{label} of {', '.join(rows['run'])}" for label, rows in shared.groupby("sampler", sort=False)]
    return f"The common sampler, with equal options for all models of a kind, is {'; '.join(told)}."


def _wide(
    values: pd.DataFrame, pairs: Sequence[tuple[str, str]], settings: StatisticsSettings, metrics: list[str]
) -> Table:
    """A row for each pair of run and sampler; nothing is bold, since samplers of one run are no independent runs."""
    names = [f"{run} {label}" for run, label in pairs]
    numbers = ["seed", "value", "std_error", "n"]
    values = values.assign(run=values["run"] + " " + values["sampler"])
    values[numbers] = values[numbers].apply(pd.to_numeric)
    measured = Measured(values, pd.DataFrame(columns=list(PAIR_COLUMNS)), names, settings)
    table = wide_table(NAME, metrics, measured)
    frame = table.frame.assign(run=[run for run, _ in pairs])
    frame.insert(1, "sampler", [label for _, label in pairs])
    trained_on = {(run, metric) for pair, metric in table.trained_on for run in [pair.rpartition(" ")[0]]}
    return replace(table, frame=frame, best={}, trained_on=trained_on, compared=False)
