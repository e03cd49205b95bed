"""Labels of images: CelebA's files of attributes, identities, landmarks and boxes, or a CSV with image names first."""

import csv
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vaebench.base.errors import UserError
from vaebench.data.archive.image_file import SUFFIXES
from vaebench.data.archive.packed_names import canonical_name, endings
from vaebench.data.archive.similar import similar

SEVERAL = -2  # a path ending that several labelled names share


def read_labels(path: Path, whole: bool = True) -> pd.DataFrame:
    """Numeric labels, one row per image (index: its name), one column per label; int64, or float64 unless `whole`.

    Takes CSV files with a header, and CelebA's: list_attr_celeba.txt, list_landmarks_align_celeba.txt and
    list_bbox_celeba.txt (a count, a line of names, then a name and its values a line) and identity_CelebA.txt (a name
    and a number a line). Raises UserError for anything else, for a name that occurs twice, and for values that are not
    numbers, whole ones if `whole`.
    """
    table = _read_table(path, {0: str})
    return pd.DataFrame({name: _numbers(column, path, whole) for name, column in table.items()}, table.index)


def read_identities(path: Path) -> pd.DataFrame:
    """Which person each image shows, from the same kinds of file: one column of text, a number or a name.

    Raises UserError as `read_labels` does, and for a file of more columns or with an image without a person.
    """
    read = _read_table(path, str)
    table = pd.DataFrame({name: column.str.strip() for name, column in read.items()}, read.index)
    if table.shape[1] != 1:
        raise UserError(
            f"{path}: not a file of persons: it has the columns {', '.join(map(str, table))} beside the images' names"
        )
    unnamed = table.index[table.iloc[:, 0] == ""]
    if len(unnamed):
        raise UserError(f"{path}: no person for {unnamed[0]}")
    return table


def _read_table(path: Path, types: type[str] | dict[int, type[str]]) -> pd.DataFrame:
    """The table of a label file, its rows by the images' names; `types` as pandas takes them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of lines with more values than columns
            read = pd.read_csv(path, index_col=False, dtype=types, na_filter=False, **_layout(path))
    except pd.errors.ParserWarning as error:
        raise UserError(f"{path}: not a label file: its lines have more values than there are columns") from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: not a label file ({error}); it needs a header, then a line per image: its name and whole numbers"
        ) from error
    first = str(read.columns[0])
    if twice := _repeated_column(path):
        raise UserError(f"{path}: two columns are called {twice}; give each a name of its own")
    if first.strip().lower().endswith(SUFFIXES):
        raise UserError(f"{path}: its first line is of the image {first}, where names of the columns are needed")
    table: pd.DataFrame = read.set_index(read.columns[0])
    table.index = table.index.str.strip().map(canonical_name)
    repeated = table.index[table.index.duplicated()]
    if len(repeated):
        raise UserError(f"{path}: two lines for {repeated[0]}")
    if table.empty:
        raise UserError(f"{path}: not a label file: it has no labels beside its first column; is it a CSV of commas?")
    return table


def _repeated_column(path: Path) -> str | None:
    """The first column of a CSV's header that has the name of another one; pandas would give it a new name."""
    if _layout(path):
        return None
    with open(path, encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file), [])
    return next((name for name in names if names.count(name) > 1), None)


def _layout(path: Path) -> dict[str, Any]:
    """How pandas reads a label file; nothing for a CSV with a header."""
    with open(path, encoding="utf-8-sig") as file:
        first = file.readline().strip()
        if first.isdigit():
            names = file.readline().split()
            names = names[1:] if names[:1] == ["image_id"] else names
            return {"sep": r"\s+", "skiprows": 2, "header": None, "names": ["image", *names]}
    *name, number = first.rsplit(maxsplit=1) or [""]
    if name and "," not in name[0] and number.isdigit():
        return {"sep": r"\s+", "header": None, "names": ["image", "identity"]}
    return {}


def _numbers(column: pd.Series, source: Path, whole: bool) -> pd.Series:
    """The column as int64, or float64 unless `whole`; UserError names the first value that is no such number."""
    numbers = pd.to_numeric(column, errors="coerce")
    with np.errstate(invalid="ignore"):  # what int64 cannot hold becomes another number
        converted: pd.Series = pd.Series(numbers.to_numpy().astype(np.int64 if whole else np.float64), numbers.index)
    wrong = column[~(converted == numbers) if whole else ~np.isfinite(numbers)]
    if len(wrong):
        first = f"{column.name} of {wrong.index[0]} is {str(wrong.iloc[0])!r}"
        kind = "whole numbers" if whole else "numbers"
        raise UserError(f"{source}: {first}: not a label file, whose labels are {kind}")
    return converted


def labels_of(table: pd.DataFrame, images: Mapping[str, Sequence[str]], source: Path) -> dict[str, pd.DataFrame]:
    """The rows of `table` for the images of each split, by split, in their order.

    An image and a label belong together when their names are equal, or one is the end of the other's path
    (`cats/1.jpg` and `images/cats/1.jpg`). Raises UserError when an image has no label, or it cannot be told which.
    """
    every = [name for names in images.values() for name in names]
    rows = rows_of(list(table.index), every, source)
    missing = [name for name, row in zip(every, rows, strict=True) if row < 0]
    if missing:
        meant = similar(missing[:1], table.index).get(missing[0])
        raise UserError(
            f"{source}: no label for {missing[0]} ({len(missing)} of {len(every)} images have none)"
            + (f"; it has {meant}" if meant else "")
        )
    starts = np.cumsum([len(names) for names in images.values()])[:-1]
    return {split: table.iloc[part] for split, part in zip(images, np.split(rows, starts), strict=True)}


def rows_of(labelled: Sequence[str], images: Sequence[str], source: Path) -> np.ndarray:
    """For each image the row of its label, or -1; int64 (n,). UserError when a name fits several."""
    exact = {name: row for row, name in enumerate(labelled)}
    longer: dict[str, int] = {}
    for row, name in enumerate(labelled):
        for ending in endings(name):
            longer[ending] = SEVERAL if ending in longer else row
    rows = np.full(len(images), -1, np.int64)
    owner: dict[int, str] = {}
    for position, image in enumerate(images):
        fitting = (exact[name] for name in (image, *endings(image)) if name in exact)
        row = next(fitting, longer.get(image, -1))
        if row == SEVERAL:
            raise UserError(f"{source}: several lines end in {image}: write the names as the partition does")
        if row >= 0 and owner.setdefault(row, image) != image:
            raise UserError(
                f"{source}: {labelled[row]} may be {owner[row]} or {image}: write the names as the partition does"
            )
        rows[position] = row
    return rows


def binary_columns(table: pd.DataFrame, values: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Each label as yes-no columns: one for a label of two values, one per value (`label=3`) for more.

    `values` are the sorted values of each label in the whole label file: a column means the same in every split,
    whichever values occur there. Of two values the larger is the yes.
    """
    columns = {}
    for name in table.columns:
        if len(values[name]) <= 2:
            columns[name] = table[name] == values[name][-1]
        else:
            columns |= {f"{name}={value}": table[name] == value for value in values[name]}
    return pd.DataFrame(columns, index=table.index)
