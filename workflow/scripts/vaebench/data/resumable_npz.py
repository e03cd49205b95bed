"""An npz that several processes fill in any order; what was written before they were killed is kept.

The rows are written straight to their final place in `.NAME.part`; `.NAME.journal` says which ranges are there, with
their CRC-32. The next run keeps the ranges whose bytes still have that CRC and asks for the rest. The finished file has
the bytes of np.savez, however it came about.
"""

import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np

from vaebench.base.files import sha256_of
from vaebench.base.npz import MEMBER, npy_header, open_member

BLOCK = 1 << 22
LOCAL_HEADER_BYTES = 30 + len(MEMBER) + 20  # with the zip64 field that np.savez always writes


@dataclass(frozen=True)
class Done:
    """Rows start..stop are on disk, with this CRC-32 and these sums of values and of squares per channel."""

    start: int
    stop: int
    crc: int
    sums: list[int]
    squares: list[int]


@dataclass(frozen=True)
class RowWriter:
    """Writes rows of uint8 (C, H, W) to their place in a part file; picklable, for the workers."""

    path: Path
    offset: int
    row_bytes: int

    def write(self, start: int, batches: Iterable[np.ndarray]) -> Done:
        """Write consecutive batches (n, C, H, W) from row `start` on."""
        crc, row = 0, start
        sums: np.ndarray | None = None
        file = os.open(self.path, os.O_WRONLY)
        try:
            for batch in batches:
                _write_at(file, batch.data.cast("B"), self.offset + row * self.row_bytes)
                crc = zlib.crc32(batch.data, crc)
                row += len(batch)
                of_batch = _channel_sums(batch)
                sums = of_batch if sums is None else sums + of_batch
        finally:
            os.close(file)
        if sums is None:
            raise ValueError(f"no rows to write to {self.path}")
        values, squares = sums.tolist()
        return Done(start, row, crc, values, squares)


def _channel_sums(batch: np.ndarray) -> np.ndarray:
    """The exact sums of values and of squares of each channel, int64 (2, channels)."""
    squares = np.square(batch, dtype=np.uint16)
    return np.stack([values.sum(axis=(0, 2, 3), dtype=np.int64) for values in (batch, squares)])


def _write_at(file: int, data: memoryview, position: int) -> None:
    while data:
        written = os.pwrite(file, data, position)
        data, position = data[written:], position + written


class PartialArray:
    """The npz that will be at `path`: uint8 `shape` (n, C, H, W). Only work of the same `identity` is resumed."""

    def __init__(self, path: Path, shape: tuple[int, int, int, int], identity: str) -> None:
        self.path = path
        self.shape = shape
        self.part, self.journal = self.aside("part"), self.aside("journal")
        self._header = npy_header(shape)
        self._row_bytes = int(np.prod(shape[1:]))
        self._offset = LOCAL_HEADER_BYTES + len(self._header)
        self._end = self._offset + shape[0] * self._row_bytes
        self._done: list[Done] = []
        self.rows_done = 0  # how many rows are written
        self._identity = identity

    def aside(self, kind: str) -> Path:
        """A hidden name beside the file; `publish` removes whatever has one."""
        return self.path.with_name(f".{self.path.name}.{kind}")

    def open(self) -> Self:
        """Take up what an earlier run left, or start anew."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._done = [done for done in self._recorded() if self._is_there(done)]
        self.rows_done = sum(done.stop - done.start for done in self._done)
        fresh = not self._done
        with open(self.part, "wb" if fresh else "r+b") as file:
            file.truncate(self._end)
        lines = [{"identity": self._identity}, *map(asdict, self._done)]
        self.aside("new").write_text("".join(map(_line, lines)))
        os.replace(self.aside("new"), self.journal)
        return self

    @property
    def writer(self) -> RowWriter:
        """What writes the rows."""
        return RowWriter(self.part, self._offset, self._row_bytes)

    def record(self, done: Done) -> None:
        """Record a finished range; it is kept from now on, whatever ends the job."""
        self._done.append(done)
        self.rows_done += done.stop - done.start
        with open(self.journal, "a") as file:
            file.write(_line(asdict(done)))

    def missing(self, most: int) -> Iterator[tuple[int, int]]:
        """The ranges of rows still to be written, none longer than `most`."""
        position = 0
        for done in [*sorted(self._done, key=lambda done: done.start), Done(self.shape[0], self.shape[0], 0, [], [])]:
            for start in range(position, done.start, most):
                yield start, min(start + most, done.start)
            position = done.stop

    @property
    def bytes_left(self) -> int:
        """How many bytes the file has yet to take from the disk."""
        return (self.shape[0] - self.rows_done) * self._row_bytes

    def mean_and_deviation(self) -> tuple[list[float], list[float]]:
        """Per channel, over all images and pixels, in units of 1 (white): exact sums, divided in float64."""
        count = self.shape[0] * self.shape[2] * self.shape[3]
        mean = np.sum([done.sums for done in self._done], axis=0) / count
        square = np.sum([done.squares for done in self._done], axis=0) / count
        return (mean / 255).tolist(), (np.sqrt(np.maximum(square - mean**2, 0)) / 255).tolist()

    @property
    def is_complete(self) -> bool:
        """Whether every row is written."""
        return self.rows_done == self.shape[0]

    def seal(self, compress: bool) -> tuple[Path, str]:
        """Make the rows an npz under a temporary name: its path and SHA-256; can be repeated."""
        if compress:
            sealed = self.aside("packed")
            with zipfile.ZipFile(sealed, "w", zipfile.ZIP_DEFLATED) as archive:
                self._copy_rows(archive)
        else:
            sealed = self.part
            with open(sealed, "r+b") as file:
                file.truncate(self._end)
                self._write_around_rows(file)
        return sealed, sha256_of(sealed)

    def publish(self, sealed: Path) -> None:
        """Put the sealed file in its place and remove the traces."""
        os.replace(sealed, self.path)
        for path in self.path.parent.glob(f".{self.path.name}.*"):
            path.unlink()

    def _copy_rows(self, archive: zipfile.ZipFile) -> None:
        with open(self.part, "rb") as rows, open_member(archive) as member:
            member.write(self._header)
            rows.seek(self._offset)
            while block := rows.read(min(BLOCK, self._end - rows.tell())):
                member.write(block)

    def _write_around_rows(self, file: BinaryIO) -> None:
        """Write an archive without rows, and then their length and CRC-32 into it."""
        with zipfile.ZipFile(file, "w") as archive:
            with open_member(archive) as member:
                member.write(self._header)
            (info,) = archive.infolist()
            info.CRC = self._crc(0, self.shape[0], zlib.crc32(self._header))
            info.file_size = info.compress_size = self._end - LOCAL_HEADER_BYTES
            file.seek(0)
            file.write(info.FileHeader(zip64=True))
            archive.start_dir = self._end

    def _crc(self, start: int, stop: int, before: int = 0) -> int:
        """The CRC-32 of rows start..stop on the disk, behind bytes whose CRC-32 is `before`."""
        crc, left = before, (stop - start) * self._row_bytes
        with open(self.part, "rb") as file:
            file.seek(self._offset + start * self._row_bytes)
            while block := file.read(min(BLOCK, left)):
                crc = zlib.crc32(block, crc)
                left -= len(block)
        return crc

    def _recorded(self) -> Iterator[Done]:
        """The ranges in the journal of the same work; a line that was cut short or damaged ends it."""
        if not (self.part.exists() and self.journal.exists()):
            return
        lines = self.journal.read_text(errors="replace").splitlines(keepends=True)
        if not lines or lines[0] != _line({"identity": self._identity}):
            return
        for line in lines[1:]:
            try:
                done = Done(**json.loads(line))
            except (ValueError, TypeError):
                return
            yield done

    def _is_there(self, done: Done) -> bool:
        """Whether the rows still have their CRC: after a power cut the disk may know less than the journal."""
        return self._crc(done.start, done.stop) == done.crc


def _line(record: Mapping[str, object]) -> str:
    return json.dumps(record) + "\n"
