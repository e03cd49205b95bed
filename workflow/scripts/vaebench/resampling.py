"""Crop and antialiased resize, equal to Pillow's `crop().resize()` to the last bit, on CPU and GPU.

Pillow resamples 8-bit images with integer weights (22 fractional bits), along the rows and along the columns,
and rounds to 8 bits after each pass. Both passes are linear maps, so here they are products with two matrices. In
float64 every product and sum is exact (all are multiples of 2^-22 below 2^31), so the order of the additions and the
device do not matter.
"""

from dataclasses import dataclass
from importlib.metadata import version
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
BLOCK = 16  # output rows or columns per product: a filter is narrow, so most of the full matrix is zeros


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
    """A block of output positions, the input positions that it needs, and the weights between them."""

    outputs: slice
    inputs: slice
    weights: np.ndarray


def bands(matrix: np.ndarray, transpose: bool = False) -> list[Band]:
    """The bands of a matrix (outputs, inputs); their weights are (outputs, inputs), or transposed."""
    result = []
    for start in range(0, len(matrix), BLOCK):
        block = matrix[start : start + BLOCK]
        used = np.flatnonzero(block.any(axis=0))
        inputs = slice(used[0], used[-1] + 1)
        part = block[:, inputs].T if transpose else block[:, inputs]  # copied: BLAS is twice as fast on whole memory
        result.append(Band(slice(start, start + len(block)), inputs, np.ascontiguousarray(part)))
    return result


Pass = tuple[list[tuple[np.ndarray, np.ndarray, np.ndarray]], np.ndarray, bool]  # left @ right = part; all; overshoot


class Resampler:
    """Resizes (height, width, channels) uint8 images to (channels, *size); `size` is (height, width)."""

    def __init__(self, height: int, width: int, channels: int, size: tuple[int, int], filter_name: str) -> None:
        self.shape = (height, width, channels)
        self.size = size
        self.rows = weights(width, size[1], filter_name)
        self.columns = weights(height, size[0], filter_name)
        self.rows_first = _rows_first(self.rows, self.columns, filter_name)
        # What one image passes through on a CPU: pixels by row, channel and column.
        between = (height, channels, size[1]) if self.rows_first else (size[0], channels, width)
        self._image, self._between = np.empty((height, channels, width)), np.empty(between)
        self._small = np.empty((size[0], channels, size[1]))
        first, second = (self._across, self._down) if self.rows_first else (self._down, self._across)
        self._passes = [first(self._image, self._between), second(self._between, self._small)]

    def resize(self, image: np.ndarray, output: np.ndarray) -> None:
        """Resize one uint8 image (height, width, channels) into `output`, uint8 (channels, *size)."""
        if self.size == self.shape[:2]:
            output[:] = image.transpose(2, 0, 1)
            return
        self._image[:] = image.transpose(0, 2, 1)
        for products, result, overshoot in self._passes:
            for left, right, part in products:
                np.matmul(left, right, out=part)
            np.trunc(_add_half(result, overshoot), out=result)
        output[:] = self._small.astype(np.uint8).transpose(1, 0, 2)

    def resize_batch(self, images: "torch.Tensor") -> "torch.Tensor":
        """Resize uint8 (n, height, width, channels) on the tensor's device to uint8 (n, channels, *size)."""
        import torch

        images = images.permute(0, 3, 1, 2)
        if self.size == self.shape[:2]:
            return images.contiguous()
        rows, columns = (torch.from_numpy(matrix).to(images.device) for matrix in (self.rows, self.columns))
        x = images.to(torch.float64)
        x = (x @ rows.T if self.rows_first else columns @ x).add_(0.5).clamp_(0, 255).trunc_()
        return (columns @ x if self.rows_first else x @ rows.T).add_(0.5).clamp_(0, 255).to(torch.uint8)

    def _across(self, image: np.ndarray, result: np.ndarray) -> Pass:
        """The products that resize (h, channels, w) along the last axis."""
        lines, shorter = image.reshape(-1, image.shape[-1]), result.reshape(-1, result.shape[-1])
        parts = [(lines[:, x.inputs], x.weights, shorter[:, x.outputs]) for x in bands(self.rows, transpose=True)]
        return parts, result, bool((self.rows < 0).any())

    def _down(self, image: np.ndarray, result: np.ndarray) -> Pass:
        """The products that resize (h, channels, w) along the first axis."""
        lines, fewer = image.reshape(len(image), -1), result.reshape(len(result), -1)
        parts = [(x.weights, lines[x.inputs], fewer[x.outputs]) for x in bands(self.columns)]
        return parts, result, bool((self.columns < 0).any())


def _rows_first(rows: np.ndarray, columns: np.ndarray, filter_name: str) -> bool:
    """Whether Pillow resizes along the rows first, which decides about the rounding in between.

    It depends on the geometry and on Pillow's version (since 13 it may start with the columns), so Pillow is asked.
    """
    probe = np.random.default_rng(0).integers(0, 256, (columns.shape[1], rows.shape[1]), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(probe).resize((len(rows), len(columns)), FILTERS[filter_name]))

    def rounded(values: np.ndarray) -> np.ndarray:
        return np.floor(_add_half(values, overshoot=True))

    if np.array_equal(rounded(columns @ rounded(probe @ rows.T)), expected):
        return True
    if np.array_equal(rounded(rounded(columns @ probe) @ rows.T), expected):
        return False
    raise RuntimeError(f"Pillow {version('pillow')} resizes in a way that vaebench does not know; use Pillow 11 to 13")


def _add_half(values: np.ndarray, overshoot: bool) -> np.ndarray:
    """Add a half in place, so that dropping the fraction rounds as Pillow does; clip what may lie outside 0..255."""
    values += 0.5
    return np.clip(values, 0, 255, out=values) if overshoot else values
