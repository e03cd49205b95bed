"""The table of runs by sampler: what each sampler of each run draws, where a study has more than one of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from vaebench.metrics.registry import METRICS
from vaebench.results.pairwise import COLUMNS as PAIR_COLUMNS
from vaebench.results.statistics import StatisticsSettings
from vaebench.results.table_formats import Table, write_latex, write_markdown
from vaebench.results.tables import RUNS_COLUMNS, Measured, read_values, values_of, wide_table, write_csv

NAME, TITLE = "samplers", "Generated images by sampler"
OTHERS = ("rate", "rate_bits")  # of codes: what they cost under the sampler's prior
OF_CODES = "codebook_perplexity"  # a metric that models with codes have, and no others
COLUMNS = ("dataset", "run", "model", "seed", "sampler", "compared", *RUNS_COLUMNS[RUNS_COLUMNS.index("split") :])


def samplers_table(
    runs: Path,
    further: Sequence[Path],
    samplers: Mapping[str, Sequence[str]],
    folder: Path,
    settings: StatisticsSettings,
) -> None:
    """Write samplers.csv, a row for each value, and samplers.md and samplers.tex, a row for each run and sampler.

    runs: runs.csv, with the values of the sampler that each run is compared by, the first of its `samplers`. further:
    {run}/seed{seed}/samplers/{sampler}/generation.csv of the others. Raises UserError for a file that lacks a column.
    """
    compared = read_values(runs, RUNS_COLUMNS)
    with_codes = compared[(compared["metric"] == OF_CODES) & (compared["value"] != "")]
    of_codes = compared["run"].isin(with_codes["run"])
    compared = compared[(compared["suite"] == "generation") | (compared["metric"].isin(OTHERS) & of_codes)]
    first = compared["run"].map({run: labels[0] for run, labels in samplers.items()})
    frames = [compared.assign(sampler=first, compared=True)]
    frames += [values_of([path]).assign(sampler=path.parent.name, compared=False) for path in further]
    joined = pd.concat(frames, ignore_index=True)
    pairs = [(run, label) for run, labels in samplers.items() for label in labels]
    order = {pair: place for place, pair in enumerate(pairs)}
    places = [order[run, label] for run, label in zip(joined["run"], joined["sampler"], strict=True)]
    joined = joined.assign(place=places).sort_values("place", kind="stable").drop(columns="place")
    write_csv(joined[list(COLUMNS)], folder / f"{NAME}.csv")
    table = _wide(joined, pairs, settings)
    notes = ["Runs are compared, in all other tables, by the images of the first sampler of each."]
    write_markdown(folder / f"{NAME}.md", TITLE, table, notes, settings)
    write_latex(folder / f"{NAME}.tex", TITLE, table, notes, settings)
    print(f"Measured {len(pairs)} pairs of run and sampler: {folder / NAME}.csv")


def _wide(values: pd.DataFrame, pairs: Sequence[tuple[str, str]], settings: StatisticsSettings) -> Table:
    """A row for each pair of run and sampler; nothing is bold, since samplers of one run are no independent runs."""
    names = [f"{run} {label}" for run, label in pairs]
    numbers = ["seed", "value", "std_error", "n"]
    values = values.assign(run=values["run"] + " " + values["sampler"])
    values[numbers] = values[numbers].apply(pd.to_numeric)
    headline = [name for name, entry in METRICS.items() if entry.headline and entry.suite == "generation"]
    measured = Measured(values, pd.DataFrame(columns=list(PAIR_COLUMNS)), names, settings)
    table = wide_table(NAME, [*headline, OTHERS[0]], measured)
    frame = table.frame.assign(run=[run for run, _ in pairs])
    frame.insert(1, "sampler", [label for _, label in pairs])
    return replace(table, frame=frame, best={})
