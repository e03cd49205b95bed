"""The tables that plugins add: each a data frame, written as CSV, Markdown and LaTeX."""

from pathlib import Path

import pandas as pd

from vaebench.base.files import atomic_path
from vaebench.base.plugin_files import Added, PluginError, blamed
from vaebench.results.study import Study
from vaebench.results.table_names import TABLES
from vaebench.results.table_pages import Page, escape, latex_page, markdown_page


def write_added_tables(study: Study, folder: Path) -> None:
    """Write every table that a plugin in use adds to `folder`: {name}.csv, {name}.md and {name}.tex.

    Raises `PluginError` for a plugin that fails or gives no data frame.
    """
    for info in TABLES.values():
        if info.added is None:
            continue
        frame = _frame(info.added, study)
        with atomic_path(folder / f"{info.name}.csv") as temporary:
            frame.to_csv(temporary, index=False, lineterminator="\n")
        header, rows = frame_cells(frame)
        markdown_page(folder / f"{info.name}.md", Page(info.title, header, rows))
        latex = [[escape(cell) for cell in row] for row in rows]
        words = sum(not pd.api.types.is_numeric_dtype(frame[column]) for column in frame)
        latex_page(folder / f"{info.name}.tex", Page(info.title, list(map(escape, header)), latex), words)
        print(f"Wrote {len(frame)} rows: {folder / info.name}.csv")


def frame_cells(frame: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows as text: numbers with four significant digits, nothing for what is absent."""
    return [str(column) for column in frame], [[_cell(value) for value in row] for row in frame.itertuples(index=False)]


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.4g}"
    return "" if value is None else str(value)


def _frame(entry: Added, study: Study) -> pd.DataFrame:
    with blamed(entry):
        frame = entry.load()(study)
    if not isinstance(frame, pd.DataFrame):
        raise PluginError(f"{entry.place}: {entry.name} must give a pandas DataFrame")
    return frame
