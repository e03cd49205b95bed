"""Labels of images as a conditional model takes them: rows of ones and zeros, a column for each value of each label."""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from vaebench.base.errors import UserError
from vaebench.models.label_names import CLASS, FIELD, label_names
from vaebench.models.run_spec import ModelSpec

Spec = TypeVar("Spec", bound=ModelSpec)
Labels = Mapping[str, Sequence[str]]  # the values of each label


def with_label_values(spec: Spec, labels: Path | None) -> Spec:
    """A conditional run with the values that the labels of its training images have, in their natural order.

    labels: a CSV with a row for each training image, its name first, and a column for each label; None where the data
    set has none. Raises `UserError` for a label that is missing or has one value.
    """
    if labels is None:
        raise UserError(f"{spec.run}: {FIELD}: the data set has no labels; give dataset.labels")
    found = {
        name: sorted(set(column), key=_natural) for name, column in _columns(labels, label_names(spec.config)).items()
    }
    for name, values in found.items():
        if len(values) < 2:
            raise UserError(f"{labels}: {name} is {values[0]} for every training image; leave it out of {FIELD}")
    return replace(spec, config={**spec.config, FIELD: found})


def read_conditions(labels: Path, values: Labels) -> np.ndarray:
    """The rows for the images of a CSV, in its order: float32 (n, K), one 1 for each label.

    Raises `UserError` for a label that is missing, and for a value that no training image has.
    """
    parts = []
    for name, column in _columns(labels, list(values)).items():
        known = {value: place for place, value in enumerate(values[name])}
        if unknown := next((value for value in column if value not in known), None):
            raise UserError(
                f"{labels}: {name} is {unknown} for an image, and for no training image; leave such images out"
            )
        parts.append(np.eye(len(known), dtype=np.float32)[[known[value] for value in column]])
    return np.concatenate(parts, axis=1)


def described(row: np.ndarray, values: Labels) -> str:
    """A row in words: `Smiling 1, Male -1`; for a class its name alone."""
    told, start = [], 0
    for name, each in values.items():
        value = each[int(row[start : start + len(each)].argmax())]
        told.append(value if name == CLASS else f"{name} {value}")
        start += len(each)
    return ", ".join(told)


def codes_of(rows: np.ndarray, values: Labels) -> dict[str, np.ndarray]:
    """Which value of each label rows (n, K) have: int64 (n,), by label."""
    ends = np.cumsum([len(each) for each in values.values()])[:-1]
    return {name: part.argmax(1) for name, part in zip(values, np.split(rows, ends, axis=1), strict=True)}


def sha256_of_rows(rows: np.ndarray) -> str:
    """The digest of the rows."""
    return hashlib.sha256(np.ascontiguousarray(rows, np.float32).tobytes()).hexdigest()


def _columns(labels: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """The values of the named labels, one for each image; `class` may be spread over all columns."""
    with open(labels, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    columns = {}
    for name in names:
        if name in header[1:]:
            place = header.index(name, 1)
            columns[name] = [row[place] for row in rows]
        elif name == CLASS:
            columns[name] = [_only_one(row, header, labels) for row in rows]
        else:
            raise UserError(f"{FIELD}: {labels} has no label {name!r}; it has {', '.join(header[1:])}")
    return columns


def _only_one(row: Sequence[str], header: Sequence[str], labels: Path) -> str:
    """The name of the one column that is 1."""
    marked = [name for name, value in zip(header[1:], row[1:], strict=True) if value == "1"]
    if len(marked) != 1:
        raise UserError(
            f"{FIELD}: {CLASS}: {labels}: {row[0]} has {len(marked)} columns that are 1, and a class is the only one; "
            "name the labels in a list"
        )
    return marked[0]


def _natural(value: str) -> tuple[int, float, str]:
    """Numbers by their size, before words."""
    try:
        return 0, float(value), value
    except ValueError:
        return 1, 0.0, value
