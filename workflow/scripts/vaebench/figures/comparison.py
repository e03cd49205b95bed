"""The figures that compare runs by their numbers: ranks, rate and distortion, beta, errors by image."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from vaebench.figures.label_placement import place_labels
from vaebench.figures.style import (
    INK,
    MUTED,
    PAGE,
    Look,
    axis_label,
    last_line,
    legend,
    legend_columns,
    legend_height,
    log_scale,
    looks,
    missing,
    name_ticks,
    note,
    note_single_seed,
    panels,
    row_height,
    title_of,
    wrapped,
)
from vaebench.metrics.registry import METRICS
from vaebench.results.study import Interval, Run, Study
from vaebench.results.words import number

ERROR_FLOOR = 1e-9  # of an MSE on a logarithmic axis
Points = dict[str, tuple[Interval | None, Interval]]  # by run, its rate, if it has one, and its value
DISTORTIONS = ("distortion", "lpips_alex", "lpips_vgg")


def headline_metrics(study: Study, ranked: bool = True) -> list[str]:
    """The headline metrics that this study has, in the registry's order; `ranked`: those with a direction."""
    return [
        name
        for name, metric in METRICS.items()
        if metric.headline and study.has(name) and not (ranked and metric.higher_is_better is None)
    ]


def ranks(study: Study) -> Figure:
    """One panel per headline metric, the runs in the study's order: value, interval, and rank at the right.

    Filled and bold is what is bold in the tables: a run that is better than every other beyond chance.
    """
    names = [name for name in headline_metrics(study) if study.count(name) > 1 or len(study.runs) == 1]
    if not names:
        return missing("Headline metrics", "no run has been evaluated")
    order, look = [run.name for run in study.runs], looks(study.runs)
    across = min(4, len(names))
    down = -(-len(names) // across)
    figure = Figure(figsize=(PAGE, down * (0.6 + row_height(order, 0.165) * len(order))), layout="constrained")
    for axes, name in zip(panels(figure, len(names), across, sharey=True), names, strict=True):
        winner, rank_of = study.winner(name), study.ranks(name)
        for place, run in enumerate(order):
            value = study.interval(run, name)
            if value:
                _dot(axes, value, place, look[run], best=run == winner)
            rank = f"{rank_of[run]:g}" if math.isfinite(rank_of[run]) else "–"
            weight = "bold" if run == winner else "normal"
            axes.text(
                1.02,
                place,
                rank,
                transform=axes.get_yaxis_transform(),
                va="center",
                color=INK,
                fontsize=6,
                weight=weight,
            )
        axes.set_title(title_of(name).replace(" (", "\n("), fontsize=7)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.margins(x=0.12)
        axes.grid(False, axis="y")
    note_single_seed(figure, study)
    name_ticks(figure.axes[0], order)
    figure.axes[0].set_ylim(len(order) - 0.4, -0.6)
    return figure


def _dot(axes: Axes, value: Interval, place: float, look: Look, best: bool) -> None:
    """A value with its interval along a row; hollow unless it is better than every other beyond chance."""
    if math.isfinite(value.low):
        axes.hlines(place, value.low, value.high, color=look.color, lw=1.2)
    axes.plot(value.mean, place, look.marker, color=look.color, mfc=look.color if best else "white", ms=5)


def rate_distortion(study: Study) -> Figure:
    """Rate against distortion and LPIPS, a point per run with its intervals; sweeps are joined by a line."""
    rates = {run.name: study.interval(run.name, "rate") for run in study.runs}
    shown = [name for name in DISTORTIONS if study.has(name)]
    if not any(rates.values()) or not shown:
        return missing("Rate and distortion", "no run with a rate has been evaluated")
    look = looks(study.runs)
    figure = Figure(figsize=(PAGE, 2.3 + legend_height([run.name for run in study.runs])), layout="constrained")
    every = panels(figure, len(shown), len(shown))
    for axes, metric in zip(every, shown, strict=True):
        points = _points(study, rates, metric)
        _draw_points(axes, points, look)
        for line, name in _sweep_lines(study, points):
            axes.plot(*line, color=look[name].color, lw=0.8, zorder=1)
        axes.set_xlabel(axis_label("rate"))
        axes.set_title(title_of(metric))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.margins(0.15)
    note_single_seed(figure, study)
    figure.draw_without_rendering()
    named = [_name_points(axes, study, rates, metric, look) for axes, metric in zip(every, shown, strict=True)]
    if not all(named):
        legend(figure, [run for run in study.runs if rates[run.name]], look, dashes=False, markers=True)
    return figure


def _points(study: Study, rates: dict[str, Interval | None], metric: str) -> Points:
    """Rate and value of each run that has a value of the metric."""
    values = {run.name: study.interval(run.name, metric) for run in study.runs}
    return {name: (rates[name], value) for name, value in values.items() if value}


def _draw_points(axes: Axes, points: Points, look: dict[str, Look]) -> None:
    """A point per run with a rate; a run without one is a level line: it is infinite, or not known."""
    rates = sorted(rate.mean for rate, _ in points.values() if rate)
    crowded_right = bool(rates) and sum(rate > (rates[0] + rates[-1]) / 2 for rate in rates) > len(rates) / 2
    end, side = (0.005, "left") if crowded_right else (0.995, "right")
    for name, (rate, value) in points.items():
        one = look[name]
        if rate:
            axes.errorbar(
                rate.mean,
                value.mean,
                xerr=_reach(rate),
                yerr=_reach(value),
                fmt=one.marker,
                color=one.color,
                ms=5,
                lw=1,
                gid=name,
            )
        else:
            axes.axhline(value.mean, color=one.color, ls=(0, (4, 2)), lw=0.9, zorder=0, gid=name)
            words, across = f"{name} (no rate)", axes.get_yaxis_transform()
            axes.text(end, value.mean, words, color=one.ink, fontsize=6, ha=side, va="bottom", transform=across)


def _sweep_lines(study: Study, points: Points) -> list[tuple[tuple[list[float], list[float]], str]]:
    """For every sweep the line through the points of its runs, and the run whose colour it takes."""
    lines = []
    for members in _sweeps(study):
        joined = [(rate, value) for rate, value in (points[name] for name in members if name in points) if rate]
        lines.append((([rate.mean for rate, _ in joined], [value.mean for _, value in joined]), members[-1]))
    return lines


def _name_points(
    axes: Axes, study: Study, rates: dict[str, Interval | None], metric: str, look: dict[str, Look]
) -> bool:
    """Write the runs' names beside their points, if they fit."""
    points = {name: point for name, point in _points(study, rates, metric).items() if point[0]}
    named = [(rate.mean, value.mean, name, look[name].ink) for name, (rate, value) in points.items() if rate]
    bars = [bar for rate, value in points.values() if rate for bar in _bars(rate, value)]
    return place_labels(axes, named, [*(line for line, _ in _sweep_lines(study, points)), *bars])


def _bars(rate: Interval, value: Interval) -> list[tuple[list[float], list[float]]]:
    """The error bars of a point as lines, as far as it has them."""
    across, down = ([one.low, one.high] if math.isfinite(one.low) else [one.mean] * 2 for one in (rate, value))
    return [(across, [value.mean] * 2), ([rate.mean] * 2, down)]


def _reach(value: Interval) -> list[list[float]] | None:
    """Distances from the mean down and up to the interval's ends, as error bars want them."""
    if not math.isfinite(value.low):
        return None
    return [[max(0.0, value.mean - value.low)], [max(0.0, value.high - value.mean)]]


def _sweeps(study: Study) -> list[list[str]]:
    """Names of the runs that a line joins: those of an entry that sweeps one setting; of several, those along beta."""
    entries: dict[str, list[Run]] = {}
    for run in study.runs:
        entries.setdefault(run.entry, []).append(run)
    sweeps = []
    for runs in entries.values():
        names = [run.name for run in runs]
        settings = [(run.spec.get("config") or {}) | (run.spec.get("training") or {}) for run in runs]
        if sum(any(other.get(key) != value for other in settings) for key, value in settings[0].items()) == 1:
            sweeps.append(names)
        else:
            sweeps += [[name for name in series if name in names] for series in study.betas.values()]
    return [names for names in sweeps if len(names) > 1]


def beta_tradeoff(study: Study) -> Figure:
    """Along beta: what is gained in rate and lost in reconstruction, with intervals."""
    entries = study.betas
    quality = [name for name in ("mse", "lpips_alex", "rate", "active_units", *_generation(study)) if study.has(name)]
    if not entries or not quality:
        reason = "no entry sweeps beta over several values" if not entries else "no run has been evaluated"
        return missing("The trade-off along beta", reason)
    look = looks(study.runs)
    across = min(3, len(quality))
    down = -(-len(quality) // across)
    lines = {entry: Line2D([], [], color=look[[*betas][-1]].color, label=entry) for entry, betas in entries.items()}
    below = legend_height([*lines]) if len(lines) > 1 else 0
    figure = Figure(figsize=(PAGE, 1.6 * down + 0.2 + below), layout="constrained")
    every = panels(figure, len(quality), across, sharex=True)
    ticks = sorted({beta for betas in entries.values() for beta in betas.values()})
    for axes, metric in zip(every, quality, strict=True):
        _along_beta(axes, study, entries, metric, look)
        axes.set_xscale("log" if ticks[0] > 0 else "symlog")
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda beta, _: f"{beta:g}"))
        axes.set_title(title_of(metric))
    for axes in every[-across:]:
        axes.tick_params(labelbottom=True)
    for axes in last_line(every, across):
        axes.set_xlabel("β")
    if below:
        figure.legend(handles=[*lines.values()], loc="outside lower left", ncols=legend_columns([*lines]))
    note_single_seed(figure, study)
    return figure


def _generation(study: Study) -> list[str]:
    return [name for name in headline_metrics(study) if METRICS[name].suite == "generation"][:1]


def _along_beta(
    axes: Axes, study: Study, entries: dict[str, dict[str, float]], metric: str, look: dict[str, Look]
) -> None:
    for betas in entries.values():
        values = [(beta, study.interval(name, metric), look[name]) for name, beta in betas.items()]
        points = [(beta, value, one) for beta, value, one in values if value]
        if not points:
            continue
        axes.plot(
            [beta for beta, _, _ in points], [value.mean for _, value, _ in points], color=points[-1][2].color, lw=0.8
        )
        for beta, value, one in points:
            axes.errorbar(beta, value.mean, yerr=_reach(value), fmt=one.marker, color=one.color, ms=5, lw=1)
    axes.margins(0.12)


def image_errors(study: Study) -> Figure:
    """The MSE of every held-out image, sorted per run; and for each image, one run's error against another's."""
    measured = {run.name: per_image(run, "mse") for run in study.runs}
    errors = {name: values.clip(lower=ERROR_FLOOR) for name, values in measured.items() if values is not None}
    if not errors:
        return missing("Reconstruction error by image", "no run has written metrics/per_image.parquet")
    look = looks(study.runs)
    figure = Figure(figsize=(PAGE, 2.2 + legend_height([run.name for run in study.runs])), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for name, values in errors.items():
        share = (np.arange(len(values)) + 0.5) / len(values) * 100
        left.plot(share, np.sort(values.to_numpy()), color=look[name].color, ls=look[name].dash, gid=name)
    left.set_yscale("log")
    log_scale(left.yaxis, *left.get_ylim())
    left.set_title("MSE of every held-out image, sorted per run")
    left.set_xlabel("images with a lower error (%)")
    left.set_ylabel(axis_label("mse"))
    _against(right, errors, look)
    legend(figure, study.runs, look)
    return figure


def _against(axes: Axes, errors: dict[str, pd.Series], look: dict[str, Look]) -> None:
    """A dot per image: its error under the two runs with the lowest mean error."""
    if len(errors) < 2:
        note(axes, "one run: nothing to compare")
        return
    best, second = sorted(errors, key=lambda name: errors[name].mean())[:2]
    joined = pd.concat([errors[best], errors[second]], axis=1, join="inner", keys=["x", "y"])
    axes.scatter(joined["x"], joined["y"], s=4, alpha=0.5, color=look[best].color, lw=0)
    limits = (joined.min().min() * 0.9, joined.max().max() * 1.1)
    axes.plot(limits, limits, color=MUTED, lw=0.7, ls=(0, (3, 2)))
    axes.set(xlim=limits, ylim=limits, xscale="log", yscale="log")
    log_scale(axes.xaxis, *limits)
    log_scale(axes.yaxis, *limits)
    above = (joined["y"] > joined["x"]).mean()
    axes.set_title(f"{wrapped(best)} is closer\non {number(100 * float(above))} % of images", fontsize=7)
    axes.set_xlabel(wrapped(f"MSE of {best}"))
    axes.set_ylabel(wrapped(f"MSE of {second}"))


def per_image(run: Run, column: str) -> pd.Series | None:
    """One per-image metric of the first seed, indexed by the image's id; None when it was not measured."""
    path = run.first("metrics", "per_image.parquet")
    if path is None:
        return None
    frame = pd.read_parquet(path)
    return frame.set_index("image")[column].dropna() if column in frame else None
