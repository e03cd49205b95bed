"""Zip and folder behind one interface, against zipfile and the file system; the partition in its known forms."""

import pickle
import zipfile

import numpy as np
import pytest
from image_cases import encoded, faces, picture, write_zip

from vaebench.base.errors import UserError
from vaebench.data.archive import packed_names
from vaebench.data.archive.image_file import ImageError, UnsupportedImageError
from vaebench.data.archive.images import keys, open_images, read_partition
from vaebench.data.archive.zips import ZipReader

CONTENT = {f"top/{row}.jpg": bytes([row]) * (row * 1000 + 1) for row in range(5)}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_gives_what_zipfile_gives(tmp_path, compression):
    path = write_zip(tmp_path / "a.zip", CONTENT, compression)
    source = pickle.loads(pickle.dumps(open_images(path)))
    with zipfile.ZipFile(path) as archive:
        assert source.names() == archive.namelist()
        assert all(source.read(name) == archive.read(name) for name in source.names())
    with pytest.raises(KeyError):
        source.read("top/none.jpg")


def test_a_zip_with_zip64_records_comments_and_unicode_names(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = b"a comment that holds PK\x05\x06 somewhere" + b" " * 200
        with archive.open("top/ünïcode 1.jpg", "w", force_zip64=True) as member:
            member.write(b"one")
        archive.writestr("top/2.jpg", b"two")
    source = open_images(path)
    assert [source.read(name) for name in source.names()] == [b"one", b"two"]


def test_a_zip_of_more_than_65535_members_needs_the_zip64_directory(tmp_path):
    """zipfile itself takes ten seconds for so many members: most of them are made by repeating one entry."""
    count = 66_000
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one.jpg", b"one")
        archive.filelist *= count
    source = open_images(path)
    paths, places = source.index()
    assert len(paths) == count
    assert source.read_at(places[-1]) == b"one"
    assert paths.nbytes + places.nbytes < count * 20


def test_values_that_overflow_32_bits_are_taken_from_the_zip64_field(tmp_path):
    """A sparse archive whose second member starts beyond 4 GB."""
    path = tmp_path / "a.zip"
    with open(path, "wb") as file:
        file.seek(5_000_000_000)
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("far.jpg", b"far away")
    source = open_images(path)
    assert source.read("far.jpg") == b"far away"


def test_folders_hidden_files_and_other_files_are_no_images(tmp_path):
    path = write_zip(
        tmp_path / "a.zip",
        {
            "d/": b"",
            "d/1.JPG": b"1",
            "__MACOSX/d/._1.jpg": b"",
            "d/.2.jpg": b"",
            ".thumbnails/2.jpg": b"",
            "@eaDir/1.JPG/SYNOPHOTO_THUMB_M.jpg": b"",
            "$RECYCLE.BIN/$R1.jpg": b"",
            "d/list.txt": b"",
            "./../d/3.jpg": b"",
        },
    )
    assert open_images(path).names() == ["d/1.JPG", "../d/3.jpg"]


def test_a_folder_is_walked_in_order(tmp_path):
    for name, data in CONTENT.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "zero.png").write_bytes(b"0")
    source = open_images(tmp_path)
    assert source.names() == ["zero.png", *CONTENT]
    assert source.read("top/3.jpg") == CONTENT["top/3.jpg"]
    before = source.digest()
    (tmp_path / "zero.png").write_bytes(b"00")
    assert source.digest() != before


@pytest.mark.parametrize("cut", [10, 30, 300])
def test_an_archive_cut_short_is_an_error(tmp_path, cut):
    path = write_zip(tmp_path / "a.zip", CONTENT)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(UserError, match=r"cut short.*download it again"):
        open_images(path).names()


def test_what_is_no_archive_is_named(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"<!DOCTYPE html><html>quota</html>")
    with pytest.raises(UserError, match="HTML page"):
        open_images(tmp_path / "a.zip").names()
    (tmp_path / "a.zip").write_bytes(b"")
    with pytest.raises(UserError, match="it is empty"):
        open_images(tmp_path / "a.zip").names()
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    with pytest.raises(UserError, match=r"it is no zip\. Give a zip or a folder of images"):
        open_images(tmp_path / "a.jpg").names()
    with pytest.raises(UserError, match="no such file or folder"):
        open_images(tmp_path / "none")


def test_a_damaged_list_of_members_is_an_error(tmp_path):
    path = write_zip(tmp_path / "a.zip", CONTENT)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02")] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UserError, match="list of members is damaged"):
        open_images(path).names()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_flipped_byte_of_a_member_is_noticed(tmp_path, compression):
    path = write_zip(tmp_path / "a.zip", {"1.jpg": encoded(picture(0, 40, 40))}, compression)
    source = open_images(path)
    _, (place,) = source.index()
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("1.jpg")
    start = info.header_offset + 30 + len(info.filename)
    for position in range(start, start + info.compress_size, 37):
        with open(path, "r+b") as file:
            file.seek(position)
            (old,) = file.read(1)
            file.seek(position)
            file.write(bytes([old ^ 4]))
        with pytest.raises(ImageError):
            open_images(path).read_at(place)
        with open(path, "r+b") as file:
            file.seek(position)
            file.write(bytes([old]))
    assert open_images(path).read_at(place)


def test_members_that_cannot_be_read_say_why(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"1.jpg": b"1" * 100}, zipfile.ZIP_BZIP2)
    with pytest.raises(UnsupportedImageError, match="compression method 12"):
        open_images(path).read("1.jpg")
    path = write_zip(tmp_path / "b.zip", {"1.jpg": b"1" * 100})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(UnsupportedImageError, match="encrypted"):
        open_images(path).read("1.jpg")
    data[data.index(b"PK\x01\x02") + 8] &= 0xFE
    data[0] = 0
    path.write_bytes(data)
    with pytest.raises(ImageError, match="no file at its place"):
        open_images(path).read("1.jpg")


def test_the_digest_of_a_zip_changes_with_any_member(tmp_path):
    digests = set()
    for content in (CONTENT, CONTENT | {"top/3.jpg": b"x"}, CONTENT | {"top/9.jpg": b""}):
        digests.add(ZipReader(write_zip(tmp_path / "a.zip", content)).digest())
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.txt", "000001.jpg 0\r\n000002.jpg 1\r\n000003.jpg 2\r\n"),
        ("p.txt", "000001.jpg 0\n000002.jpg   1\n\n000003.jpg\t2"),
        ("p.csv", "image_id,partition\n000001.jpg,0\n000002.jpg,1\n000003.jpg,2\n"),
        ("p.csv", '\ufeffimage_id,partition\r\n"000001.jpg","0"\r\n000002.jpg, 1\r\n000003.jpg,2\r\n'),
        ("p.txt", "file split\n./000001.jpg 0\n./000002.jpg 1\n./000003.jpg 2\n"),
    ],
)
def test_partition_files(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode())
    partition = read_partition(tmp_path / name)
    assert dict(partition) == {"000001.jpg": 0, "000002.jpg": 1, "000003.jpg": 2}
    assert "000004.jpg" not in partition
    assert len(partition) == 3


def test_names_with_spaces_and_commas(tmp_path):
    (tmp_path / "p.txt").write_text("my image, one.jpg 0\nb.jpg 2\n")
    assert dict(read_partition(tmp_path / "p.txt")) == {"my image, one.jpg": 0, "b.jpg": 2}
    (tmp_path / "p.csv").write_text('name,split\n"my image, one.jpg",0\nb.jpg,2\n')
    assert dict(read_partition(tmp_path / "p.csv")) == {"my image, one.jpg": 0, "b.jpg": 2}


@pytest.mark.parametrize(
    "text", ["1.jpg 0\n2.jpg 3\n", "1.jpg 0\n2.jpg\n", "1.jpg 0\n<html>\n", "1.jpg 0\n2.jpg train\n"]
)
def test_a_bad_line_is_named(tmp_path, text):
    (tmp_path / "p.txt").write_text(text)
    with pytest.raises(UserError, match=r"p\.txt, line 2: expected an image name"):
        read_partition(tmp_path / "p.txt")


@pytest.mark.parametrize("name", ["p.txt", "p.csv"])
def test_a_partition_in_another_encoding(tmp_path, name):
    text = "größe.jpg,0\n1.jpg,0\nüber.jpg,1\n".replace(",", " " if name == "p.txt" else ",")
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert dict(read_partition(tmp_path / name)) == {"größe.jpg": 0, "1.jpg": 0, "über.jpg": 1}
    (tmp_path / name).write_bytes(text.encode().replace("ü".encode(), "ü".encode("latin-1")))
    with pytest.raises(UserError, match=rf"{name}, line 3: not UTF-8"):
        read_partition(tmp_path / name)


@pytest.mark.parametrize("first", ["0.jpg -1", "0.jpg 3", "0.jpg train", "0.jpg O", "0001 -1", "0001 0.5", "0.JPG x"])
@pytest.mark.parametrize("name", ["p.txt", "p.csv"])
def test_a_first_line_that_names_an_image_is_no_header(tmp_path, name, first):
    text = f"{first}\n1.jpg 0\n"
    (tmp_path / name).write_text(text.replace(" ", ",") if name == "p.csv" else text)
    with pytest.raises(UserError, match=rf"{name}, line 1: expected an image name .* got '{first[:4]}"):
        read_partition(tmp_path / name)


@pytest.mark.parametrize("name", ["p.txt", "p.csv"])
@pytest.mark.parametrize("letters", [4191, 131_071, 131_073, 3_000_000])
def test_a_line_too_long_for_a_name_is_a_message(tmp_path, name, letters):
    text = f"1.jpg 0\n{'x' * letters} 0\n2.jpg 1\n"
    (tmp_path / name).write_text(text.replace(" ", ",") if name == "p.csv" else text)
    with pytest.raises(UserError, match=rf"{name}, line 2: longer than 4192 characters"):
        read_partition(tmp_path / name)


def test_an_empty_partition(tmp_path):
    (tmp_path / "p.txt").write_text("\n")
    with pytest.raises(UserError, match="lists no image"):
        read_partition(tmp_path / "p.txt")


@pytest.mark.parametrize(
    ("paths", "wanted", "expected"),
    [
        (["img_align_celeba/1.jpg"], ["1.jpg"], ["1.jpg"]),
        (
            ["img_align_celeba/img_align_celeba/1.jpg", "img_align_celeba/img_align_celeba/2.jpg"],
            ["1.jpg"],
            ["1.jpg", "2.jpg"],
        ),
        (["top/a/1.jpg", "top/b/1.jpg"], ["a/1.jpg"], ["a/1.jpg", "b/1.jpg"]),
        (["top/a/1.jpg", "top/2.jpg"], ["a/1.jpg", "2.jpg"], ["a/1.jpg", "2.jpg"]),
        (["img/1.jpg", "img/2.jpg"], ["img/1.jpg"], ["img/1.jpg", "img/2.jpg"]),
        (["train/1.jpg", "test/1.jpg"], ["train/1.jpg"], ["train/1.jpg", "test/1.jpg"]),
        (["preview.jpg", "celeba/1.jpg"], ["1.jpg"], ["preview.jpg", "1.jpg"]),
        (["top/a/1.jpg", "top/a/2.jpg"], ["a/1.jpg"], ["a/1.jpg", "a/2.jpg"]),
        (["img/img/1.jpg"], ["img/1.jpg"], ["img/1.jpg"]),
        (["img/img/1.jpg"], ["img/img/1.jpg"], ["img/img/1.jpg"]),
        (["img/1.jpg", "img/x/y/2.jpg"], ["img/1.jpg"], ["img/1.jpg", "y/2.jpg"]),
        (["A/1.jpg"], ["a/1.jpg"], ["A/1.jpg"]),
        (["1.jpg"], ["a/1.jpg"], ["1.jpg"]),
        (["a/1.jpg", "b/1.jpg"], ["1.jpg"], ["1.jpg", "1.jpg"]),
        (["top/1.jpg", "top/2.jpg"], ["1.jpg", "a/b/c/9.jpg"], ["1.jpg", "2.jpg"]),
        (["top/a/1.jpg", "top/2.jpg"], ["a/1.jpg", "2.jpg", "x/y/z.jpg"], ["a/1.jpg", "2.jpg"]),
    ],
)
def test_what_the_partition_calls_an_image(paths, wanted, expected):
    assert list(packed_names.unpack(keys(packed_names.pack(paths), packed_names.pack(wanted)))) == expected


def test_names_are_packed_found_and_counted():
    packed = packed_names.pack(f"{row}.jpg" for row in range(10_000))
    assert packed.nbytes == 80_000
    assert list(packed_names.unpack(packed[9_998:])) == ["9998.jpg", "9999.jpg"]
    wanted = packed_names.pack(["9999.jpg", "none", "0.jpg"])
    assert packed_names.find(wanted, packed).tolist() == [9999, -1, 0]
    assert packed_names.find(wanted, packed[:0]).tolist() == [-1, -1, -1]
    assert packed_names.repeated(packed_names.pack(["a", "b", "a", "c", "b", "a"])).tolist() == [
        True,
        True,
        True,
        False,
        True,
        True,
    ]
    assert packed_names.find(packed_names.pack(["a"]), packed_names.pack(["b", "a", "a"])).tolist() == [1]
    assert not len(packed_names.pack([]))
    assert np.array_equal(packed_names.pack(faces(0)), np.empty(0, "S1"))
