"""What is known of each image beside its pixels (person, landmarks, box), in the order of the arrays."""

from collections.abc import Mapping
from pathlib import Path

from vaebench.base.files import atomic_path
from vaebench.base.npz import read_manifest
from vaebench.data.labels import labels_of, read_identities, read_labels


def write_annotations(annotations: Path, kind: str, arrays: Mapping[str, Path], tables: Mapping[str, Path]) -> None:
    """Write a CSV for each split: row i holds the name of image i of the split's array and its annotations.

    `annotations` is a file as `read_identities` (for the kind `identity`) or `read_labels` take it. Values are written
    as they are, so coordinates are those of the file's images, before crop and resize. UserError for a file that does
    not fit or lacks an image.
    """
    table = read_identities(annotations) if kind == "identity" else read_labels(annotations, whole=False)
    names = {split: read_manifest(path)["ids"] for split, path in arrays.items()}
    for split, rows in labels_of(table, names, annotations).items():
        with atomic_path(tables[split]) as temporary:
            rows.set_axis(names[split]).to_csv(temporary, index_label="image", float_format="%.15g")
    print(f"{annotations}: " + ", ".join(f"{len(names[split])} rows in {table}" for split, table in tables.items()))
