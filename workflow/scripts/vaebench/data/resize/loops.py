"""The loop over pixels, which numba compiles once for each kind of processor."""

from collections.abc import Callable
from functools import cache

import numpy as np

BITS = 22  # of the fraction in Pillow's weights
HALF = 1 << (BITS - 1)  # added, so that dropping the fraction rounds


def weighted_sums(rows: np.ndarray, starts: np.ndarray, weights: np.ndarray, channels: int) -> np.ndarray:
    """The sums over k of weights[i, k] times input starts[i] + k in every row, rounded and clipped to 0..255.

    Shapes and types: rows uint8 (n, 1, inputs * channels) or (n, channels, inputs); starts int64 (outputs,); weights
    int32 (outputs, taps) in units of 2^-BITS. The result is uint8 (outputs, channels, n), and n the next multiple of 8:
    the last row is repeated.
    """
    count, planes, columns = rows.shape
    # The vector units add whole lines, so rows become lines: eight rows are woven into words, and these are moved.
    blocks, last = (count + 7) // 8, count - 1
    words, row_of_words = np.empty((columns, planes, blocks), np.uint64), np.empty(columns, np.uint64)
    woven = row_of_words.view(np.uint8)
    for block in range(blocks):
        for plane in range(planes):
            a, b = rows[8 * block, plane], rows[min(8 * block + 1, last), plane]
            c, d = rows[min(8 * block + 2, last), plane], rows[min(8 * block + 3, last), plane]
            e, f = rows[min(8 * block + 4, last), plane], rows[min(8 * block + 5, last), plane]
            g, h = rows[min(8 * block + 6, last), plane], rows[min(8 * block + 7, last), plane]
            for i in range(columns):
                woven[8 * i], woven[8 * i + 1], woven[8 * i + 2], woven[8 * i + 3] = a[i], b[i], c[i], d[i]
                woven[8 * i + 4], woven[8 * i + 5], woven[8 * i + 6], woven[8 * i + 7] = e[i], f[i], g[i], h[i]
            for i in range(columns):
                words[i, plane, block] = row_of_words[i]
    length = channels * blocks * 8
    lines = words.view(np.uint8).reshape(planes * columns // channels, length)
    total, result = np.empty(length, np.int32), np.empty((len(starts), length), np.uint8)
    taps = weights.shape[1]
    for output in range(len(starts)):
        start = starts[output]
        total[:] = HALF
        for tap in range(0, taps - 1, 2):  # two at a time, since to load and store the totals takes as long
            first, second = weights[output, tap], weights[output, tap + 1]
            a, b = lines[start + tap], lines[start + tap + 1]
            for i in range(length):
                total[i] += first * np.int32(a[i]) + second * np.int32(b[i])
        if taps % 2:
            first, a = weights[output, taps - 1], lines[start + taps - 1]
            for i in range(length):
                total[i] += first * np.int32(a[i])
        line = result[output]
        for i in range(length):
            line[i] = min(max(total[i] >> BITS, 0), 255)
    return result.reshape(len(starts), channels, blocks * 8)


SIGNATURE = "uint8[:, :, ::1](uint8[:, :, ::1], int64[::1], int32[:, ::1], int64)"


@cache
def compiled() -> Callable[..., np.ndarray]:
    """`weighted_sums` as machine code.

    numba keeps it in NUMBA_CACHE_DIR, beside this file, or with the user where that is read-only; in a process where
    none of them works, or what is kept is damaged, it is compiled anew.
    """
    from numba import njit  # half a second and 100 MB, which only those need who resize many images of one size

    function: Callable[..., np.ndarray]
    try:
        function = njit(SIGNATURE, cache=True)(weighted_sums)
    except Exception:  # numba and pickle raise many kinds where files cannot be read or written; other errors recur
        function = njit(SIGNATURE)(weighted_sums)
    return function
