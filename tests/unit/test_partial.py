"""The array that is filled piece by piece: what it knows of its rows, and what its bookkeeping costs."""

import time

import numpy as np

from vaebench.data.resumable_npz import Done, PartialArray


def recorded(folder, count):
    """Seconds of the processor to record that many ranges, each followed by the question whether all are there."""
    array = PartialArray(folder / f"{count}.npz", (count, 1, 1, 1), "test").open()
    began = time.process_time()
    for row in range(count):
        assert not array.is_complete
        array.record(Done(row, row + 1, 0, [0], [0]))
    assert array.is_complete
    assert array.bytes_left == 0
    return time.process_time() - began


def test_the_bookkeeping_is_linear_in_the_number_of_batches(tmp_path):
    """Ten times as many take ten times as long, not a hundred times."""
    recorded(tmp_path, 10)
    many, few = (min(recorded(tmp_path, count) for _ in range(3)) for count in (10_000, 1_000))
    assert many < 40 * few


def test_the_sums_per_channel_are_exact(tmp_path):
    """Those of white alone are the largest."""
    rows = np.random.default_rng(0).integers(0, 256, (6, 3, 300, 301), dtype=np.uint8)
    rows[:5] = 255
    array = PartialArray(tmp_path / "a.npz", rows.shape, "test").open()
    done = array.writer.write(0, [rows[:4], rows[4:]])
    wide = rows.astype(object)
    assert done.sums == wide.sum((0, 2, 3)).tolist()
    assert done.squares == (wide**2).sum((0, 2, 3)).tolist()
