"""Loops over pixels that numba compiles for the vector units of this machine.

Only functions that run them import this: loading numba takes half a second, compiling once per machine a few seconds.
The result of the compilation is kept in `__pycache__`.
"""

import numpy as np
from numba import njit

from vaebench.filters import BITS


@njit(cache=True, nogil=True)
def resize(
    source: np.ndarray,
    rows_first: bool,
    first_starts: np.ndarray,
    first_weights: np.ndarray,
    second_starts: np.ndarray,
    second_weights: np.ndarray,
    memory: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    target: np.ndarray,
) -> None:
    """Resize `source`, uint8 (height, width x channels), along its rows and columns to `target` (M, channels, N).

    Output i of a pass is the sum of weights[i, k] times line starts[i] + k, with weights int32 in units of 2^-BITS,
    rounded and clipped to 0..255. M is the second pass's number of outputs, N the first's. `memory` holds what is in
    between: (n, channels, m), (N, channels, m), (m, channels, N) and (M, channels, N), with the last axis padded to
    whole words of 8 bytes. The axis of a pass comes first, so that the vector units add whole lines.
    """
    lines, fewer, turned, result = memory
    if rows_first:
        _transpose(source, lines.reshape(-1, lines.shape[2]).view(np.uint64))
    else:
        _separate(source, lines)
    _add_lines(lines, first_starts, first_weights, fewer)
    for channel in range(fewer.shape[1]):
        _transpose(fewer[:, channel], turned.view(np.uint64)[:, channel])
    _add_lines(turned, second_starts, second_weights, result)
    for i in range(target.shape[0]):
        for j in range(target.shape[1]):
            for k in range(target.shape[2]):
                target[i, j, k] = result[i, j, k]


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
def _transpose(source: np.ndarray, target: np.ndarray) -> None:
    """Columns of uint8 (n, m) as lines of `target`, (m, n / 8 rounded up) words of 8 bytes; the last row pads.

    Eight rows become words in one go over their length, which the vector units can do, and only words are moved.
    """
    last, words = len(source) - 1, np.empty(source.shape[1], np.uint64)
    for block in range(target.shape[1]):
        top = 8 * block
        a, b, c, d = source[top], source[min(top + 1, last)], source[min(top + 2, last)], source[min(top + 3, last)]
        top = min(top + 4, last)
        e, f, g, h = source[top], source[min(top + 1, last)], source[min(top + 2, last)], source[min(top + 3, last)]
        for column in range(len(words)):
            words[column] = (
                np.uint64(a[column])
                | np.uint64(b[column]) << np.uint64(8)
                | np.uint64(c[column]) << np.uint64(16)
                | np.uint64(d[column]) << np.uint64(24)
                | np.uint64(e[column]) << np.uint64(32)
                | np.uint64(f[column]) << np.uint64(40)
                | np.uint64(g[column]) << np.uint64(48)
                | np.uint64(h[column]) << np.uint64(56)
            )
        for column in range(len(words)):
            target[column, block] = words[column]


@njit(cache=True, nogil=True)
def _separate(source: np.ndarray, target: np.ndarray) -> None:
    """Rows of pixels, (height, width x channels), as (height, channels, width)."""
    channels = target.shape[1]
    for row in range(len(source)):
        for channel in range(channels):
            for column in range(source.shape[1] // channels):
                target[row, channel, column] = source[row, column * channels + channel]


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
