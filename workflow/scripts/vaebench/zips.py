"""Reading members of a large zip from many processes at once.

`zipfile` keeps about a kilobyte per member and one file position per archive. Here a member is known by the place of
its entry in the central directory alone (eight bytes), and is read by absolute position, so that forked workers may
share the file.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from vaebench.decoding import ImageError
from vaebench.errors import UserError

# The records of the format specification (APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16).
LOCAL = struct.Struct("<4s22xHH")  # signature, lengths of name and extra
ENTRY = struct.Struct("<4s4xHH4xIIIHHH8xI")  # signature, flags, method, crc, sizes, name, extra, comment, local header
END = struct.Struct("<4s6xHIIH")  # signature, entries, directory size, directory start, comment length
END64_LOCATOR = struct.Struct("<4s4xQ4x")  # signature, position of the record below
END64 = struct.Struct("<4s28xQQQ")  # signature, entries, directory size, directory start
UTF8, ENCRYPTED = 0x800, 0x1
STORED, DEFLATED = 0, 8
BLOCK = 1 << 20
FULL32, FULL16 = 0xFFFFFFFF, 0xFFFF  # "look into the zip64 extra field"


class ZipReader:
    """An open zip archive. Names and positions come from `entries`; `read` takes a position."""

    def __init__(self, path: Path) -> None:
        """UserError when the file is no zip or was cut short."""
        self.path = path
        self._open = open(path, "rb")  # noqa: SIM115 - closed when the reader is dropped
        self._file = self._open.fileno()
        self._size = os.fstat(self._file).st_size
        self._count, self._length, self._start = self._directory()

    def digest(self) -> str:
        """SHA-256 of the list of members, which holds the name, size and CRC-32 of every one: the content in short."""
        sha256 = hashlib.sha256()
        for start in range(self._start, self._start + self._length, BLOCK):
            sha256.update(os.pread(self._file, min(BLOCK, self._start + self._length - start), start))
        return sha256.hexdigest()

    def entries(self) -> Iterator[tuple[str, int]]:
        """(name, position of the directory entry) of every member, in archive order."""
        with open(self.path, "rb") as file:
            file.seek(self._start)
            position = self._start
            for _ in range(self._count):
                head = file.read(ENTRY.size)
                if len(head) < ENTRY.size or head[:4] != b"PK\x01\x02":
                    raise self._broken("its list of members is damaged")
                _, flags, *_, name, extra, comment, _ = ENTRY.unpack(head)
                raw = file.read(name)
                if extra or comment:
                    file.seek(extra + comment, os.SEEK_CUR)
                yield raw.decode("utf-8" if flags & UTF8 or raw.isascii() else "cp437", "replace"), position
                position += ENTRY.size + name + extra + comment

    def read(self, position: int) -> bytes:
        """The content of the member whose directory entry is at `position`, checked against its CRC-32 (ImageError)."""
        _, flags, method, crc, packed, size, name, extra, _, start = ENTRY.unpack(self._bytes(ENTRY.size, position))
        if FULL32 in (packed, size, start):
            field = self._bytes(extra, position + ENTRY.size + name)
            size, packed, start = _zip64_values(field, size, packed, start)
        if flags & ENCRYPTED:
            raise ImageError("encrypted in the archive")
        signature, name, extra = LOCAL.unpack(self._bytes(LOCAL.size, start))
        if signature != b"PK\x03\x04":
            raise ImageError("no file at its place in the archive")
        data = self._bytes(packed, start + LOCAL.size + name + extra)
        if method == DEFLATED:
            data = _inflate(data, size)
        elif method != STORED:
            raise ImageError(f"compression method {method} of the archive is not supported: use stored or deflate")
        if len(data) != size or zlib.crc32(data) != crc:
            raise ImageError("CRC-32 of the archive does not match: the bytes are damaged")
        return data

    def _bytes(self, count: int, position: int) -> bytes:
        data = os.pread(self._file, count, position) if position + count <= self._size else b""
        if len(data) != count:
            raise ImageError("lies beyond the end of the archive")
        return data

    def _directory(self) -> tuple[int, int, int]:
        """Number of members, size and start of the central directory, from the record at the end of the file."""
        tail_start = max(0, self._size - END.size - FULL16)
        tail = os.pread(self._file, self._size - tail_start, tail_start)
        place = _last_record(tail)
        if place < 0:
            html = os.pread(self._file, 512, 0).lstrip()[:1] == b"<"
            raise self._broken("it is an HTML page, not an archive" if html else "it is no zip, or was cut short")
        _, count, length, start, _ = END.unpack_from(tail, place)
        if FULL32 in (length, start) or count == FULL16:
            locator = place - END64_LOCATOR.size
            if locator >= 0 and tail[locator : locator + 4] == b"PK\x06\x07":
                _, record = END64_LOCATOR.unpack_from(tail, locator)
                found = os.pread(self._file, END64.size, record)
                if len(found) < END64.size or found[:4] != b"PK\x06\x06":
                    raise self._broken("its list of members is damaged")
                _, count, length, start = END64.unpack(found)
        if start + length > self._size:
            raise self._broken("it was cut short")
        return count, length, start

    def _broken(self, why: str) -> UserError:
        return UserError(f"cannot read {self.path}: {why}. Delete it and download it again.")


def _last_record(tail: bytes) -> int:
    """Where the record that ends the archive begins, or -1; only its comment, which may look like one, is behind."""
    place = tail.rfind(b"PK\x05\x06")
    while place >= 0:
        fits = len(tail) - place >= END.size
        if fits and place + END.size + END.unpack_from(tail, place)[-1] == len(tail):
            return place
        place = tail.rfind(b"PK\x05\x06", 0, place)
    return -1


def _inflate(data: bytes, size: int) -> bytes:
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        return decompressor.decompress(data, size + 1)  # one more than announced, so that a longer stream is noticed
    except zlib.error as error:
        raise ImageError(f"damaged compression in the archive: {error}") from error


def _zip64_values(field: bytes, *values: int) -> list[int]:
    """Replace each value that is full by the next one of the zip64 extra field."""
    while len(field) >= 4:
        kind, length = struct.unpack_from("<HH", field)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{length // 8}Q", field, 4))
            return [next(wide, value) if value == FULL32 else value for value in values]
        field = field[4 + length :]
    return list(values)
