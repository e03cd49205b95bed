"""Image data sets that are made here, written as others are published: a zip of PNGs and a partition file."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from vaebench.base.files import atomic_path

EPOCH = (1980, 1, 1, 0, 0, 0)  # the same images are the same file


def write_archive(archive: Path, partition: Path, folder: str, images: Iterable[tuple[str, np.ndarray, int]]) -> int:
    """Write the images (name, uint8 pixels, split 0 to 2) below `folder` of a zip, and their partition; how many."""
    lines = []
    with atomic_path(archive) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
        for name, pixels, split in images:
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            file.writestr(zipfile.ZipInfo(f"{folder}/{name}", EPOCH), buffer.getvalue())
            lines.append(f"{name} {split}\n")
    with atomic_path(partition) as temporary:
        temporary.write_text("".join(lines))
    return len(lines)
