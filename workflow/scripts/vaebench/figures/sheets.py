"""Sheets of pictures: each pixel is a whole number of dots, each row carries its run's name and colour."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vaebench.figures.style import INK, MUTED, PAGE, Look

DPI = 200  # of the PNG
GAP = 2  # pixels between two images
WIDEST_CELL = 0.75  # inches
TALLEST = 18.0  # inches of a sheet of many runs
EDGE = 0.05  # inches around the sheet
DETAIL_LINE = 0.11  # inches of a line below a label


@dataclass(frozen=True)
class Row:
    """One row of a sheet: its label, lines below it in grey, and images (k, C, H, W) uint8, or the reason for none."""

    label: str
    detail: str
    images: np.ndarray | None
    look: Look | None = None
    reason: str = ""


def mosaic(rows: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Images of several rows on one white canvas, (rows·(H+GAP)-GAP, columns·(W+GAP)-GAP, 3) uint8.

    A row holds up to `columns` images (k, C, H, W); its remaining cells stay white. Grey images become RGB.
    """
    _, _, height, width = rows[0].shape
    step_y, step_x = height + GAP, width + GAP
    canvas = np.full((len(rows) * step_y - GAP, columns * step_x - GAP, 3), 255, np.uint8)
    for top, images in enumerate(rows):
        for left, image in enumerate(images[:columns]):
            pixels = np.broadcast_to(image, (3, height, width)).transpose(1, 2, 0)
            canvas[top * step_y :, left * step_x :][:height, :width] = pixels
    return canvas


def sheet(rows: Sequence[Row], columns: int, split_after: int | None = None, headings: Sequence[str] = ()) -> Figure:
    """Rows of images with their labels; a wider gap after `split_after` columns, a heading over each part."""
    shape = next(row.images for row in rows if row.images is not None).shape
    _, channels, height, width = shape
    blank = np.empty((0, channels, height, width), np.uint8)
    canvas = mosaic([blank if row.images is None else row.images for row in rows], columns)
    starts = [0]
    if split_after:
        cut = split_after * (width + GAP) - GAP
        canvas = np.insert(canvas, [cut] * (4 * GAP), 255, axis=1)
        starts.append(cut + 5 * GAP)
    margin = label_width([text for row in rows for text in (row.label, row.detail)])
    fitting = round((PAGE - margin) * DPI / canvas.shape[1]), int(TALLEST * DPI / canvas.shape[0])
    dots = max(1, min(*fitting, int(WIDEST_CELL * DPI / width)))
    tall, wide = canvas.shape[0] * dots / DPI, canvas.shape[1] * dots / DPI
    top = 0.2 if headings else EDGE
    figure = Figure(figsize=(margin + wide + EDGE, tall + top + EDGE))
    axes = _axes_in_inches(figure, margin, EDGE, wide, tall)
    axes.imshow(canvas, extent=(0, wide, tall, 0), aspect="auto")
    inches = dots / DPI
    for number, row in enumerate(rows):
        _label(axes, row, (number * (height + GAP)) * inches, height * inches)
    for heading, start in zip(headings, starts, strict=False):
        axes.text(start * inches, -0.04, heading, va="bottom", weight="bold", color=INK)
    return figure


def label_width(labels: Sequence[str]) -> float:
    """Inches that the longest of the labels takes, on at most two lines, with its margins."""
    longest = max(len(line) for label in labels for line in wrapped(label).split("\n"))
    return max(0.9, 0.068 * longest + 0.2)


def wrapped(label: str) -> str:
    """A text whose lines of more than 20 characters are broken at spaces and after hyphens."""
    return "\n".join(part for line in label.splitlines() for part in textwrap.wrap(line, 20, break_on_hyphens=True))


def _axes_in_inches(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes without a frame at an exact place of the figure, so that pictures keep whole dots."""
    full_width, full_height = figure.get_size_inches()
    axes = figure.add_axes((left / full_width, bottom / full_height, width / full_width, height / full_height))
    axes.set_axis_off()
    return axes


def _label(axes: Axes, row: Row, top: float, height: float) -> None:
    """The run's name left of its row, a bar in its colour, and the reason in place of missing pictures."""
    detail = wrapped(row.detail)
    middle = top + height / 2 - detail.count("\n") * DETAIL_LINE / 2
    beside: dict[str, Any] = {"ha": "right", "clip_on": False}
    axes.text(
        -0.12, middle, wrapped(row.label), va="bottom" if detail else "center", weight="bold", color=INK, **beside
    )
    if detail:
        axes.text(-0.12, middle + 0.02, detail, va="top", color=MUTED, fontsize=6.5, **beside)
    if row.look:
        axes.add_patch(Rectangle((-0.08, top), 0.035, height, color=row.look.color, lw=0, clip_on=False))
    if row.images is None:
        axes.text(0.08, middle, row.reason, va="center", color=MUTED, style="italic")


@dataclass(frozen=True)
class Block:
    """A grid of pictures (rows, columns, C, H, W) uint8 with a title, a label per row, and labels under the columns."""

    title: str
    images: np.ndarray
    row_labels: Sequence[str]
    column_labels: Sequence[str] = ()
    look: Look | None = None
    row_looks: Sequence[Look | None] = ()


def blocks(parts: Sequence[Block], across: int) -> Figure:
    """Grids of pictures beside and under each other, `across` in a line, all at one scale."""
    across = min(across, len(parts))
    margins = [max(map(_margin, parts[place::across])) for place in range(across)]
    canvases = [mosaic(list(part.images), part.images.shape[1]) for part in parts]
    widest = max(canvas.shape[1] for canvas in canvases)
    pixels = max(part.images.shape[-1] for part in parts)
    wide = min((PAGE - sum(margins)) / across - EDGE, WIDEST_CELL * widest / pixels)
    scale = wide / widest
    below = 0.24 if any(part.column_labels for part in parts) else 0.1
    lines = [range(start, min(start + across, len(parts))) for start in range(0, len(parts), across)]
    talls = [max(canvases[number].shape[0] for number in line) * scale + 0.2 + below for line in lines]
    figure = Figure(figsize=(sum(margins) + across * (wide + EDGE), sum(talls)))
    bottom = sum(talls)
    for line, tall in zip(lines, talls, strict=True):
        bottom -= tall
        for place, number in enumerate(line):
            canvas = canvases[number]
            size = canvas.shape[1] * scale, canvas.shape[0] * scale
            left = sum(margins[: place + 1]) + place * (wide + EDGE)
            axes = _axes_in_inches(figure, left, bottom + tall - 0.2 - size[1], *size)
            axes.imshow(canvas, extent=(0, size[0], size[1], 0), aspect="auto")
            _label_block(axes, parts[number], scale)
    return figure


def _margin(part: Block) -> float:
    """Inches that the row labels of a block take at its left."""
    longest = max((len(line) for label in part.row_labels for line in wrapped(label).split("\n")), default=0)
    return 0.055 * longest + 0.2


def _label_block(axes: Axes, part: Block, scale: float) -> None:
    rows, _, _, height, width = part.images.shape
    axes.text(0, -0.04, part.title, va="bottom", weight="bold", color=part.look.ink if part.look else INK)
    looks = part.row_looks or [None] * rows
    for number, (label, look) in enumerate(zip(part.row_labels, looks, strict=True)):
        top = number * (height + GAP) * scale
        middle = top + height * scale / 2
        axes.text(-0.08, middle, wrapped(label), ha="right", va="center", color=INK, fontsize=6.5, clip_on=False)
        if look:
            axes.add_patch(Rectangle((-0.06, top), 0.03, height * scale, color=look.color, lw=0, clip_on=False))
    bottom = (rows * (height + GAP) - GAP) * scale
    for number, label in enumerate(part.column_labels):
        middle = (number * (width + GAP) + width / 2) * scale
        axes.text(middle, bottom + 0.03, label, ha="center", va="top", color=MUTED, fontsize=6)
