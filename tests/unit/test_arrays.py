"""The npz files against NumPy's own; rows written in any order, by several processes, with interruptions."""

import contextlib
import hashlib
import json
import warnings
import zipfile
import zlib

import numpy as np
import pytest

from vaebench.base.errors import UserError
from vaebench.base.npz import (
    StreamedArray,
    manifest_path,
    npy_header,
    open_array,
    open_member,
    read_manifest,
    write_array,
)
from vaebench.data.resumable_npz import LOCAL_HEADER_BYTES, Done, PartialArray

IMAGES = np.random.default_rng(0).integers(0, 256, (53, 3, 9, 11), dtype=np.uint8)


def numpys(folder, array, compressed=False):
    path = folder / "numpys.npz"
    (np.savez_compressed if compressed else np.savez)(path, data=array)
    return path.read_bytes()


@pytest.mark.parametrize("batch", [1, 7, 53])
def test_streamed_bytes_are_those_of_savez(tmp_path, batch):
    path = tmp_path / "a.npz"
    with StreamedArray(path, IMAGES.shape) as file:
        for start in range(0, len(IMAGES), batch):
            file.append(IMAGES[start : start + batch])
    assert path.read_bytes() == numpys(tmp_path, IMAGES)


@pytest.mark.parametrize("array", [IMAGES, IMAGES[:, :1], np.arange(12.0).reshape(3, 4), np.float32([[1, 2]])])
@pytest.mark.parametrize("compressed", [False, True])
def test_written_bytes_are_those_of_savez(tmp_path, array, compressed):
    path = tmp_path / "a.npz"
    write_array(path, array, compressed)
    assert path.read_bytes() == numpys(tmp_path, array, compressed)
    with np.load(path) as archive:
        assert np.array_equal(archive["data"], array)


def test_a_stored_array_is_mapped_and_read_only(tmp_path):
    write_array(tmp_path / "a.npz", IMAGES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        array = open_array(tmp_path / "a.npz")
    assert isinstance(array, np.memmap)
    assert np.array_equal(array, IMAGES)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


def test_a_compressed_array_is_loaded_with_a_warning(tmp_path):
    write_array(tmp_path / "a.npz", IMAGES, compress=True)
    with pytest.warns(UserWarning, match="loaded into memory"):
        array = open_array(tmp_path / "a.npz")
    assert not isinstance(array, np.memmap)
    assert np.array_equal(array, IMAGES)


def test_files_of_numpy_itself_can_be_mapped(tmp_path):
    np.savez(tmp_path / "a.npz", other=np.zeros(5), data=np.asfortranarray(np.arange(12).reshape(3, 4)))
    assert np.array_equal(open_array(tmp_path / "a.npz"), np.arange(12).reshape(3, 4))


def test_what_is_no_such_file_is_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        open_array(tmp_path / "none.npz")
    (tmp_path / "a.npz").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"a\.npz is not an npz"):
        open_array(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.zeros(3))
    with pytest.raises(UserError, match="key `data`"):
        open_array(tmp_path / "b.npz")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_file_is_refused_or_read_but_never_a_traceback(tmp_path, compressed):
    content = numpys(tmp_path, IMAGES[:3], compressed)
    path = tmp_path / "a.npz"
    for length in (*range(0, 200, 7), len(content) // 2, len(content) - 30, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match=r"a\.npz"):
            open_array(path)
    for position in (*range(170), *range(len(content) - 120, len(content))):
        path.write_bytes(content[:position] + bytes([content[position] ^ 255]) + content[position + 1 :])
        with contextlib.suppress(UserError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            open_array(path)


def test_a_stream_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.npz"
    write_array(path, IMAGES)
    old = path.read_bytes()
    with pytest.raises(ValueError, match="5 rows written, 53 announced"), StreamedArray(path, IMAGES.shape) as file:
        file.append(IMAGES[:5])
    with pytest.raises(ValueError, match="expected rows"), StreamedArray(path, IMAGES.shape) as file:
        file.append(IMAGES[:, :2])
    assert path.read_bytes() == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]


def test_the_manifest_is_beside_the_array(tmp_path):
    with pytest.raises(UserError, match=r"a\.json"):
        read_manifest(tmp_path / "a.npz")
    manifest_path(tmp_path / "a.npz").write_text(json.dumps({"shape": [1]}))
    assert read_manifest(tmp_path / "a.npz") == {"shape": [1]}


def fill(array, ranges):
    for start, stop in ranges:
        array.record(array.writer.write(start, [IMAGES[start:stop]]))


def finish(array, compress=False):
    sealed, sha256 = array.seal(compress)
    assert sha256 == hashlib.sha256(sealed.read_bytes()).hexdigest()
    array.publish(sealed)
    return array.path.read_bytes()


@pytest.mark.parametrize("most", [1, 10, 100])
@pytest.mark.parametrize("compress", [False, True])
def test_rows_in_any_order_give_the_bytes_of_savez(tmp_path, most, compress):
    array = PartialArray(tmp_path / "a.npz", IMAGES.shape, "work").open()
    fill(array, reversed(list(array.missing(most))))
    mean, deviation = array.mean_and_deviation()
    assert finish(array, compress) == numpys(tmp_path, IMAGES, compress)
    assert np.allclose(mean, IMAGES.mean((0, 2, 3)) / 255, atol=1e-12)
    assert np.allclose(deviation, IMAGES.std((0, 2, 3)) / 255, atol=1e-12)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.npz", "numpys.npz"]


def test_work_is_resumed_and_only_what_is_sound(tmp_path):
    first = PartialArray(tmp_path / "a.npz", IMAGES.shape, "work").open()
    fill(first, [(0, 10), (20, 30), (50, 53)])
    with open(first.part, "r+b") as file:  # a power cut: the journal knows of rows that the disk lost
        file.seek(-100, 2)
        file.write(bytes(100))
    with open(first.journal, "a") as file:  # and a line that was cut short
        file.write('{"start": 30, "st')
    second = PartialArray(tmp_path / "a.npz", IMAGES.shape, "work").open()
    assert second.rows_done == 20
    assert list(second.missing(8)) == [(10, 18), (18, 20), (30, 38), (38, 46), (46, 53)]
    fill(second, second.missing(8))
    assert list(second.missing(8)) == []
    sealed, _ = second.seal(False)
    third = PartialArray(tmp_path / "a.npz", IMAGES.shape, "work").open()  # killed between sealing and publishing
    assert third.rows_done == len(IMAGES)
    assert third.part == sealed
    assert finish(third) == numpys(tmp_path, IMAGES)


@pytest.mark.parametrize("line", ["\0\0\0\n", "{}\n", "[1]\n", '{"start": 20, "stop": 30}\n', "\ufffd\n"])
def test_a_damaged_line_of_the_journal_ends_it(tmp_path, line):
    first = PartialArray(tmp_path / "a.npz", IMAGES.shape, "work").open()
    fill(first, [(0, 10), (10, 20)])
    lines = first.journal.read_text().splitlines(keepends=True)
    first.journal.write_bytes("".join([*lines[:2], line, *lines[2:]]).encode("utf-16" if "\ufffd" in line else "utf-8"))
    second = PartialArray(tmp_path / "a.npz", IMAGES.shape, "work").open()
    assert second.rows_done == (0 if "\ufffd" in line else 10)
    fill(second, second.missing(8))
    assert finish(second) == numpys(tmp_path, IMAGES)


def test_other_work_is_not_resumed(tmp_path):
    fill(PartialArray(tmp_path / "a.npz", IMAGES.shape, "work").open(), [(0, 53)])
    assert PartialArray(tmp_path / "a.npz", IMAGES.shape, "other work").open().rows_done == 0


class Ends:
    """A file that forgets its long blocks."""

    def __init__(self):
        self.place, self.written = 0, {}
        self.tell, self.flush = lambda: self.place, lambda: None

    def seek(self, place):
        self.place = place

    def write(self, data):
        if len(data) < 1 << 16:
            self.written[self.place] = bytes(data)
        self.place += len(data)


def test_beyond_4_gib_the_records_are_those_of_zipfile(tmp_path, monkeypatch):
    black, blocks, rows = bytes(1 << 24), 260, (1 << 24) // 4096
    crc = zlib.crc32(black)
    shape = (blocks * rows, 1, 64, 64)
    ends = Ends()
    with zipfile.ZipFile(ends, "w") as archive, open_member(archive) as member:
        member.write(npy_header(shape))
        for _ in range(blocks):
            member.write(black)
    array = PartialArray(tmp_path / "a.npz", shape, "work").open()
    for block in range(blocks):
        array.record(Done(block * rows, (block + 1) * rows, crc, [0], [0]))
    monkeypatch.setattr("vaebench.data.resumable_npz.sha256_of", lambda path: "not read, since it is of 4 GiB")
    sealed, _ = array.seal(False)
    behind = sorted(place for place in ends.written if place > 1 << 32)
    with open(sealed, "rb") as file:
        assert file.read(LOCAL_HEADER_BYTES) == ends.written[0]
        file.seek(behind[0])
        assert file.read() == b"".join(map(ends.written.get, behind))
    assert open_array(sealed).shape == shape
