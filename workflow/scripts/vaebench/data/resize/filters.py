"""The weights with which Pillow resamples 8-bit images: integers in units of 2^-22, read off Pillow itself."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from vaebench.data.resize.loops import BITS

FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}


def weights(size_in: int, size_out: int, filter_name: str) -> np.ndarray:
    """Pillow's weights from `size_in` to `size_out` pixels: float64 (size_out, size_in), multiples of 2^-22.

    They are read off Pillow itself: what its 32-bit integer resize makes of impulses of height 2^22.
    """
    if size_in == size_out:
        return np.eye(size_in)
    impulses = Image.fromarray(np.eye(size_in, dtype=np.int32) << BITS)
    response = np.asarray(impulses.resize((size_out, size_in), FILTERS[filter_name]))
    return response.T / 2.0**BITS


@dataclass(frozen=True)
class Taps:
    """The part of a matrix of weights that is not zero: output `i` is a sum over inputs `starts[i]` and the next."""

    starts: np.ndarray  # int64 (outputs,)
    weights: np.ndarray  # int32 (outputs, taps), in units of 2^-BITS


def taps(matrix: np.ndarray) -> Taps:
    """The taps of a matrix of `weights` (outputs, inputs)."""
    inputs, used = matrix.shape[1], matrix != 0
    first, last = used.argmax(axis=1), inputs - used[:, ::-1].argmax(axis=1)
    count = (last - first).max()
    starts = np.minimum(first, inputs - count)
    columns = starts[:, None] + np.arange(count)
    return Taps(starts, (np.take_along_axis(matrix, columns, axis=1) * 2**BITS).astype(np.int32))
