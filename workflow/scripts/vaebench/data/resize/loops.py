"""The loops over pixels, which numba compiles once for each kind of processor."""

from collections.abc import Callable
from functools import cache

import numpy as np

BITS = 22  # of the fraction in Pillow's weights
HALF = 1 << (BITS - 1)  # added, so that dropping the fraction rounds


def add_lines(lines: np.ndarray, starts: np.ndarray, weights: np.ndarray, result: np.ndarray) -> None:
    """Set result[i] to the sum of weights[i, k] times lines[starts[i] + k], rounded and clipped to 0..255.

    Shapes and types: lines (inputs, length) and result (outputs, length), uint8; starts (outputs,), int64; weights
    (outputs, taps), int32 in units of 2^-BITS. Whole lines are added, which the vector units can do.
    """
    outputs, taps = weights.shape
    length = lines.shape[1]
    total = np.empty(length, np.int32)
    for output in range(outputs):
        total[:] = HALF
        for tap in range(taps):
            weight, line = weights[output, tap], lines[starts[output] + tap]
            for i in range(length):
                total[i] += weight * np.int32(line[i])
        for i in range(length):
            result[output, i] = min(max(total[i] >> BITS, 0), 255)


def channel_sums(pixels: np.ndarray, sums: np.ndarray) -> None:
    """Set `sums`, float64 (2, channels), to the sums of values and of squares of uint8 (images, channels, area).

    They are exact below 2^53.
    """
    images, channels, area = pixels.shape
    sums[:] = 0
    for image in range(images):
        for channel in range(channels):
            values, squares = np.int64(0), np.int64(0)
            for i in range(area):
                value = np.int64(pixels[image, channel, i])
                values += value
                squares += value * value
            sums[0, channel] += values
            sums[1, channel] += squares


SIGNATURES = {
    add_lines: "void(uint8[:, ::1], int64[::1], int32[:, ::1], uint8[:, ::1])",
    channel_sums: "void(uint8[:, :, ::1], float64[:, ::1])",
}


def compile_loops() -> None:
    """Compile or load all loops, for this process and those that are forked from it."""
    for function in SIGNATURES:
        compiled(function)


@cache
def compiled(function: Callable[..., None]) -> Callable[..., None]:
    """One of the loops as machine code.

    numba keeps it in NUMBA_CACHE_DIR, beside this file, or with the user where that is read-only; in a process where
    none of them works, or what is kept is damaged, it is compiled anew.
    """
    from numba import njit  # half a second and 100 MB, which only those who resize need

    signature = SIGNATURES[function]
    try:
        return njit(signature, cache=True)(function)
    except Exception:  # numba and pickle raise many kinds where files cannot be read or written; other errors recur
        return njit(signature)(function)
