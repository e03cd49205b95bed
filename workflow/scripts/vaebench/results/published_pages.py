"""The table of ours and published values for people."""

import math
from pathlib import Path

import pandas as pd

from vaebench.results.study import records
from vaebench.results.table_formats import decimals, heading, number
from vaebench.results.table_pages import Page, escape, latex_page, markdown_page

TITLE = "Against the literature"
LEGEND = (
    "Ours: mean over seeds ± half its interval, of one seed over images or samples. Nothing is compared whose data, "
    "crop, size, split, feature network or counts are not the source's. What differs otherwise, and what the source "
    "does not state, is named. published.csv has the citation of every value."
)


def write_published_pages(frame: pd.DataFrame, folder: Path) -> None:
    """Write published.md and published.tex to `folder`."""
    markdown_page(folder / "published.md", Page(TITLE, *cells(frame, "markdown"), LEGEND))
    latex_page(folder / "published.tex", Page(TITLE, *cells(frame, "latex"), LEGEND), words=4)


def cells(frame: pd.DataFrame, style: str = "markdown") -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table for people, in the style "markdown" or "latex"."""
    text = escape if style == "latex" else str
    header = ["Source", "Model there", "Metric", "Run", "Ours", "Theirs", "Difference", "Not compared, or what differs"]
    rows = []
    for metric, group in frame.groupby("metric", sort=False):
        digits = decimals(pd.to_numeric(group["theirs"]))
        for row in records(group):
            half = _float(row["ours"]) - _float(row["ci_low"])
            open_points = f"not stated there: {row['not_stated']}" if _present(row["not_stated"]) else ""
            remarks = [row["not_compared"]] if _present(row["not_compared"]) else [row["differs"], open_points]
            told = [number(_float(row["ours"]), half, digits, style)]
            told += [number(_float(row[name]), math.nan, digits, style) for name in ("theirs", "difference")]
            remark = "; ".join(str(remark) for remark in remarks if _present(remark))
            names = [f"{row['source']}, {row['where']}", f"{row['row']}, {row['column']}"]
            run = str(row["run"]) if _present(row["run"]) else ""
            rows.append([*map(text, names), heading(str(metric), style), text(run), *told, text(remark)])
    return list(map(text, header)), rows


def _float(value: object) -> float:
    return float(str(value)) if _present(value) else float("nan")


def _present(value: object) -> bool:
    return value is not None and value == value and value != ""
