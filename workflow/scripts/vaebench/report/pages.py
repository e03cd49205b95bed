"""The part of the page on each run: its specification, metrics, pictures, curves and provenance."""

from dataclasses import dataclass
from html import escape
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from vaebench.figures.style import Look
from vaebench.figures.training_curves import band, costs, loss_terms, terms
from vaebench.metrics.registry import METRICS, Metric, describe
from vaebench.report.data_uris import strip
from vaebench.report.minicharts import line_chart
from vaebench.results.study import Run, Study
from vaebench.results.words import duration, metric_line, number, sampler_words

GENERATED = 20


@dataclass(frozen=True)
class Strip:
    """Images side by side: the class of its cells, how many there are, their shape, what each shows, and the data."""

    name: str
    count: int
    aspect: float
    alt: str
    address: str


def cut_strip(name: str, alt: str, images: np.ndarray) -> Strip:
    """A strip of images (k, C, H, W) uint8; `alt` describes one of them, its number is added."""
    return Strip(name, len(images), images.shape[-1] / images.shape[-2], alt, strip(images))


class MetricRow(TypedDict):
    """A metric of a run: its mean over seeds, their range in words, how many seeds and images, and what is noted."""

    metric: Metric
    mean: float | None
    range: str
    seeds: int
    n: int | None
    note: str


@dataclass(frozen=True)
class RunPage:
    """Everything the page shows of one run."""

    run: Run
    slug: str
    look: Look
    reconstructions: Strip | None
    generated: Strip | None
    extremes: list[Strip]
    metrics: list[MetricRow]
    charts: list[str]
    cost: str
    sampler: dict[str, Any]
    error: str
    further: list[tuple[str, Strip | None]]

    @property
    def strips(self) -> list[Strip]:
        """All strips of the page."""
        further = (strip for _, strip in self.further)
        return [strip for strip in (self.reconstructions, self.generated, *further, *self.extremes) if strip]

    @property
    def drawn(self) -> list[tuple[str, Strip | None]]:
        """The generated images by each sampler, in words, those that the run is compared by first."""
        return [(sampler_words(self.sampler), self.generated), *self.further]


def run_pages(study: Study, look: dict[str, Look]) -> list[RunPage]:
    """A page for every planned run, in their order; what a failed run lacks is absent."""
    cost_table = costs(study)
    return [_page(study, run, f"run-{number}", look[run.name], cost_table) for number, run in enumerate(study.runs, 1)]


def originals(study: Study) -> Strip | None:
    """The held-out images that every run reconstructs; None when no run has shown them."""
    for run in study.runs:
        arrays = run.arrays("showcase.npz")
        if "originals" in arrays:
            return cut_strip("originals", "original image", arrays["originals"])
    return None


def _page(study: Study, run: Run, slug: str, look: Look, cost_table: pd.DataFrame) -> RunPage:
    showcase, generated = run.arrays("showcase.npz"), run.generated(GENERATED)
    shown = showcase.get("reconstructions")
    label = f"{run.name}: reconstruction of image"
    return RunPage(
        run,
        slug=slug,
        look=look,
        reconstructions=None if shown is None else cut_strip(f"{slug}-r", label, shown),
        generated=_generated(run, slug, generated),
        extremes=_extremes(run, slug),
        metrics=metric_rows(study, run),
        charts=_charts(study, run),
        cost=_cost_line(run, cost_table),
        sampler=run.sampler,
        error=metric_line(study, run, "mse"),
        further=[
            (
                sampler_words(run.drawn_by(label)) or label,
                _generated(run, f"{slug}-{place}", run.generated(GENERATED, label)),
            )
            for place, label in enumerate(run.samplers[1:], 2)
        ],
    )


def _generated(run: Run, slug: str, images: np.ndarray | None) -> Strip | None:
    return None if images is None else cut_strip(f"{slug}-g", f"{run.name}: generated image", images)


def _extremes(run: Run, slug: str) -> list[Strip]:
    arrays = run.arrays("metrics", "extremes.npz")
    parts = (("best", "lowest error"), ("worst", "highest error"))
    sides = (("original", "original"), ("reconstruction", "reconstruction"))
    return [
        cut_strip(f"{slug}-{end[0]}{side[0]}", f"{run.name}: {words} of the image with the {meaning}, number", images)
        for end, meaning in parts
        for side, words in sides
        if (images := arrays.get(f"{end}_{side}")) is not None
    ]


def metric_rows(study: Study, run: Run) -> list[MetricRow]:
    """All metrics of a run that any run has, from runs.csv: mean and range over seeds, or the note why it is empty."""
    values = study.values
    if "run" not in values:
        return []
    rows: list[MetricRow] = []
    measured = set(values.loc[values["value"].notna(), "metric"])
    own = values[(values["run"] == run.name) & values["metric"].isin(measured)]
    for name, group in own.groupby("metric", sort=False):
        metric = describe(str(name))
        found = group["value"].dropna()
        notes = [note for note in group.get("note", pd.Series(dtype=str)).dropna().unique() if note]
        rows.append(
            {
                "metric": metric,
                "mean": float(found.mean()) if len(found) else None,
                "range": f"{number(found.min())} to {number(found.max())}" if len(found) > 1 else "",
                "seeds": len(found),
                "n": int(group["n"].max()) if group["n"].notna().any() else None,
                "note": "; ".join(map(str, notes)),
            }
        )
    return rows


def _charts(study: Study, run: Run) -> list[str]:
    """A small chart per loss term of the run."""
    own = loss_terms(run)
    charts = []
    for term in terms(study):
        if term in own:
            lines = []
            for split in ("train", "eval"):
                curve = band(run, term, split)
                lines.append((split, curve.index.tolist(), curve["mean"].tolist()))
            title = METRICS[term].label if term in METRICS else term.replace("_", " ")
            charts.append(line_chart(title, [line for line in lines if line[1]]))
    return charts


def _cost_line(run: Run, table: pd.DataFrame) -> str:
    """Training time, speed and memory of a run, the mean over seeds, in one line."""
    rows = table[table["run"] == run.name] if "run" in table else table
    if rows.empty:
        return ""
    epochs = int(rows["epochs"].max())
    parts = [f"{epochs} {'epoch' if epochs == 1 else 'epochs'}"]
    if "seconds" in rows and rows["seconds"].notna().any():
        parts.append(f"{duration(float(rows['seconds'].mean()))} per seed")
    if "images_per_second" in rows and rows["images_per_second"].notna().any():
        parts.append(f"{number(float(rows['images_per_second'].mean()))} images/s")
    if "peak_memory_mb" in rows and rows["peak_memory_mb"].notna().any():
        parts.append(f"peak memory {number(float(rows['peak_memory_mb'].max()))} MB")
    return ", ".join(parts)


def facts_html(value: object) -> str:
    """Nested settings as nested definition lists; long hashes are kept whole but may break."""
    if isinstance(value, dict):
        items = "".join(f"<dt>{escape(str(key))}</dt><dd>{facts_html(item)}</dd>" for key, item in value.items())
        return f"<dl>{items}</dl>" if items else "–"
    if isinstance(value, list | tuple):
        return ", ".join(map(facts_html, value)) or "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "–" if value is None else escape(str(value))
