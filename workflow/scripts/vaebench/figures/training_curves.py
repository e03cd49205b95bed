"""The figures of the training itself: loss curves with seeds as a band, and what the training cost."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vaebench.figures.style import (
    MUTED,
    PAGE,
    Look,
    last_line,
    legend,
    legend_height,
    log_scale,
    looks,
    missing,
    name_ticks,
    panels,
    row_height,
)
from vaebench.metrics.registry import METRICS
from vaebench.results.study import Run, Study
from vaebench.results.words import number, unit_of_time

MEASURES = ("learning_rate", "images_per_second", "peak_memory_mb", "seconds")
DASHED = (0, (3, 2))
TERM_ORDER = ("loss", "reconstruction_loss", "recon_loss", "kl", "reg_loss", "vq", "vq_loss", "mse")


def terms(study: Study) -> list[str]:
    """Every loss term of any run, the common ones first; measures of speed and memory are not among them."""
    found = {term for run in study.runs for term in loss_terms(run)}
    known = [term for term in TERM_ORDER if term in found]
    return known + sorted(found - set(known))


def loss_terms(run: Run) -> list[str]:
    """The loss terms of one run: what its history holds besides learning rates, speed and memory."""
    return [term for term in run.history["term"].unique() if not term.startswith(MEASURES)]


def band(run: Run, term: str, split: str) -> pd.DataFrame:
    """Mean, lowest and highest value over seeds of one term, by epoch."""
    history = run.history
    rows = history[(history["term"] == term) & (history["split"] == split)]
    return rows.groupby("epoch")["value"].agg(["mean", "min", "max"])


def training_curves(study: Study) -> Figure:
    """One panel per loss term: training dashed, validation solid, the range over seeds as a band."""
    names = terms(study)
    if not names:
        return missing("Training curves", "no run has written history.csv")
    look = looks(study.runs)
    across = min(3, len(names))
    down = -(-len(names) // across)
    runs = [run for run in study.runs if run.trained]
    figure = Figure(
        figsize=(PAGE, 1.35 * down + 0.4 + legend_height([run.name for run in study.runs])), layout="constrained"
    )
    every = panels(figure, len(names), across)
    for axes, term in zip(every, names, strict=True):
        _draw_term(axes, runs, look, term)
    for axes in last_line(every, across):
        axes.set_xlabel("epoch")
    legend(figure, study.runs, look, dashes=False, markers=True)
    splits = [
        Line2D([], [], color=MUTED, lw=0.9, ls=DASHED, label="training"),
        Line2D([], [], color=MUTED, label="validation"),
    ]
    figure.legend(handles=splits, loc="outside upper right", ncols=2)
    return figure


def _draw_term(axes: Axes, runs: list[Run], look: dict[str, Look], term: str) -> None:
    lowest, highest = np.inf, -np.inf
    for run in runs:
        color, marker = look[run.name].color, look[run.name].marker
        for split, dash, width in (("train", DASHED, 0.9), ("eval", "-", 1.3)):
            values = band(run, term, split)
            values = values[values.index > 0] if len(values) > 1 else values
            if values.empty:
                continue
            axes.plot(
                values.index,
                values["mean"],
                color=color,
                ls=dash,
                lw=width,
                marker=marker if split == "eval" else "_" if len(values) == 1 else None,
                markevery=[-1],
                ms=4,
                gid=f"{run.name}:{term}:{split}",
            )
            axes.fill_between(values.index, values["min"], values["max"], color=color, alpha=0.18, lw=0)
            lowest, highest = min(lowest, values["min"].min()), max(highest, values["max"].max())
    if lowest > 0 and highest / lowest > 20:
        axes.set_yscale("log")
        log_scale(axes.yaxis, lowest, highest)
    axes.set_title(METRICS[term].label if term in METRICS else term.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))


def costs(study: Study) -> pd.DataFrame:
    """What each training cost: a row per run and seed with throughput, peak memory, seconds and epochs."""
    rows = []
    for run in study.runs:
        for seed, history in run.history.groupby("seed"):
            values = {term: rows["value"] for term, rows in history.groupby("term")}
            row = {"run": run.name, "seed": seed, "epochs": int(history["epoch"].max())}
            if "images_per_second" in values:
                row["images_per_second"] = float(values["images_per_second"].median())
            if "peak_memory_mb" in values:
                row["peak_memory_mb"] = float(values["peak_memory_mb"].max())
            if "seconds" in values:
                row["seconds"] = float(values["seconds"].sum())
            rows.append(row)
    return pd.DataFrame(rows)


def cost(study: Study) -> Figure:
    """Images per second, peak memory and training time of every run; a dot per seed, a line at their mean."""
    table = costs(study)
    columns = [name for name in ("images_per_second", "peak_memory_mb", "seconds") if name in table]
    if not columns:
        return missing("Throughput, memory and time", "no run has written history.csv")
    unit, size = unit_of_time(table["seconds"].max()) if "seconds" in table else ("s", 1)
    if "seconds" in table:
        table["seconds"] /= size
    titles = {
        "images_per_second": ("Throughput ↑", "training images per second"),
        "peak_memory_mb": ("Peak memory ↓", "MB"),
        "seconds": ("Training time ↓", f"{unit} per seed"),
    }
    look = looks(study.runs)
    names = [run.name for run in study.runs][::-1]
    figure = Figure(figsize=(PAGE, 0.75 + row_height(names, 0.2) * len(names)), layout="constrained")
    for axes, column in zip(figure.subplots(1, len(columns), sharey=True, squeeze=False).flat, columns, strict=True):
        for height, name in enumerate(names):
            values = table.loc[table["run"] == name, column].dropna()
            if values.empty:
                axes.text(0.02, height, "–", transform=axes.get_yaxis_transform(), va="center", color=MUTED)
                continue
            axes.plot(values, [height] * len(values), look[name].marker, color=look[name].color, ms=4, alpha=0.75)
            axes.annotate(
                number(values.mean()),
                (values.max(), height),
                (6, 0),
                textcoords="offset points",
                va="center",
                fontsize=6.5,
            )
        axes.set_title(titles[column][0])
        axes.set_xlabel(titles[column][1])
        axes.set_xlim(0, 1.28 * table[column].max())
        name_ticks(axes, names)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    return figure
