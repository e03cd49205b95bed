"""Odd zip archives: read as unzip reads them, or said to be wrong in one sentence."""

import shutil
import struct
import subprocess
import zipfile
import zlib

import numpy as np
import pytest
from image_cases import write_zip

from vaebench.base.errors import UserError
from vaebench.data.archive.image_file import ImageError, UnsupportedImageError
from vaebench.data.archive.images import open_images

CONTENT = {f"top/{row}.jpg": bytes([row]) * (row * 1000 + 1) for row in range(5)}
CENTRAL, LOCAL, END = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"


@pytest.fixture
def path(tmp_path):
    return write_zip(tmp_path / "a.zip", CONTENT)


def read_all(path):
    source = open_images(path)
    return {name: source.read(name) for name in source.names()}


def by_unzip(path, name):
    """What unzip gives; it calls oddities that it can pass over a warning (status 1)."""
    result = subprocess.run(["unzip", "-p", path, name], capture_output=True, check=False)
    assert result.returncode in (0, 1, 2), result.stderr
    return result.stdout


def with_zip64_end(data):
    """The archive with a zip64 record and its locator, which large archives have, before its end record."""
    place = data.rindex(END)
    count, length, start = struct.unpack_from("<HII", data, place + 10)
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, length, start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, place, 1)
    return data[:place] + record + locator + struct.pack("<4sHHHHIIH", END, 0, 0, *(0xFFFF,) * 2, *(2**32 - 1,) * 2, 0)


@pytest.mark.skipif(not shutil.which("unzip"), reason="unzip is the reference")
@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize(
    ("before", "behind"),
    [(b"#!/bin/sh\n" * 99, b""), (b"", b"\0" * 50_000), (b"x" * 70_000, b"PK\x05\x06"), (b"PK\x03\x04", b"\n")],
    ids=["before", "behind", "both", "signatures"],
)
def test_bytes_before_and_behind_are_passed_over_as_unzip_does(path, before, behind, zip64):
    data = path.read_bytes()
    path.write_bytes(before + (with_zip64_end(data) if zip64 else data) + behind)
    assert read_all(path) == CONTENT
    assert {name: by_unzip(path, name) for name in CONTENT} == CONTENT


def test_one_archive_behind_another_is_the_last(tmp_path, path):
    other = write_zip(tmp_path / "b.zip", {"b.jpg": b"b"})
    other.write_bytes(path.read_bytes() + other.read_bytes())
    assert read_all(other) == {"b.jpg": b"b"}


def test_a_self_extractor_whose_positions_were_corrected(path):
    data = path.read_bytes()
    with open(path, "wb") as file:
        file.write(b"#!/bin/sh\n" * 99)
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in CONTENT.items():
                archive.writestr(name, content)
    assert path.read_bytes()[990 : 990 + 100] == data[:100]
    assert read_all(path) == CONTENT


def test_an_end_record_within_the_comment_is_not_taken(path):
    data = path.read_bytes()
    false_end = struct.pack("<4sHHHHIIH", END, 0, 0, 9, 9, 99, 0, 0)
    path.write_bytes(data[:-2] + struct.pack("<H", len(false_end) + 4) + b"see " + false_end)
    assert read_all(path) == CONTENT


def test_more_members_than_the_old_format_can_count(tmp_path):
    """Old writers note the lower 16 bits of the number: nothing is cut off."""
    path = tmp_path / "a.zip"
    entry = struct.pack("<4s6H3I5H2I", CENTRAL, 20, 20, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0) + b"1.jpg"
    for count, noted in ((66_000, 66_000 - 65_536), (66_000, 465), (4, 5)):
        end = struct.pack("<4sHHHHIIH", END, 0, 0, noted, noted, count * len(entry), 0, 0)
        path.write_bytes(entry * count + end)
        if (count - noted) % 65_536:
            with pytest.raises(UserError, match="list of members is damaged"):
                open_images(path).names()
        else:
            assert len(open_images(path).names()) == count


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (b"", "zip64 extra field"),
        (b"\x01", "zip64 extra field"),
        (struct.pack("<HH", 1, 0), "zip64 extra field"),
        (struct.pack("<HHI", 1, 4, 5), "zip64 extra field"),
        (struct.pack("<HHQ", 1, 24, 5), "zip64 extra field"),
        (struct.pack("<HHQQQ", 1, 0xFFFF, 5, 5, 0), None),
        (struct.pack("<HHQQQ", 1, 24, 5, 5, 0), None),
        (struct.pack("<HHQQQ", 1, 24, 2**64 - 1, 5, 0), "CRC-32"),
        (struct.pack("<HHQQQ", 1, 24, 5, 2**64 - 1, 0), "beyond the end"),
        (struct.pack("<HHQQQ", 1, 24, 5, 5, 2**64 - 1), "beyond the end"),
        (struct.pack("<HHQQQ", 1, 24, 5, 2**63, 2**63), "beyond the end"),
    ],
)
def test_zip64_extra_fields_short_false_and_huge(tmp_path, field, words):
    path = tmp_path / "a.zip"
    data, name, full = b"bytes", b"1.jpg", 2**32 - 1
    local = struct.pack("<4s5H3I2H", LOCAL, 20, 0, 0, 0, 0, zlib.crc32(data), 5, 5, len(name), 0) + name + data
    entry = struct.pack(
        "<4s6H3I5H2I", CENTRAL, 45, 45, *(0,) * 4, zlib.crc32(data), full, full, 5, len(field), *(0,) * 5
    )
    entry = entry[:-4] + struct.pack("<I", full) + name + field
    path.write_bytes(local + entry + struct.pack("<4sHHHHIIH", END, 0, 0, 1, 1, len(entry), len(local), 0))
    source = open_images(path)
    assert source.names() == ["1.jpg"]
    if words is None:
        assert source.read("1.jpg") == data
    else:
        with pytest.raises(ImageError, match=words):
            source.read("1.jpg")


def test_a_deflated_size_that_cannot_be_is_no_reason_for_memory(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"1.jpg": b"1" * 1000}, zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    place = data.index(CENTRAL)
    for size in (2**31, 2**32 - 2):
        data[place + 24 : place + 28] = struct.pack("<I", size)
        path.write_bytes(data)
        with pytest.raises(ImageError, match=f"becomes {size} bytes"):
            open_images(path).read("1.jpg")


@pytest.mark.parametrize("values", [(1, 2**64 - 1, 0), (2**64 - 1,) * 3, (1, 60, 2**64 - 1), (1, 60, 2**63 - 30)])
def test_a_zip64_directory_that_cannot_be_is_a_message(path, values):
    data = bytearray(with_zip64_end(path.read_bytes()))
    place = data.index(b"PK\x06\x06")
    data[place + 32 : place + 56] = struct.pack("<QQQ", *values)
    path.write_bytes(data)
    with pytest.raises(UserError, match="list of members is damaged"):
        open_images(path).names()
    data[place : place + 4] = b"none"
    path.write_bytes(data)
    with pytest.raises(UserError, match="list of members is damaged"):
        open_images(path).names()


def test_a_member_under_another_name_in_its_place_is_not_taken(path):
    place = path.read_bytes().index(b"top/2.jpg")
    data = bytearray(path.read_bytes())
    data[place : place + 9] = b"top/9.jpg"
    path.write_bytes(data)
    source = open_images(path)
    with pytest.raises(ImageError, match=r"another file at its place: top/9\.jpg"):
        source.read("top/2.jpg")
    assert source.read("top/3.jpg") == CONTENT["top/3.jpg"]
    with zipfile.ZipFile(path) as archive, pytest.raises(zipfile.BadZipFile, match="differ"):
        archive.read("top/2.jpg")


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"Rar!\x1a\x07", "RAR"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh91AY&SY", "bzip2"),
        (b"\x28\xb5\x2f\xfd\x04", "zstd"),
        (b"a.jpg".ljust(257, b"\0") + b"ustar", "tar"),
    ],
)
def test_archives_of_other_kinds_are_named(tmp_path, start, words):
    (tmp_path / "a.zip").write_bytes(start + bytes(1000))
    with pytest.raises(UserError, match=rf"is an? {words} archive\. Unpack it"):
        open_images(tmp_path / "a.zip").names()


def test_a_part_of_a_split_archive_is_named(path):
    data = bytearray(path.read_bytes())
    data[data.rindex(END) + 4 : data.rindex(END) + 8] = struct.pack("<HH", 2, 2)
    path.write_bytes(data)
    with pytest.raises(UserError, match="one part of a split archive"):
        open_images(path).names()
    path.write_bytes(b"PK\7\x08PK\3\4" + bytes(1000))  # how the first part begins
    with pytest.raises(UserError, match="one part of a split archive"):
        open_images(path).names()


def test_a_disk_that_cannot_be_read_is_no_damage(path, monkeypatch):
    source = open_images(path)
    (first, *_) = source.index()[1]

    def fail(*arguments):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("vaebench.data.archive.zips.os.pread", fail)
    for read in (lambda: source.read_at(first), source.digest, lambda: open_images(path).names()):
        with pytest.raises(UserError, match=rf"cannot read {path}: Input/output error"):
            read()


def test_an_archive_that_becomes_shorter_while_it_is_read(path):
    """Every reader notices, whether it opened the archive before or after."""
    source = open_images(path)
    places = source.index()[1]
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        with open(path, "r+b") as file:
            file.truncate(length)
        for place in places:
            try:
                assert source.read_at(place) in CONTENT.values()
            except ImageError:
                continue
        path.write_bytes(whole)


def test_names_longer_than_usual(tmp_path):
    content = {"a/" * 200 + f"{row}.jpg": bytes([row]) * 100 for row in range(3)}
    assert read_all(write_zip(tmp_path / "a.zip", content)) == content


def test_two_places_exchanged_are_noticed(path):
    """Both members are whole and have their CRC: only their names tell."""
    data = bytearray(path.read_bytes())
    first = data.index(CENTRAL)
    second = data.index(CENTRAL, first + 4)
    for field in (slice(16, 28), slice(42, 46)):
        one, two = ((slice(place + field.start, place + field.stop)) for place in (first, second))
        data[one], data[two] = data[two], data[one]
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"top/1\.jpg"):
        open_images(path).read("top/0.jpg")


def test_names_in_the_encodings_that_archives_have(tmp_path):
    """UTF-8 whether or not the archive says so (macOS does not), and code page 437."""
    path = tmp_path / "a.zip"
    raw = ["größe.jpg".encode(), b"gr\x94\xe1e.jpg", b"gr\xf6\xdfe.jpg"]
    entries = [
        struct.pack("<4s6H3I5H2I", CENTRAL, 20, 20, flags, *(0,) * 6, len(name), *(0,) * 6) + name
        for flags, name in zip((0x800, 0, 0, 0x800), (raw[0], *raw[:2], raw[2]), strict=True)
    ]
    length = len(b"".join(entries))
    path.write_bytes(b"".join(entries) + struct.pack("<4sHHHHIIH", END, 0, 0, 4, 4, length, 0, 0))
    assert open_images(path).names() == ["größe.jpg", "größe.jpg", "größe.jpg", "gr%F6%DFe.jpg"]


def test_the_old_field_for_a_name_in_utf_8(tmp_path):
    path = tmp_path / "a.zip"
    raw, right = b"gr\xf6\xdfe.jpg", "größe.jpg"
    for crc, expected in ((zlib.crc32(raw), right), (1, raw.decode("cp437"))):
        field = struct.pack("<HHBI", 0x7075, 5 + len(right.encode()), 1, crc) + right.encode()
        entry = struct.pack("<4s6H3I5H2I", CENTRAL, 20, 20, *(0,) * 7, len(raw), len(field), *(0,) * 5) + raw + field
        path.write_bytes(entry + struct.pack("<4sHHHHIIH", END, 0, 0, 1, 1, len(entry), 0, 0))
        assert open_images(path).names() == [expected]


def test_random_damage_to_the_lists_is_a_message(tmp_path, path):
    """Whatever is in the records: the content, or one of the two errors that are meant for the user."""
    whole, rng = with_zip64_end(path.read_bytes()), np.random.default_rng(0)
    first = whole.index(CENTRAL)
    values = [bytes(8), b"\xff" * 8, b"\xff" * 4, struct.pack("<Q", 2**63 - 1), b"\xff\xff", b"\x01", b"PK\x05\x06"]
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            place, value = int(rng.integers(first, len(data))), values[rng.integers(len(values))]
            data[place : place + len(value)] = value
        path.write_bytes(data)
        try:
            source = open_images(path)
            locators = source.index()[1]
        except UserError:
            continue
        for locator in locators:
            try:
                assert source.read_at(locator) in CONTENT.values()
            except ImageError:
                continue


def test_a_name_that_no_file_can_have_takes_no_memory(tmp_path):
    """All names would take as much memory as it: 1.3 GB for 20,000 names beside one of 65,000 bytes."""
    path = write_zip(tmp_path / "a.zip", {"1.jpg": b"1", "x" * 5000 + ".jpg": b"2"})
    with pytest.raises(UserError, match="a name in its list of members has 5004 bytes"):
        open_images(path).index()
    assert len(open_images(write_zip(path, {"x" * 4092 + ".jpg": b"2"})).names()) == 1


def test_a_link_in_an_archive_is_said_to_be_one(tmp_path):
    link = zipfile.ZipInfo("2.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("1.jpg", b"1")
        archive.writestr(link, "1.jpg")
    assert open_images(tmp_path / "a.zip").read("1.jpg") == b"1"
    with pytest.raises(UnsupportedImageError, match="a link in the archive, which is not followed"):
        open_images(tmp_path / "a.zip").read("2.jpg")
