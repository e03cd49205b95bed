"""The tables as Markdown and as LaTeX with booktabs: arrows for direction, units, bold where the best is certain."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vaebench.metrics.registry import describe
from vaebench.results.statistics import StatisticsSettings
from vaebench.results.study import records
from vaebench.results.table_pages import Page, bold, escape, latex_page, markdown_page

SIGNIFICANT = 4
MOST_DECIMALS = 6
SINGLE = "†"  # marks an interval that is not over seeds, in a table that has others
TRAINED = "‡"  # marks a metric that the model was trained on
ARROWS = {True: ("↑", r"$\uparrow$"), False: ("↓", r"$\downarrow$"), None: ("", "")}


@dataclass(frozen=True)
class Table:
    """One wide table: a row per run, or per run and `sampler`; for each metric the columns `{metric}_{part}`.

    trained_on: run and metric, where the run's model was trained on what the metric measures. compared: whether its
    rows are tested against each other, so that the best may be bold.
    """

    name: str
    frame: pd.DataFrame
    metrics: list[str]
    best: dict[str, str]
    trained_on: Collection[tuple[str, str]] = ()
    compared: bool = True

    @property
    def single(self) -> bool:
        """Whether no run has several seeds: then the legend says what the intervals are, and no cell is marked."""
        return not (self.frame[[f"{metric}_n_seeds" for metric in self.metrics]] > 1).any(axis=None)


Shown = Table | pd.DataFrame  # a row per run, or the differences between runs


def write_markdown(path: Path, title: str, table: Shown, notes: list[str], settings: StatisticsSettings) -> None:
    """A table of results as Markdown."""
    header, rows = cells(table, "markdown")
    markdown_page(path, Page(title, header, rows, legend(table, settings), notes))


def write_latex(path: Path, title: str, table: Shown, notes: list[str], settings: StatisticsSettings) -> None:
    """A table of results as LaTeX."""
    header, rows = cells(table, "latex")
    latex_page(path, Page(title, header, rows, legend(table, settings), notes), text_columns(table))


def legend(table: Shown, settings: StatisticsSettings) -> str:
    """What the numbers and the bold face mean."""
    confidence = settings.confidence
    level = f"{100 * confidence:g} %"
    if isinstance(table, pd.DataFrame):
        return (
            f"Headline metrics: mean difference first minus second with its {level} interval, p-value corrected by "
            "Holm's method over all pairs of one metric, and what it holds for: where both runs have several seeds, "
            "other trainings; with one seed, these two trained models. Bold: better, corrected p-value below "
            f"{1 - confidence:.2g}. All metrics are in pairwise.csv."
        )
    if table.single:
        intervals = f"One training of each run ± half its {level} interval over images or samples."
        compared = "of these trained models"
    else:
        intervals = (
            f"Mean over seeds ± half the {level} Student interval for other trainings; {SINGLE} a single seed: half "
            "the interval over images or samples, for this trained model."
        )
        compared = "over trainings; with one seed, of these trained models"
    bold_face = f"Bold: better than every other run, each difference with p < {1 - confidence:.2g} ({compared})."
    bold_face = bold_face if table.compared else "Rows are not tested against each other: nothing is bold."
    trained_on = f"{TRAINED} measured by the network that the model was trained on." if table.trained_on else ""
    return " ".join(filter(None, (intervals, bold_face, trained_on)))


def cells(table: Shown, style: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows as text in one style, "markdown" or "latex"."""
    return _pairwise_cells(table, style) if isinstance(table, pd.DataFrame) else _wide_cells(table, style)


def text_columns(table: Shown) -> int:
    """How many leading columns hold words."""
    return 3 if isinstance(table, pd.DataFrame) else len(_word_columns(table))


def _word_columns(table: Table) -> dict[str, str]:
    """The columns of words by their heading; a table of generated images may say what drew them."""
    columns = {"Run": "run", "Sampler": "sampler", "Model": "model"}
    return {heading: column for heading, column in columns.items() if column in table.frame}


def _wide_cells(table: Table, style: str) -> tuple[list[str], list[list[str]]]:
    text: Callable[[str], str] = escape if style == "latex" else str
    frame = table.frame
    words = _word_columns(table)
    header = [*words, *(heading(metric, style) for metric in table.metrics)]
    columns = [[text(word) for word in frame[column]] for column in words.values()]
    for metric in table.metrics:
        means, halves = frame[f"{metric}_mean"], frame[f"{metric}_mean"] - frame[f"{metric}_ci_low"]
        digits = decimals(means)
        cells_of = zip(means, halves, frame[f"{metric}_n_seeds"], strict=True)
        mark = "" if table.single else text(SINGLE)
        column = [number(m, half, digits, style) + mark * (n == 1 and half > 0) for m, half, n in cells_of]
        trained = [text(TRAINED) * ((run, metric) in table.trained_on) for run in frame["run"]]
        column = [cell + sign if cell else cell for cell, sign in zip(column, trained, strict=True)]
        winner = table.best.get(metric)
        columns.append(
            [bold(cell, style) if run == winner else cell for run, cell in zip(frame["run"], column, strict=True)]
        )
    return header, [list(row) for row in zip(*columns, strict=True)]


def _pairwise_cells(frame: pd.DataFrame, style: str) -> tuple[list[str], list[list[str]]]:
    text: Callable[[str], str] = escape if style == "latex" else str
    header = ["Metric", "First", "Second", "Difference", "Interval", "p (Holm)", "Holds for"]
    rows = []
    for metric, group in frame.groupby("metric", sort=False):
        digits = decimals(pd.concat([group["difference"], group["ci_low"], group["ci_high"]]))
        for row in records(group):
            known = not math.isnan(row["p_holm"])
            interval = f"[{row['ci_low']:.{digits}f}, {row['ci_high']:.{digits}f}]" if known else ""
            runs = (row["run_a"], row["run_b"])
            names = [bold(text(run), style) if run == row["better"] else text(run) for run in runs]
            difference = number(row["difference"], math.nan, digits, style)
            told = [p_text(row["p_holm"], style), text(row["holds_for"])] if known else ["", text(row["note"])]
            rows.append([heading(str(metric), style), *names, difference, interval, *told])
    return header, rows


def heading(metric: str, style: str) -> str:
    """A metric's label, the arrow of its direction, and its unit."""
    entry = describe(metric)
    arrow = ARROWS[entry.higher_is_better][style == "latex"]
    unit = f"({entry.unit})" if entry.unit else ""
    label, unit = map(escape, (entry.label, unit)) if style == "latex" else (entry.label, unit)
    return " ".join(part for part in (label, arrow, unit) if part)


def decimals(values: pd.Series) -> int:
    """Decimals that give a column's largest number four significant digits, and at most six decimals."""
    largest = values.abs().max()
    if not largest > 0 or not math.isfinite(largest):
        return 0
    return min(max(SIGNIFICANT - 1 - math.floor(math.log10(largest)), 0), MOST_DECIMALS)


def number(value: float, half: float, digits: int, style: str) -> str:
    """A mean, with half its interval where there is one; nothing for a value that is absent."""
    if math.isnan(value):
        return ""
    sign = r" $\pm$ " if style == "latex" else " ± "
    shown = f"{value:.{digits}f}" if style == "markdown" or value >= 0 else f"$-${-value:.{digits}f}"
    return shown if math.isnan(half) else f"{shown}{sign}{half:.{digits}f}"


def p_text(p: float, style: str) -> str:
    """A p-value with four decimals, or as below the smallest that they can show."""
    if p >= 0.0001:
        return f"{p:.4f}"
    return "$<$0.0001" if style == "latex" else "<0.0001"
