"""Sheets of pictures: each pixel is a whole number of dots, each row carries its run's name and colour."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vaebench.figures.style import INK, LINE, MUTED, PAGE, Look, wrapped

DPI = 200  # of the PNG
GAP = 2  # pixels between two images
WIDEST_CELL = 0.75  # inches
TALLEST = 18.0  # inches of a sheet of many runs
EDGE = 0.05  # inches around the sheet
LENGTHS = (20, 30, 40)  # characters of a line of a label: the first with which labels are no taller than their rows
SMALL_LINE = 0.11  # inches from one line of small type to the next
BETWEEN = 0.03  # inches between the labels of two rows


@dataclass(frozen=True)
class Row:
    """One row of a sheet: its label, lines below it in grey, and images (k, C, H, W) uint8, or the reason for none."""

    label: str
    detail: str
    images: np.ndarray | None
    look: Look | None = None
    reason: str = ""


def mosaic(rows: Sequence[np.ndarray], columns: int, slot: int = 0) -> np.ndarray:
    """Images of several rows on one white canvas, (rows·(H+GAP)-GAP, columns·(W+GAP)-GAP, 3) uint8.

    A row holds up to `columns` images (k, C, H, W); its remaining cells stay white. Grey images become RGB. With a
    `slot` above H a row is that high, with its images in the middle.
    """
    _, _, height, width = rows[0].shape
    slot = max(slot, height)
    step_y, step_x = slot + GAP, width + GAP
    canvas = np.full((len(rows) * step_y - GAP, columns * step_x - GAP, 3), 255, np.uint8)
    for number, images in enumerate(rows):
        top = number * step_y + (slot - height) // 2
        for left, image in enumerate(images[:columns]):
            pixels = np.broadcast_to(image, (3, height, width)).transpose(1, 2, 0)
            canvas[top:, left * step_x :][:height, :width] = pixels
    return canvas


def sheet(rows: Sequence[Row], columns: int, split_after: int | None = None, headings: Sequence[str] = ()) -> Figure:
    """Rows of images with their labels; a wider gap after `split_after` columns, a heading over each part.

    Where labels are taller than the images, rows are as far apart as they need.
    """
    shape = next(row.images for row in rows if row.images is not None).shape
    _, channels, height, width = shape
    across = columns * (width + GAP) - GAP + (4 * GAP if split_after else 0)
    for length in LENGTHS:
        margin = label_width([text for row in rows for text in (row.label, row.detail)], length)
        fitting = round((PAGE - margin) * DPI / across), int(TALLEST * DPI / (len(rows) * (height + GAP)))
        dots = max(1, min(*fitting, int(WIDEST_CELL * DPI / width)))
        step = max(math.ceil((sum(_heights(row, length)) + BETWEEN) * DPI / dots) for row in rows)
        if step <= height + GAP:
            break
    slot = max(height, step - GAP)
    blank = np.empty((0, channels, height, width), np.uint8)
    canvas = mosaic([blank if row.images is None else row.images for row in rows], columns, slot)
    starts = [0]
    if split_after:
        cut = split_after * (width + GAP) - GAP
        canvas = np.insert(canvas, [cut] * (4 * GAP), 255, axis=1)
        starts.append(cut + 5 * GAP)
    tall, wide = canvas.shape[0] * dots / DPI, canvas.shape[1] * dots / DPI
    top = 0.2 if headings else EDGE
    figure = Figure(figsize=(margin + wide + EDGE, tall + top + EDGE))
    axes = _axes_in_inches(figure, margin, EDGE, wide, tall)
    axes.imshow(canvas, extent=(0, wide, tall, 0), aspect="auto")
    inches = dots / DPI
    for number, row in enumerate(rows):
        middle = (number * (slot + GAP) + slot / 2) * inches
        _label(axes, row, middle, height * inches, length)
    for heading, start in zip(headings, starts, strict=False):
        axes.text(start * inches, -0.04, heading, va="bottom", weight="bold", color=INK)
    return figure


def label_width(labels: Sequence[str], length: int) -> float:
    """Inches that the longest of the labels takes, in lines of so many characters, with its margins."""
    longest = max(len(line) for label in labels for line in wrapped(label, length).split("\n"))
    return max(0.9, 0.068 * longest + 0.2)


def _heights(row: Row, length: int) -> tuple[float, float]:
    """Inches that the label of a row and its second line take, in lines of so many characters."""
    label, detail = (len(wrapped(text, length).split("\n")) if text else 0 for text in (row.label, row.detail))
    return label * LINE, detail * SMALL_LINE


def _axes_in_inches(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes without a frame at an exact place of the figure, so that pictures keep whole dots."""
    full_width, full_height = figure.get_size_inches()
    axes = figure.add_axes((left / full_width, bottom / full_height, width / full_width, height / full_height))
    axes.set_axis_off()
    return axes


def _label(axes: Axes, row: Row, middle: float, height: float, length: int) -> None:
    """The run's name left of its row, a bar in its colour, and the reason in place of missing pictures."""
    beside: dict[str, Any] = {"ha": "right", "clip_on": False}
    above, below = _heights(row, length)
    seam = middle + (above - below) / 2
    axes.text(
        -0.12,
        seam,
        wrapped(row.label, length),
        va="bottom" if row.detail else "center",
        weight="bold",
        color=INK,
        **beside,
    )
    if row.detail:
        axes.text(-0.12, seam + 0.01, wrapped(row.detail, length), va="top", color=MUTED, fontsize=6.5, **beside)
    if row.look:
        axes.add_patch(
            Rectangle((-0.08, middle - height / 2), 0.035, height, color=row.look.color, lw=0, clip_on=False)
        )
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
    """Grids of pictures of one size beside and under each other, `across` in a line, all at one scale.

    Where row labels are taller than the images, rows are as far apart as they need.
    """
    across = min(across, len(parts))
    height, width = parts[0].images.shape[-2:]
    widest = max(part.images.shape[1] for part in parts) * (width + GAP) - GAP
    for length in LENGTHS:
        margins = [max(_margin(part, length) for part in parts[place::across]) for place in range(across)]
        wide = min((PAGE - sum(margins)) / across - EDGE, WIDEST_CELL * widest / width)
        scale = wide / widest
        step = max(math.ceil(_label_lines(part, length) * SMALL_LINE / scale) for part in parts)
        if step <= height + GAP:
            break
    slot = max(height, step - GAP)
    canvases = [mosaic(list(part.images), part.images.shape[1], slot) for part in parts]
    titles = [wrapped(part.title, max(10, int(wide / 0.068))) for part in parts]
    below = 0.24 if any(part.column_labels for part in parts) else 0.1
    lines = [range(start, min(start + across, len(parts))) for start in range(0, len(parts), across)]
    tops = [0.2 + LINE * max(titles[number].count("\n") for number in line) for line in lines]
    talls = [
        max(canvases[number].shape[0] for number in line) * scale + top + below
        for line, top in zip(lines, tops, strict=True)
    ]
    figure = Figure(figsize=(sum(margins) + across * (wide + EDGE), sum(talls)))
    bottom = sum(talls)
    for line, top, tall in zip(lines, tops, talls, strict=True):
        bottom -= tall
        for place, number in enumerate(line):
            canvas = canvases[number]
            size = canvas.shape[1] * scale, canvas.shape[0] * scale
            left = sum(margins[: place + 1]) + place * (wide + EDGE)
            axes = _axes_in_inches(figure, left, bottom + tall - top - size[1], *size)
            axes.imshow(canvas, extent=(0, size[0], size[1], 0), aspect="auto")
            labels = [wrapped(label, length) for label in parts[number].row_labels]
            _label_block(axes, replace(parts[number], title=titles[number], row_labels=labels), scale, slot)
    return figure


def _label_lines(part: Block, length: int) -> int:
    """Lines of the longest row label of a block, of so many characters each."""
    return max((wrapped(label, length).count("\n") + 1 for label in part.row_labels), default=0)


def _margin(part: Block, length: int) -> float:
    """Inches that the row labels of a block take at its left, in lines of so many characters."""
    longest = max((len(line) for label in part.row_labels for line in wrapped(label, length).split("\n")), default=0)
    return 0.055 * longest + 0.2


def _label_block(axes: Axes, part: Block, scale: float, slot: int) -> None:
    """The title of a block, the labels of its rows, which are `slot` pixels high, and those of its columns."""
    rows, _, _, height, width = part.images.shape
    axes.text(0, -0.04, part.title, va="bottom", weight="bold", color=part.look.ink if part.look else INK)
    looks = part.row_looks or [None] * rows
    for number, (label, look) in enumerate(zip(part.row_labels, looks, strict=True)):
        middle = (number * (slot + GAP) + slot / 2) * scale
        axes.text(-0.08, middle, label, ha="right", va="center", color=INK, fontsize=6.5, clip_on=False)
        if look:
            tall = height * scale
            axes.add_patch(Rectangle((-0.06, middle - tall / 2), 0.03, tall, color=look.color, lw=0, clip_on=False))
    bottom = (rows * (slot + GAP) - GAP) * scale
    for number, label in enumerate(part.column_labels):
        middle = (number * (width + GAP) + width / 2) * scale
        axes.text(middle, bottom + 0.03, label, ha="center", va="top", color=MUTED, fontsize=6)
