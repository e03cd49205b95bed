"""What is done to an image between its file and the array."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vaebench.base.errors import UserError
from vaebench.data.archive.image_file import Reading
from vaebench.data.cropping import Crop, crop_box
from vaebench.data.selection import Selection

Sizes = Counter[tuple[int, int]]  # how many images have each (height, width)
FREQUENT = 256  # images of a size for which it pays to prepare the resize
FREQUENT_PIXELS = 1 << 24  # of all these sizes together, which bounds the memory


@dataclass(frozen=True)
class Recipe:
    """What is done to an image: the settings that decide about the pixels."""

    crop: Crop | None
    size: tuple[int, int] | None  # (height, width)
    filter: str
    channels: int
    decoder: str
    reading: Reading

    def cropped(self, pixels: np.ndarray) -> np.ndarray:
        """Cut the crop out of (height, width, channels) pixels; a view."""
        left, top, right, bottom = crop_box(self.crop, pixels.shape[1], pixels.shape[0])
        return pixels[top:bottom, left:right]

    def sizes(self, images: Selection) -> Sizes:
        """The sizes of the images after the crop; UserError when it does not fit one of them."""
        packed = images.heights.astype(np.int64) << 32 | images.widths
        _, first, counts = np.unique(packed, return_index=True, return_counts=True)
        result: Sizes = Counter()
        for position, count in zip(first, counts, strict=True):
            try:
                box = crop_box(self.crop, int(images.widths[position]), int(images.heights[position]))
            except UserError as error:
                raise UserError(f"{images.names[position].decode()}: {error}") from error
            left, top, right, bottom = box
            result[bottom - top, right - left] += int(count)
        return result

    def image_shape(self, sizes: Iterable[Sizes]) -> tuple[int, int, int]:
        """(C, H, W) of the results; UserError when they would differ in size."""
        results = {self.size or size for counts in sizes for size in counts}
        if len(results) > 1:
            raise UserError(
                f"the images have {len(results)} different sizes, such as {sorted(results)[:3]}: "
                "set preprocessing.size, or a crop, so that all become equal"
            )
        return self.channels, *results.pop()


def frequent_sizes(sizes: Iterable[Sizes]) -> frozenset[tuple[int, int]]:
    """Those that so many images have that a `Resampler`, which is made for one size, is worth its making."""
    chosen, pixels = set(), 0
    for (height, width), count in sum(sizes, Counter()).most_common():
        if count >= FREQUENT and pixels + height * width <= FREQUENT_PIXELS:
            chosen.add((height, width))
            pixels += height * width
    return frozenset(chosen)
