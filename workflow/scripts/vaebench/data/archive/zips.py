"""Reading members of a large zip from many processes at once.

`zipfile` keeps about a kilobyte per member and one file position per archive. Here a member is known by the place of
its entry in the central directory alone (eight bytes), and is read by absolute position, so that forked workers may
share the file.
"""

import hashlib
import os
import re
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from vaebench.base.disk import read_error, read_errors
from vaebench.base.errors import UserError
from vaebench.data.archive import packed_names
from vaebench.data.archive.image_file import ImageError, UnsupportedImageError, check_bytes

# The records of the format specification (APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12 to 4.3.16, 4.5.3, 4.6.9).
LOCAL = struct.Struct("<4s22xHH")  # signature, lengths of name and extra
ENTRY = struct.Struct("<4s4xHH4xIIIHHH8xI")  # signature, flags, method, crc, sizes, name, extra, comment, local header
MODE = struct.Struct("<40xH")  # of the same record: what kind of file it was under Unix, and its permissions
END = struct.Struct("<4s6xHIIH")  # signature, entries, directory size, directory start, comment length
DISKS = struct.Struct("<4xHH")  # of the same record: its part of a split archive, and that of the directory
END64_LOCATOR = struct.Struct("<4s4xQ4x")  # signature, position of the record below
END64 = struct.Struct("<4s28xQQQ")  # signature, entries, directory size, directory start
PART_START = b"PK\x07\x08"  # of the first part of a split archive
LOCAL_START, ENTRY_START, SIGNATURE_START = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x05"
END_START, LOCATOR_START, END64_START = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
ZIP64_FIELD, NAME_FIELD = 0x0001, 0x7075  # kinds of extra fields
UTF8, ENCRYPTED = 0x800, 0x1
STORED, DEFLATED = 0, 8
DEFLATE_RATIO = 1032  # no deflated stream becomes more than this times as large
TAIL = 66_000  # bytes at the end of a file in which unzip looks for the record that ends the archive
BLOCK = 1 << 20
USUAL_ENTRY = ENTRY.size + 128  # bytes of an entry with a name that is not very long
FULL32, FULL16 = 0xFFFFFFFF, 0xFFFF  # "look into the zip64 extra field"
OTHER_KINDS = {  # by the bytes at their beginning
    rb"7z\xbc\xaf": "a 7z",
    rb"Rar!": "a RAR",
    rb"\x1f\x8b": "a gzip",
    rb"\xfd7zXZ": "an xz",
    rb"BZh": "a bzip2",
    rb"\x28\xb5\x2f\xfd": "a zstd",
    rb".{257}ustar": "a tar",
}
PART = "it is one part of a split archive", "Join the parts with zip -s 0"
DAMAGED, BEYOND = "its list of members is damaged", "lies beyond the end of the archive"


class ZipReader:
    """An open zip archive. Names and positions come from `entries`; `read` takes a position."""

    def __init__(self, path: Path) -> None:
        """UserError when the file is no zip or was cut short."""
        self.path = path
        with read_errors(path):
            self._open = open(path, "rb")  # noqa: SIM115 - closed when the reader is dropped
        self._file = self._open.fileno()
        self._size = os.fstat(self._file).st_size
        self._count, self._length, self._start, self._shift = self._directory()

    def digest(self) -> str:
        """SHA-256 of the list of members, which holds the name, size and CRC-32 of every one: the content in short."""
        sha256 = hashlib.sha256()
        for start in range(self._start, self._start + self._length, BLOCK):
            sha256.update(self._peek(min(BLOCK, self._start + self._length - start), start))
        return sha256.hexdigest()

    def entries(self) -> Iterator[tuple[str, int]]:
        """(name, position of the directory entry) of every member, in archive order.

        A name is UTF-8 where it can be, whether or not the archive says so, else in code page 437.
        """
        position, end, count = self._start, self._start + self._length, 0
        with read_errors(self.path), open(self.path, "rb") as file:
            file.seek(position)
            while position < end:
                head = file.read(ENTRY.size)
                if head[:4] == SIGNATURE_START:
                    break
                if len(head) < ENTRY.size or head[:4] != ENTRY_START:
                    raise self._broken(DAMAGED)
                _, flags, *_, name, extra, comment, _ = ENTRY.unpack(head)
                if name > packed_names.LONGEST:
                    raise self._broken(f"a name in its list of members has {name} bytes, more than a file can have")
                raw = file.read(name)
                if raw.isascii():
                    text = raw.decode()
                    if extra or comment:
                        file.seek(extra + comment, os.SEEK_CUR)
                else:
                    text = _decoded(raw, flags, file.read(extra))
                    file.seek(comment, os.SEEK_CUR)
                yield text, position
                position += ENTRY.size + name + extra + comment
                count += 1
        # Old writers of more than 65,535 members note the lower 16 bits of their number.
        if position > end or (count - self._count) % (FULL16 + 1):
            raise self._broken(DAMAGED)

    def read(self, position: int, most: int | None = None) -> bytes:
        """The content of the member whose directory entry is at `position`, checked against its CRC-32 (ImageError).

        A member of more than `most` bytes, packed or not, is not read (LargeImageError).
        """
        entry = self._bytes(max(ENTRY.size, min(USUAL_ENTRY, self._size - position)), position)
        _, flags, method, crc, packed, size, name, extra, _, start = ENTRY.unpack_from(entry)
        behind_name = ENTRY.size + name
        if len(entry) < behind_name + extra:
            entry = self._bytes(behind_name + extra, position)
        if FULL32 in (packed, size, start):
            size, packed, start = _zip64_values(entry[behind_name : behind_name + extra], size, packed, start)
        if flags & ENCRYPTED:
            raise UnsupportedImageError("encrypted in the archive")
        if stat.S_ISLNK(MODE.unpack_from(entry)[0]):
            raise UnsupportedImageError("a link in the archive, which is not followed: pack the file itself")
        check_bytes(max(packed, size), most)
        data = self._bytes(packed, self._data_position(start, entry[ENTRY.size : behind_name]))
        if method == DEFLATED:
            data = _inflate(data, size)
        elif method != STORED:
            raise UnsupportedImageError(f"compression method {method} of the archive: use stored or deflate")
        if len(data) != size or zlib.crc32(data) != crc:
            raise ImageError("CRC-32 of the archive does not match: the bytes are damaged")
        return data

    def _data_position(self, start: int, name: bytes) -> int:
        """Where the bytes of a member begin, behind its local header, which has to have the same name.

        What was put before an archive shifts all of it; some writers then correct the positions of the members only.
        """
        found = None
        for place in (start + self._shift, start) if self._shift else (start,):
            header = self._peek(LOCAL.size + len(name), place)
            if header[:4] == LOCAL_START and len(header) >= LOCAL.size:
                name_length: int
                extra_length: int
                _, name_length, extra_length = LOCAL.unpack_from(header)
                found = header[LOCAL.size :]
                if name_length != len(name):
                    found = self._peek(name_length, place + LOCAL.size)
                if found == name or found.replace(b"\\", b"/") == name.replace(b"\\", b"/"):
                    return place + LOCAL.size + name_length + extra_length
        if found is not None:
            raise ImageError(f"the archive has another file at its place: {packed_names.readable(found)}")
        if start >= self._size:
            raise ImageError(BEYOND)
        raise ImageError("no file at its place in the archive")

    def _bytes(self, count: int, position: int) -> bytes:
        data = self._peek(count, position)
        if len(data) != count:
            raise ImageError(BEYOND)
        return data

    def _peek(self, count: int, position: int) -> bytes:
        """`count` bytes from `position`; none when they reach beyond the end, which positions of 64 bits may."""
        try:
            return os.pread(self._file, count, position) if position + count <= self._size else b""
        except OSError as error:
            raise read_error(self.path, error) from error

    def _directory(self) -> tuple[int, int, int, int]:
        """Number of members, size and start of the central directory, and by how much the whole archive is shifted.

        As unzip does, bytes before the archive and up to 66,000 behind it are passed over.
        """
        tail = self._peek(min(self._size, TAIL), max(0, self._size - TAIL))
        places = list(_end_records(tail))
        for place in places:
            found = self._directory_before(self._size - len(tail) + place, *END.unpack_from(tail, place)[1:4])
            if found is None:
                continue
            if set(DISKS.unpack_from(tail, place)) - {0, FULL16}:
                raise self._broken(*PART)
            return found
        if places:
            raise self._broken(DAMAGED)
        start = self._peek(min(self._size, 512), 0)
        for signature, kind in OTHER_KINDS.items():
            if re.match(signature, start, re.DOTALL):
                raise self._broken(f"it is {kind} archive", "Unpack it and give the folder, or make it a zip")
        if start.startswith(PART_START):
            raise self._broken(*PART)
        if start.lstrip()[:1] == b"<":
            raise self._broken("it is an HTML page, not an archive")
        if not start or start.startswith(b"PK"):
            raise self._broken("it was cut short" if start else "it is empty")
        raise self._broken("it is no zip", "Give a zip or a folder of images; a download, delete and begin again")

    def _directory_before(self, end: int, count: int, length: int, start: int) -> tuple[int, int, int, int] | None:
        """The directory that ends where the record at `end` begins and is what that says; None when there is none."""
        locator = self._peek(END64_LOCATOR.size, end - END64_LOCATOR.size) if end >= END64_LOCATOR.size else b""
        if (FULL32 in (length, start) or count == FULL16) and locator[:4] == LOCATOR_START:
            behind = end - END64_LOCATOR.size - END64.size  # where the record is if the archive is shifted
            for place in (END64_LOCATOR.unpack(locator)[1], max(0, behind)):
                record = self._peek(END64.size, place)
                if record[:4] == END64_START:
                    _, count, length, start = END64.unpack(record)
                    end = place
                    break
            else:
                return None
        for shift in dict.fromkeys((max(0, end - length - start), 0)):
            begins = self._peek(len(ENTRY_START), start + shift) == ENTRY_START
            if start + shift + length <= end and (begins or not length):
                return count, length, start + shift, shift
        return None

    def _broken(self, why: str, advice: str = "Delete it and download it again") -> UserError:
        return UserError(f"cannot read {self.path}: {why}. {advice}.")


def _end_records(tail: bytes) -> Iterator[int]:
    """Where the record that ends the archive may begin: first where its comment, which may look like one, ends all."""
    places, place = [], tail.rfind(END_START)
    while place >= 0:
        if len(tail) - place >= END.size:
            places.append(place)
        place = tail.rfind(END_START, 0, place)
    return iter(sorted(places, key=lambda place: place + END.size + END.unpack_from(tail, place)[-1] != len(tail)))


def _decoded(raw: bytes, flags: int, field: bytes) -> str:
    """The name of a member; `field` is its extra field, where old writers put the name in UTF-8."""
    if not flags & UTF8:
        unicode = _extra(field, NAME_FIELD)
        if len(unicode) > 5 and unicode[:5] == b"\x01" + struct.pack("<I", zlib.crc32(raw)):
            raw, flags = unicode[5:], UTF8
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return packed_names.readable(raw) if flags & UTF8 else raw.decode("cp437")


def _inflate(data: bytes, size: int) -> bytes:
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    if size > DEFLATE_RATIO * len(data):
        raise ImageError(f"the archive says that it becomes {size} bytes, which {len(data)} deflated bytes cannot")
    try:
        return decompressor.decompress(data, size + 1)  # one more than announced, so that a longer stream is noticed
    except zlib.error as error:
        raise ImageError(f"damaged compression in the archive: {error}") from error


def _zip64_values(field: bytes, *values: int) -> list[int]:
    """Replace each value that is full by the next one of the zip64 extra field; ImageError where it has too few."""
    wide = _extra(field, ZIP64_FIELD)
    full = values.count(FULL32)
    if len(wide) < 8 * full:
        raise ImageError("its sizes are missing: the zip64 extra field in the archive is too short or not there")
    following = iter(struct.unpack_from(f"<{full}Q", wide))
    return [next(following) if value == FULL32 else value for value in values]


def _extra(field: bytes, kind: int) -> bytes:
    """The content of the first extra field of a kind, as far as it is there."""
    while len(field) >= 4:
        found, length = struct.unpack_from("<HH", field)
        if found == kind:
            return field[4 : 4 + length]
        field = field[4 + length :]
    return b""
