"""Labels of images: the CelebA attribute file, or a CSV whose first column names the image."""

from pathlib import Path

import numpy as np
import pandas as pd

from vaebench.errors import UserError


def read_labels(path: Path) -> pd.DataFrame:
    """Integer labels, one row per image (index: file name), one column per label.

    Takes list_attr_celeba.txt (a count, a line of names, then a name and -1/1 values a line) and CSV files with a
    header. Raises UserError for anything else.
    """
    try:
        with open(path, encoding="utf-8") as file:
            celeba = file.readline().strip().isdigit()
        table = pd.read_csv(path, sep=r"\s+", skiprows=1) if celeba else pd.read_csv(path, index_col=0)
        table.index = table.index.astype(str)
        return table.astype(np.int64)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: not a label file ({error}); it needs a header, then a line per image: its name and whole numbers"
        ) from error


def labels_of(table: pd.DataFrame, ids: list[str], source: Path) -> pd.DataFrame:
    """The rows of `table` for the images `ids`, which may carry folders; UserError when one is missing."""
    names = [Path(image).name for image in ids]
    by_name = table.set_index(table.index.map(lambda image: Path(image).name))
    missing = sorted(set(names) - set(by_name.index))
    if missing:
        raise UserError(f"{source}: no label for {missing[0]} ({len(missing)} of {len(names)} images have none)")
    return by_name.loc[names]


def binary_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Each label as yes-no columns: one for a label of two values, one per value (`label=3`) for more."""
    columns = {}
    for name in table:
        values = np.unique(table[name])
        if len(values) <= 2:
            columns[name] = table[name] == values[-1]
        else:
            columns |= {f"{name}={value}": table[name] == value for value in values}
    return pd.DataFrame(columns, index=table.index)
