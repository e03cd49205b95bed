"""Loops over pixels, for numba to compile; `machine_code` keeps what comes out and runs it without numba.

They are written as in C, since no Python is around the machine code: arrays come as addresses and have one dimension,
and nothing may raise an exception or ask for memory.
"""

import numpy as np
from numba import carray, cfunc, njit

from vaebench.filters import BITS

HALF = np.int32(1 << (BITS - 1))  # added, so that dropping the fraction rounds


@njit
def _transpose(
    source: np.ndarray,
    stride: int,
    rows: int,
    planes: int,
    columns: int,
    target: np.ndarray,
    step: int,
    words: np.ndarray,
    halves: np.ndarray,
) -> None:
    """Turn uint8 rows, `stride` bytes apart, of (planes, columns) into lines (columns, planes) of `step` words.

    Eight rows become words of 8 bytes in one go over their length, which the vector units can do, and only words are
    moved. The last row fills the last word. `words` and `halves` are the same memory.
    """
    last = rows - 1
    for block in range(step):
        top = 8 * block
        a = source[top * stride :]
        b = source[min(top + 1, last) * stride :]
        c = source[min(top + 2, last) * stride :]
        d = source[min(top + 3, last) * stride :]
        e = source[min(top + 4, last) * stride :]
        f = source[min(top + 5, last) * stride :]
        g = source[min(top + 6, last) * stride :]
        h = source[min(top + 7, last) * stride :]
        for i in range(planes * columns):
            halves[2 * i] = (
                np.uint32(a[i])
                | np.uint32(b[i]) << np.uint32(8)
                | np.uint32(c[i]) << np.uint32(16)
                | np.uint32(d[i]) << np.uint32(24)
            )
            halves[2 * i + 1] = (
                np.uint32(e[i])
                | np.uint32(f[i]) << np.uint32(8)
                | np.uint32(g[i]) << np.uint32(16)
                | np.uint32(h[i]) << np.uint32(24)
            )
        for plane in range(planes):
            plane_words, line = words[plane * columns :], target[plane * step + block :]
            for column in range(columns):
                line[column * planes * step] = plane_words[column]


@njit
def _separate(
    source: np.ndarray, stride: int, rows: int, columns: int, channels: int, target: np.ndarray, length: int
) -> None:
    """Copy rows of pixels, (columns, channels), to lines of one channel each, which begin `length` bytes apart."""
    for row in range(rows):
        for channel in range(channels):
            pixels, line = source[row * stride + channel :], target[(row * channels + channel) * length :]
            for column in range(columns):
                line[column] = pixels[column * channels]


@njit
def _add_lines(
    lines: np.ndarray,
    length: int,
    starts: np.ndarray,
    weights: np.ndarray,
    outputs: int,
    taps: int,
    total: np.ndarray,
    result: np.ndarray,
) -> None:
    """Weighted sums of lines of `length` bytes; `taps` is even, and two lines are added at a time."""
    for output in range(outputs):
        for tap in range(0, taps, 2):
            first, second = weights[output * taps + tap], weights[output * taps + tap + 1]
            a, b = lines[(starts[output] + tap) * length :], lines[(starts[output] + tap + 1) * length :]
            if tap == 0:
                for i in range(length):
                    total[i] = HALF + first * np.int32(a[i]) + second * np.int32(b[i])
            else:
                for i in range(length):
                    total[i] += first * np.int32(a[i]) + second * np.int32(b[i])
        line = result[output * length :]
        for i in range(length):
            line[i] = min(max(total[i] >> BITS, 0), 255)


@cfunc(
    "void(CPointer(uint8), int64, CPointer(uint8), CPointer(int64), CPointer(int64), CPointer(int32),"
    " CPointer(uint8), CPointer(uint64), CPointer(int32), CPointer(uint64), CPointer(uint32))"
)
def resize(
    source: int,  # uint8 (height, width, channels), rows `stride` bytes apart
    stride: int,
    target: int,  # uint8 (channels, height, width)
    sizes: int,  # int64 (9,), as unpacked below
    starts: int,  # int64: of each output of the first pass, then of the second
    weights: int,  # int32: as many for each output as its pass has taps
    memory: int,  # uint8: the image between the passes
    memory_words: int,  # the same memory
    total: int,  # int32 (longest,)
    words: int,  # uint64 (longest,)
    halves: int,  # the same memory
) -> None:
    """Resize pixels along the rows and along the columns, `rows_first` or not.

    Output i of a pass is the sum of weights[i, k] times line starts[i] + k, with weights in units of 2^-BITS, rounded
    and clipped to 0..255. The axis of a pass comes first in `memory`, so that the vector units add whole lines: before
    the first pass as (inputs, channels, second inputs), after it as (outputs, channels, second inputs), turned as
    (second inputs, channels, outputs), in the end as (second outputs, channels, outputs); the last axis in whole words.
    """
    sizes = carray(sizes, (9,))
    channels, rows_first, longest = sizes[0], sizes[1], sizes[2]
    inputs, outputs, taps = sizes[3], sizes[4], sizes[5]
    second_inputs, second_outputs, second_taps = sizes[6], sizes[7], sizes[8]
    across, along = -(-second_inputs // 8), -(-outputs // 8)  # words
    length, second_length = 8 * channels * across, 8 * channels * along  # bytes
    fewer_at = inputs * length
    turned_at = fewer_at + outputs * length
    result_at = turned_at + 8 * across * second_length
    end = result_at + second_outputs * second_length
    memory, memory_words = carray(memory, (end,)), carray(memory_words, (end // 8,))
    total, words, halves = carray(total, (longest,)), carray(words, (longest,)), carray(halves, (2 * longest,))
    starts = carray(starts, (outputs + second_outputs,))
    weights = carray(weights, (outputs * taps + second_outputs * second_taps,))

    if rows_first:
        source = carray(source, (second_inputs * stride,))
        _transpose(source, stride, second_inputs, 1, inputs * channels, memory_words, across, words, halves)
    else:
        source = carray(source, (inputs * stride,))
        _separate(source, stride, inputs, second_inputs, channels, memory, 8 * across)
    fewer, turned, result = memory[fewer_at:], memory[turned_at:], memory[result_at:]
    _add_lines(memory, length, starts, weights, outputs, taps, total, fewer)
    turned_words = memory_words[turned_at // 8 :]
    _transpose(fewer, length, outputs, channels, 8 * across, turned_words, along, words, halves)
    starts, weights = starts[outputs:], weights[outputs * taps :]
    _add_lines(turned, second_length, starts, weights, second_outputs, second_taps, total, result)

    target = carray(target, (channels * outputs * second_outputs,))
    for i in range(second_outputs):
        for channel in range(channels):
            line = result[i * second_length + channel * 8 * along :]
            if rows_first:
                row = target[(channel * second_outputs + i) * outputs :]
                for k in range(outputs):
                    row[k] = line[k]
            else:
                column = target[channel * outputs * second_outputs + i :]
                for k in range(outputs):
                    column[k * second_outputs] = line[k]


@cfunc("void(CPointer(uint8), int64, int64, int64, CPointer(float64))")
def channel_sums(pixels: int, images: int, channels: int, area: int, sums: int) -> None:
    """Sums of the values and of their squares per channel of uint8 (images, channels, area): float64 (2, channels).

    They are exact below 2^53.
    """
    pixels, sums = carray(pixels, (images, channels, area)), carray(sums, (2, channels))
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
