"""The array that is filled piece by piece: what its bookkeeping costs."""

import time

from vaebench.data.resumable_npz import Done, PartialArray


def recorded(folder, count):
    """Seconds of the processor to record that many ranges, each followed by the question whether all are there."""
    array = PartialArray(folder / f"{count}.npz", (count, 1, 1, 1), "test").open()
    began = time.process_time()
    for row in range(count):
        assert not array.is_complete
        array.record(Done(row, row + 1, 0, [0.0], [0.0]))
    assert array.is_complete
    assert array.bytes_left == 0
    return time.process_time() - began


def test_the_bookkeeping_is_linear_in_the_number_of_batches(tmp_path):
    """Ten times as many take ten times as long, not a hundred times."""
    recorded(tmp_path, 10)
    many, few = (min(recorded(tmp_path, count) for _ in range(3)) for count in (10_000, 1_000))
    assert many < 40 * few
