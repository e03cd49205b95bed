"""Crop and antialiased resize, equal to Pillow's `crop().resize()` to the last bit, on CPU and GPU.

Pillow resamples 8-bit images with integer weights (22 fractional bits), first along the rows, then along the columns,
and rounds to 8 bits after each pass. Both passes are linear maps, so here they are products with two matrices. In
float64 every product and sum is exact (all are multiples of 2^-22 below 2^31), so the order of the additions and the
device do not matter.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from vaebench.errors import UserError

if TYPE_CHECKING:
    import torch

FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}
BLOCK = 8  # output rows or columns per product: a filter is narrow, so most of the full matrix is zeros


def crop_box(crop: dict | None, width: int, height: int) -> tuple[int, int, int, int]:
    """The (left, top, right, bottom) that `crop` cuts out of a width x height image.

    `crop` is None, {"center": side}, {"center": [height, width]} or {"box": [left, top, right, bottom]}. An odd
    margin is rounded as torchvision's CenterCrop does. UserError when the image does not contain the crop.
    """
    if crop is None:
        return 0, 0, width, height
    if "box" in crop:
        left, top, right, bottom = crop["box"]
    else:
        center = crop["center"]
        crop_height, crop_width = (center, center) if isinstance(center, int) else center
        top, left = round((height - crop_height) / 2), round((width - crop_width) / 2)
        right, bottom = left + crop_width, top + crop_height
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise UserError(
            f"preprocessing.crop {crop} does not fit into an image {width} wide and {height} high; "
            "choose a smaller crop, or null to use whole images"
        )
    return left, top, right, bottom


def weights(size_in: int, size_out: int, filter_name: str) -> np.ndarray:
    """Pillow's weights from `size_in` to `size_out` pixels: float64 (size_out, size_in), multiples of 2^-22.

    They are read off Pillow itself: what its 32-bit integer resize makes of impulses of height 2^22.
    """
    if size_in == size_out:
        return np.eye(size_in)
    impulses = Image.fromarray(np.eye(size_in, dtype=np.int32) << 22)
    response = np.asarray(impulses.resize((size_out, size_in), FILTERS[filter_name]))
    return response.T / 2.0**22


@dataclass(frozen=True)
class Band:
    """A block of output positions and the input positions that it needs."""

    outputs: slice
    inputs: slice
    weights: np.ndarray


def _bands(matrix: np.ndarray) -> list[Band]:
    bands = []
    for start in range(0, len(matrix), BLOCK):
        block = matrix[start : start + BLOCK]
        used = np.flatnonzero(block.any(axis=0))
        inputs = slice(used[0], used[-1] + 1)
        bands.append(Band(slice(start, start + len(block)), inputs, block[:, inputs]))
    return bands


class Resampler:
    """Resizes (height, width, channels) uint8 images to (channels, *size); `size` is (height, width)."""

    def __init__(self, height: int, width: int, channels: int, size: tuple[int, int], filter_name: str) -> None:
        self.shape = (height, width, channels)
        self.size = size
        self.rows = weights(width, size[1], filter_name)
        self.columns = weights(height, size[0], filter_name)
        # Along a row the channels alternate: the row weights act on every channel by itself.
        self._row_bands = [
            Band(
                slice(band.outputs.start * channels, band.outputs.stop * channels),
                slice(band.inputs.start * channels, band.inputs.stop * channels),
                np.ascontiguousarray(np.kron(band.weights, np.eye(channels)).T),
            )
            for band in _bands(self.rows)
        ]
        self._column_bands = _bands(self.columns)
        self._image = np.empty((height, width * channels))
        self._narrow = np.empty((height, size[1] * channels))
        self._small = np.empty((size[0], size[1] * channels))

    def resize(self, image: np.ndarray, output: np.ndarray) -> None:
        """Resize one uint8 image (height, width, channels) into `output`, uint8 (channels, *size)."""
        height, width, channels = self.shape
        if self.size == (height, width):
            output[:] = image.transpose(2, 0, 1)
            return
        self._image.reshape(self.shape)[:] = image
        for band in self._row_bands:
            np.matmul(self._image[:, band.inputs], band.weights, out=self._narrow[:, band.outputs])
        np.trunc(_clip(self._narrow), out=self._narrow)
        for band in self._column_bands:
            np.matmul(band.weights, self._narrow[band.inputs], out=self._small[band.outputs])
        output[:] = _clip(self._small).astype(np.uint8).reshape(*self.size, channels).transpose(2, 0, 1)

    def resize_batch(self, images: "torch.Tensor") -> "torch.Tensor":
        """Resize uint8 (n, height, width, channels) on the tensor's device to uint8 (n, channels, *size)."""
        import torch

        if self.size == self.shape[:2]:
            return images.permute(0, 3, 1, 2).contiguous()
        rows = torch.from_numpy(self.rows).to(images.device)
        columns = torch.from_numpy(self.columns).to(images.device)
        x = images.permute(0, 3, 1, 2).to(torch.float64)
        x = (x @ rows.T).add_(0.5).clamp_(0, 255).trunc_()
        return (columns @ x).add_(0.5).clamp_(0, 255).to(torch.uint8)


def _clip(values: np.ndarray) -> np.ndarray:
    """Add a half and clip to 0..255 in place, so that dropping the fraction rounds as Pillow does."""
    values += 0.5
    return np.clip(values, 0, 255, out=values)
