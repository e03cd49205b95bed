"""The table of all images, images.csv, that the validation writes and preprocessing reads."""

from dataclasses import dataclass
from pathlib import Path

COLUMNS = ("file", "split", "status", "reason", "bytes", "width", "height")


@dataclass(frozen=True)
class ImageFiles:
    """A zip or folder of images, the partition that lists them, and the table of what the validation found."""

    images: Path
    partition: Path
    table: Path
