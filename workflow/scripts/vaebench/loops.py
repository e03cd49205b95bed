"""Loops over pixels that numba compiles for the vector units of this machine.

Only functions that run them import this: loading numba takes a second, compiling once per machine a few. The result of
the compilation is kept in `__pycache__`.
"""

import numpy as np
from numba import njit

from vaebench.filters import BITS


@njit(cache=True, nogil=True)
def resize(
    source: np.ndarray,
    first_starts: np.ndarray,
    first_weights: np.ndarray,
    second_starts: np.ndarray,
    second_weights: np.ndarray,
    memory: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    target: np.ndarray,
) -> None:
    """Resize `source` (n, channels, m) along its first axis, then along its last, to `target` (M, channels, N); uint8.

    Output i of a pass is the sum of weights[i, k] times line starts[i] + k, with weights int32 in units of 2^-BITS,
    rounded and clipped to 0..255. `memory` holds what is in between: (n, channels, m), (N, channels, m),
    (m, channels, N) and (M, channels, N). The axis of a pass comes first, so that the vector units add whole lines.
    """
    lines, fewer, turned, result = memory
    _copy(source, lines)
    _add_lines(lines, first_starts, first_weights, fewer)
    _copy(fewer.transpose(2, 1, 0), turned)
    _add_lines(turned, second_starts, second_weights, result)
    _copy(result, target)


@njit(cache=True, nogil=True)
def channel_sums(batch: np.ndarray) -> np.ndarray:
    """Sums of the values and of their squares per channel of uint8 (n, C, H, W): float64 (2, C), exact below 2^53."""
    images, channels, height, width = batch.shape
    sums = np.zeros((2, channels))
    for image in range(images):
        for channel in range(channels):
            for row in range(height):
                values, squares = np.int64(0), np.int64(0)
                for column in range(width):
                    value = np.int64(batch[image, channel, row, column])
                    values += value
                    squares += value * value
                sums[0, channel] += values
                sums[1, channel] += squares
    return sums


@njit(cache=True, nogil=True)
def _copy(source: np.ndarray, target: np.ndarray) -> None:
    for i in range(source.shape[0]):
        for j in range(source.shape[1]):
            for k in range(source.shape[2]):
                target[i, j, k] = source[i, j, k]


@njit(cache=True, nogil=True)
def _add_lines(lines: np.ndarray, starts: np.ndarray, weights: np.ndarray, result: np.ndarray) -> None:
    lines, result = lines.reshape(len(lines), -1), result.reshape(len(result), -1)
    total = np.empty(lines.shape[1], np.int32)
    for output in range(len(starts)):
        total[:] = 1 << (BITS - 1)  # a half, so that dropping the fraction rounds
        for tap in range(weights.shape[1]):
            weight, line = weights[output, tap], lines[starts[output] + tap]
            for i in range(len(total)):
                total[i] += weight * np.int32(line[i])
        for i in range(len(total)):
            result[output, i] = min(max(total[i] >> BITS, 0), 255)
