"""The data sets that plugins make: images from a function, written as others are published."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vaebench.base.layout import SPLITS
from vaebench.base.plugin_files import Added, PluginError, blamed
from vaebench.data.demo.image_archives import write_archive


def make_images(entry: Added, archive: Path, partition: Path) -> None:
    """Write what the plugin's function yields as a zip of PNGs and a partition file.

    Raises `PluginError` where it fails, yields something else than (name, uint8 pixels, split), a name twice, or leaves
    a split without an image.
    """
    counts = dict.fromkeys(SPLITS, 0)

    def checked() -> Iterator[tuple[str, np.ndarray, int]]:
        names: set[str] = set()
        for item in entry.load()():
            if reason := _why_not(item, names):
                raise PluginError(f"{entry.place}: {entry.name}, image {len(names) + 1}: {reason}")
            name, pixels, split = item
            names.add(name)
            counts[split] += 1
            yield name, pixels, SPLITS.index(split)
        if empty := [split for split, count in counts.items() if not count]:
            raise PluginError(f"{entry.place}: {entry.name} has no image of the split {empty[0]}")

    with blamed(entry):
        count = write_archive(archive, partition, entry.name, checked())
    print(f"{count} images in {archive}")


def _why_not(item: object, names: set[str]) -> str:
    """What is wrong with a yielded image; empty when nothing is."""
    if not isinstance(item, tuple) or len(item) != 3:
        return "expected (name, pixels, split)"
    name, pixels, split = item
    if not isinstance(name, str) or name != "".join(name.split()) or {"", ".", ".."} & set(name.split("/")):
        return f"{name!r} is no name of a file; it has no spaces, and slashes only between folders"
    if name in names:
        return f"{name!r} is there twice"
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[2:] not in ((), (3,)):
        return "its pixels must be a uint8 array (H, W) or (H, W, 3)"
    return "" if split in SPLITS else f"{split!r} is no split; choose from {', '.join(SPLITS)}"
