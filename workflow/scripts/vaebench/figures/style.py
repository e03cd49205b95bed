"""How figures look: a colour, marker and dash per run, page sizes, saving, and a face for missing data."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from vaebench.base.files import atomic_path
from vaebench.metrics.registry import Metric, describe
from vaebench.results.study import Run, Study

PAGE = 7.0  # width of the page
LINE = 0.13  # inches from one line of type to the next
NAME = 30  # characters of a run's name on a line of its own
INK = "#222222"
MUTED = "#767676"
# Okabe and Ito, "Color Universal Design" (2008), without yellow and black, which vanish on paper and among text.
HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D4F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
_UNDATED = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
_STYLE = Path(__file__).with_name("vaebench.mplstyle")


@dataclass(frozen=True)
class Look:
    """How one run is drawn: its colour and marker, and its dash where lines are many."""

    color: str
    marker: str
    dash: object

    @property
    def ink(self) -> str:
        """The colour, darkened until text in it is legible on white."""
        return blend(self.color, "black", 0.3)


@contextmanager
def look_of_vaebench() -> Iterator[None]:
    """The style file, for the drawing and for the saving of a figure."""
    with style.context(["default", _STYLE]):
        yield


def blend(color: str, other: str, share: float) -> str:
    """`color` mixed with a share (0..1) of `other`, as a hex string."""
    mixed = [(1 - share) * mine + share * theirs for mine, theirs in zip(to_rgb(color), to_rgb(other), strict=True)]
    return to_hex((mixed[0], mixed[1], mixed[2]))


def looks(runs: Sequence[Run]) -> dict[str, Look]:
    """A look for every run: a hue per entry of the configuration; the runs of one sweep go from light to dark.

    Beyond seven entries the hues repeat with another dash and marker.
    """
    entries = list(dict.fromkeys(run.entry for run in runs))
    result = {}
    for number, entry in enumerate(entries):
        members = [run for run in runs if run.entry == entry]
        turn, hue = divmod(number, len(HUES))
        for position, run in enumerate(members):
            shade = _shade(position, len(members))
            color = blend(HUES[hue], "white" if shade < 0 else "black", abs(shade))
            marker = MARKERS[(number + turn) % len(MARKERS)]
            dash = DASHES[(turn + position) % len(DASHES)]
            result[run.name] = Look(color, marker, dash)
    return result


def _shade(position: int, count: int) -> float:
    """Share of white (negative) or black (positive) for a run's place within its sweep."""
    return 0.0 if count == 1 else -0.4 + 0.8 * position / (count - 1)


def arrow(metric: Metric) -> str:
    """The direction in which a metric is better, as one character; empty when neither is."""
    return {True: "↑", False: "↓", None: ""}[metric.higher_is_better]


def title_of(name: str) -> str:
    """A metric's label with the direction that is better: what heads a panel."""
    metric = describe(name)
    return f"{metric.label} {arrow(metric)}".strip()


def axis_label(name: str) -> str:
    """A metric's label with its unit: what stands along an axis."""
    metric = describe(name)
    return f"{metric.label} ({metric.unit})" if metric.unit else metric.label


def wrapped(text: str, length: int = NAME) -> str:
    """A text in lines of at most so many characters; longer ones are broken at spaces, after hyphens, or anywhere."""
    return "\n".join(part for line in text.splitlines() for part in textwrap.wrap(line, length))


def name_ticks(axes: Axes, names: Sequence[str]) -> None:
    """The names of runs along the vertical axis, from 0 upwards, long ones in several lines."""
    axes.set_yticks(range(len(names)), [wrapped(name) for name in names])


def row_height(names: Sequence[str], least: float) -> float:
    """Inches of a row that is named by one of the names."""
    return max(least, LINE * max(wrapped(name).count("\n") + 1 for name in names))


def legend(
    figure: Figure, runs: Sequence[Run], look: dict[str, Look], dashes: bool = True, markers: bool = False
) -> None:
    """One legend for the whole figure, under its panels, with the runs in their order; the untrained ones say so."""
    handles = [
        Line2D([], [], color=look[run.name].color, ls=look[run.name].dash if dashes else "-",
               marker=look[run.name].marker if markers else None, label=run.name)
        if run.trained else Line2D([], [], ls="none", label=f"{run.name}: no result")
        for run in runs
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower left", ncols=legend_columns([run.name for run in runs]))


def legend_height(labels: Sequence[str]) -> float:
    """Inches that a legend of these labels takes."""
    return 0.1 + 0.15 * -(-len(labels) // legend_columns(labels))


def legend_columns(labels: Sequence[str]) -> int:
    """How many of these labels stand beside each other in a legend of the page's width."""
    return max(1, min(4, int(PAGE / (0.055 * max(map(len, labels)) + 0.5))))


def log_scale(axis: Axis, lowest: float, highest: float) -> None:
    """A logarithmic axis with plain numbers: at 1, 2 and 5 of each decade where there are few decades."""
    few = 0 < highest < 300 * lowest
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=9))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def panels(figure: Figure, count: int, across: int, sharex: bool = False, sharey: bool = False) -> list[Axes]:
    """`count` panels in lines of `across`; the places that stay empty are removed."""
    down = -(-count // across)
    every = list(figure.subplots(down, across, squeeze=False, sharex=sharex, sharey=sharey).flat)
    for axes in every[count:]:
        axes.remove()
    return every[:count]


def last_line(every: Sequence[Axes], across: int) -> Sequence[Axes]:
    """The panels of the last line: those that name the horizontal axis."""
    return every[(len(every) - 1) // across * across :]


def note_single_seed(figure: Figure, study: Study) -> None:
    """Say at the top what the intervals are, where no run has several trained seeds."""
    if all(len(run.trained) < 2 for run in study.runs):
        told = "one seed per run: intervals are over images or samples, for these trained models"
        figure.suptitle(told, x=0.995, ha="right", fontsize=6.5, color=MUTED)


def note(axes: Axes, text: str) -> None:
    """Write on a panel what is missing there; its scale is removed."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED, wrap=True)


def missing(title: str, reason: str) -> Figure:
    """A whole figure whose data are not there: its title and the reason, which its PNG file tells as its comment."""
    figure = Figure(figsize=(PAGE, 1.5), label=reason)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.text(0.5, 0.62, title, ha="center", va="center", weight="bold", fontsize=9, color=INK)
    axes.text(0.5, 0.36, f"No data: {reason}", ha="center", va="center", color=MUTED)
    return figure


def save(figure: Figure, path: Path, formats: Iterable[str]) -> None:
    """Write `figure` as `path` with each suffix in `formats`, whole or not at all, without a date inside."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # the layout is settled once, for all formats
    for suffix in formats:
        with atomic_path(path.with_name(f"{path.name}.{suffix}")) as temporary:
            comment = {"Comment": figure.get_label()} if suffix == "png" and figure.get_label() else {}
            figure.savefig(temporary, metadata=_UNDATED[suffix] | comment)
