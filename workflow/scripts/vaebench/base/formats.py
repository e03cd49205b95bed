"""The formats of the files that vaebench writes for itself to read again, and their versions.

A version goes up when a reader of the former one would fail or misread a file. It stands in the file under
`format_version`; files from before there were versions have none and are of version 1. docs/formats.md has the table.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaebench.base.errors import UserError
from vaebench.base.files import atomic_path

if TYPE_CHECKING:
    import numpy as np  # else only where arrays are read or written: the Snakefile reads this module on every start

KEY = "format_version"


@dataclass(frozen=True)
class Format:
    """One kind of file: its version, the files in Markdown, what to do about one of another version."""

    version: int
    files: str
    remedy: str


TRAIN_AGAIN = "remove it and run `snakemake` again, which trains this run anew"
FORMATS = {
    "validation": Format(1, "`validation/summary.json`", "run `snakemake --cores all --forcerun validate`"),
    "array": Format(1, "`{split}_data.json` beside its npz", "run `snakemake --cores all --forcerun preprocess`"),
    "model": Format(1, "`final_model/vaebench.json`", TRAIN_AGAIN),
    "training": Format(1, "`provenance.json`, also for `history.csv` beside it", TRAIN_AGAIN),
    "state": Format(1, "`training_state/`: `state.pt`, `previous.pt`, `attempts.json`, `failure.json`", TRAIN_AGAIN),
    "tuning": Format(
        1, "`tuning/{run}/`: `choice.json`, `tuning.json`", "run `snakemake --cores all --forcerun choose`"
    ),
    "samples": Format(1, "`samples.npz`", "run `snakemake --cores all --forcerun sample`"),
    "showcase": Format(1, "`showcase.npz`", "run `snakemake --cores all --forcerun showcase`"),
    "metrics": Format(
        1,
        "`metrics/`: `per_image.parquet`, also for the CSV files, `latent.npz`, `extremes.npz`",
        "run `snakemake --cores all --forcerun evaluate`",
    ),
}


def stamped(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a file with the version of its format in front."""
    return {KEY: FORMATS[kind].version, **content}


def unstamped(kind: str, content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The content without its version; UserError when that is another than this code reads."""
    found, wanted = content.get(KEY, 1), FORMATS[kind].version
    if hasattr(found, "item"):  # a member of an npz
        found = found.item()
    if found != wanted:
        newer = isinstance(found, int) and found > wanted
        advice = "update vaebench, or " if newer else ""
        says = f"{path} was written in format {found}, this vaebench reads format {wanted}"
        raise UserError(f"{says}: {advice}{FORMATS[kind].remedy}")
    return {key: value for key, value in content.items() if key != KEY}


def write_npz(kind: str, path: Path, arrays: "Mapping[str, np.ndarray]") -> None:
    """An npz file of arrays and their format's version, whole or absent."""
    import numpy as np

    with atomic_path(path) as temporary:
        members: dict[str, Any] = {**arrays, KEY: FORMATS[kind].version}  # last, so that the arrays stay in their place
        np.savez(temporary, **members)


def read_json(kind: str, path: Path) -> dict[str, Any]:
    """The content of a JSON file of ours without its version; UserError as `unstamped`."""
    return unstamped(kind, json.loads(path.read_text(encoding="utf-8")), path)


def read_npz(kind: str, path: Path) -> "dict[str, np.ndarray]":
    """All arrays of an npz file of ours but its version; UserError as `unstamped`."""
    import numpy as np

    with np.load(path) as archive:
        return unstamped(kind, dict(archive), path)


def check_npz(kind: str, path: Path) -> None:
    """UserError as `unstamped` when an npz file is of another version; no other array is read."""
    import numpy as np

    with np.load(path) as archive:
        unstamped(kind, {KEY: archive[KEY]} if KEY in archive else {}, path)
