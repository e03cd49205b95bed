"""Antialiased resize, equal to Pillow's to the last bit, on CPU and GPU.

Pillow resamples 8-bit images with integer weights (22 fractional bits), along the rows and along the columns,
and rounds to 8 bits after each pass. On a CPU the same integer sums are compiled for its vector units; on a GPU the two
passes are products with two matrices. In float64 every product and sum is exact (all are multiples of 2^-22 below
2^31), so the order of the additions and the device do not matter.
"""

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from vaebench.data.resize.filters import FILTERS, taps, weights
from vaebench.data.resize.loops import compiled

if TYPE_CHECKING:
    import torch

BLOCK = 1 << 18  # bytes that stay in the processor's cache
PROBED = 4000  # pixels in which the two orders of resizing should differ somewhere


class Resampler:
    """Resizes (height, width, channels) uint8 images to (channels, *size); `size` is (height, width)."""

    def __init__(self, height: int, width: int, channels: int, size: tuple[int, int], filter_name: str) -> None:
        self.shape = (height, width, channels)
        self.size = size
        self.rows = weights(width, size[1], filter_name)
        self.columns = weights(height, size[0], filter_name)
        self.rows_first = _rows_first(self.rows, self.columns, filter_name)
        passes = (self.rows, self.columns) if self.rows_first else (self.columns, self.rows)
        self._first, self._second = map(taps, passes)
        self._block = max(1, BLOCK // (8 * passes[0].shape[1] * channels)) * 8  # rows at a time, in whole words

    def resize(self, image: np.ndarray, output: np.ndarray) -> None:
        """Resize one uint8 image (height, width, channels) into `output`, uint8 (channels, *size).

        ValueError when they are not of the type and the sizes that this was made for.
        """
        if image.shape != self.shape or output.shape != (self.shape[2], *self.size):
            raise ValueError(f"cannot resize {image.shape} to {output.shape}: made for {self.shape} to {self.size}")
        if not image.dtype == output.dtype == np.uint8:
            raise ValueError(f"cannot resize {image.dtype} to {output.dtype}: made for uint8")
        if not self.rows_first:
            image, output = image.transpose(1, 0, 2), output.transpose(0, 2, 1)
        rows = np.ascontiguousarray(image).reshape(len(image), 1, -1)
        sums, channels = compiled(), self.shape[2]
        blocks = (rows[top : top + self._block] for top in range(0, len(rows), self._block))
        turned = [sums(block, self._first.starts, self._first.weights, channels) for block in blocks]
        whole = turned[0] if len(turned) == 1 else np.concatenate(turned, axis=2)
        result = sums(whole, self._second.starts, self._second.weights, channels)
        output[:] = result[..., : output.shape[2]].transpose(1, 0, 2)

    def resize_all(self, images: list[np.ndarray], device: str) -> np.ndarray:
        """Resize uint8 images (height, width, channels) on a device of PyTorch to uint8 (n, channels, *size)."""
        import torch

        return self.resize_batch(torch.from_numpy(np.stack(images)).to(device)).cpu().numpy()

    def resize_batch(self, images: "torch.Tensor") -> "torch.Tensor":
        """Resize uint8 (n, height, width, channels) on the tensor's device to uint8 (n, channels, *size)."""
        import torch

        images = images.permute(0, 3, 1, 2)
        rows, columns = (torch.from_numpy(matrix).to(images.device) for matrix in (self.rows, self.columns))
        x = images.to(torch.float64)
        x = (x @ rows.T if self.rows_first else columns @ x).add_(0.5).clamp_(0, 255).trunc_()
        return (columns @ x if self.rows_first else x @ rows.T).add_(0.5).clamp_(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class PillowResampler:
    """Does what a `Resampler` does by Pillow itself, for images of any size: nothing has to be prepared."""

    size: tuple[int, int]  # (height, width)
    filter_name: str

    def resize(self, image: np.ndarray, output: np.ndarray) -> None:
        """Resize one uint8 image (height, width, channels) into `output`, uint8 (channels, *size)."""
        height, width, channels = image.shape
        if self.size != (height, width):
            pixels = Image.fromarray(image[..., 0] if channels == 1 else image)
            image = np.asarray(pixels.resize(self.size[::-1], FILTERS[self.filter_name])).reshape(*self.size, channels)
        output[:] = image.transpose(2, 0, 1)

    def resize_all(self, images: list[np.ndarray], device: str) -> np.ndarray:
        """Resize uint8 images (height, width, channels), on the CPU, to uint8 (n, channels, *size)."""
        outputs = np.empty((len(images), images[0].shape[2], *self.size), np.uint8)
        for image, output in zip(images, outputs, strict=True):
            self.resize(image, output)
        return outputs


def _rows_first(rows: np.ndarray, columns: np.ndarray, filter_name: str) -> bool:
    """Whether Pillow resizes along the rows first, which decides about the rounding in between.

    It depends on the geometry and on Pillow's version (since 13 it may start with the columns), so Pillow is asked:
    with images of noise until one comes out differently in the two orders, at most until `PROBED` pixels came out.
    """

    def rounded(values: np.ndarray) -> np.ndarray:
        return np.floor(values + 0.5).clip(0, 255)

    height, width = len(columns), len(rows)
    numbers = np.random.default_rng(0)
    for _ in range(-(-PROBED // (height * width))):
        probe = numbers.integers(0, 256, (columns.shape[1], rows.shape[1]), dtype=np.uint8)
        expected = np.asarray(Image.fromarray(probe).resize((width, height), FILTERS[filter_name]))
        by_rows = np.array_equal(rounded(columns @ rounded(probe @ rows.T)), expected)
        by_columns = np.array_equal(rounded(rounded(columns @ probe) @ rows.T), expected)
        if by_rows != by_columns:
            return by_rows
        if not by_rows:
            raise RuntimeError(
                f"Pillow {version('pillow')} resizes in a way that vaebench does not know; use Pillow 11 to 13"
            )
    return True
