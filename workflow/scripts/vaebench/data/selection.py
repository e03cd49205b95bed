"""Which images of a data set are used: the sound ones of the table that the validation wrote, split by split."""

import csv
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from vaebench.base.disk import read_errors
from vaebench.base.errors import UserError
from vaebench.base.formats import FORMATS
from vaebench.data.archive import packed_names
from vaebench.data.archive.images import ImageSource, keys, read_partition
from vaebench.data.image_table import COLUMNS, ImageFiles


class RandomChoice(TypedDict):
    """How many images of a split are drawn, and with which seed."""

    images: int
    seed: int


@dataclass(frozen=True)
class Selection:
    """The usable images of a split, in the order of the partition, and those left out."""

    names: np.ndarray  # packed names (n,)
    locators: np.ndarray  # where ImageSource.read_at finds each (n,)
    heights: np.ndarray  # int32 (n,), pixels of the original
    widths: np.ndarray  # int32 (n,)
    skipped: list[dict[str, str]]  # image, reason

    def __len__(self) -> int:
        return len(self.names)


def select(
    source: ImageSource, files: ImageFiles, splits: Iterable[str], limit: int | RandomChoice | None
) -> dict[str, Selection]:
    """{split: Selection} of the images that the table calls ok, at most `limit` of each split.

    `limit` is None for all, a number for the first, or {images: number, seed: int} for a random choice, which depends
    on seed and names only: a larger one with the same seed holds a smaller one.

    UserError when a split has none, or when the images are no longer those that were validated.
    """
    columns = {split: Columns() for split in splits}
    usable = packed_names.pack(_usable(files.table, columns, limit if isinstance(limit, int) else None))
    paths, locators = source.index()
    found = keys(paths, read_partition(files.partition).names)
    del paths  # the largest of these arrays
    position = packed_names.find(usable, found)
    if (position < 0).any():
        lost = usable[np.argmax(position < 0)].decode()
        raise UserError(f"{source.path} no longer holds {lost}, which {files.table} lists; run the validation again")
    selections, locators = {}, locators[position]
    for split, column in columns.items():
        if not column.rows:
            left_out = column.skipped and "; left out was {image}, {reason}".format_map(column.skipped[0])
            raise UserError(
                f"no usable image for the {split} split: see {files.table}, and the numbers in {files.partition} "
                f"(0 train, 1 eval, 2 test; each split needs at least one image){left_out or ''}"
            )
        rows, heights, widths = np.array(column.rows), np.array(column.heights), np.array(column.widths)
        if isinstance(limit, dict):
            chosen = sorted(
                packed_names.draw_order(packed_names.unpack(usable[rows]), limit["seed"])[: limit["images"]]
            )
            rows, heights, widths = rows[chosen], heights[chosen], widths[chosen]
        selections[split] = Selection(usable[rows], locators[rows], heights, widths, column.skipped)
    return selections


class Columns:
    """What is collected about a split while the table is read."""

    def __init__(self) -> None:
        self.rows, self.heights, self.widths = array("q"), array("i"), array("i")
        self.skipped: list[dict[str, str]] = []


def _usable(table: Path, columns: dict[str, Columns], limit: int | None) -> Iterator[str]:
    """The names of the images to use; their places in this sequence are noted in the columns of their split."""
    count = 0
    with read_errors(table), open(table, encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        if next(rows, None) != list(COLUMNS):
            raise UserError(f"{table} has other columns than this vaebench writes: {FORMATS['validation'].remedy}")
        for name, split, status, reason, _, width, height in rows:
            column = columns.get(split)
            if column is None or (limit is not None and len(column.rows) >= limit):
                continue
            if status != "ok":
                column.skipped.append({"image": name, "reason": f"{status}: {reason}"})
                continue
            column.rows.append(count)
            column.heights.append(int(height))
            column.widths.append(int(width))
            count += 1
            yield name
