"""Names of images in every way that file systems, archives and partitions write them, and files that are none."""

import os
import random
import signal
import subprocess
import sys
import unicodedata
from contextlib import contextmanager

import pytest
from image_cases import SETTINGS, encoded, picture, validate, write_zip
from test_validation import table

from vaebench.base.errors import UserError
from vaebench.base.folders import folder_state
from vaebench.data.archive import packed_names
from vaebench.data.archive.decoding import ImageError
from vaebench.data.archive.images import open_images
from vaebench.data.archive.similar import similar

ANYTHING = SETTINGS | {"format": None, "mode": None, "width": None, "height": None, "max_bad_fraction": 1}
DATA = encoded(picture(0, 20, 20))


@contextmanager
def within(seconds):
    """A hang is a failure."""

    def stop(number, frame):
        raise TimeoutError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def judged(folder, images, listed):
    """{name: (status, reason)} of a partition of these names."""
    partition = folder / "partition.txt"
    partition.write_text("".join(f"{name} 0\n" for name in listed), encoding="utf-8")
    with within(20):
        validate(images, partition, folder / "images.csv", folder / "summary.json", ANYTHING, 1)
    return {name: (row["status"], row["reason"]) for name, row in table(folder).items()}


def write_folder(folder, files):
    for name, data in files.items():
        path = os.path.join(os.fsencode(folder), name if isinstance(name, bytes) else name.encode())
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
    return folder


NAMES = [
    "a b.jpg",
    "größe.jpg",
    "Å/é.jpg",
    "日本/写真1.jpg",
    "{}.jpg",
    "{run}/%d.jpg",
    'it\'s "so", or.jpg',
    "🙂.jpg",
    " blank.jpg",
]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("other", ["NFC", "NFD"])
@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_names_of_all_kinds_and_in_both_of_unicode_s_forms(tmp_path, form, other, kind):
    files = {unicodedata.normalize(form, name): DATA for name in NAMES}
    images = write_zip(tmp_path / "a.zip", files) if kind == "zip" else write_folder(tmp_path / "images", files)
    found = judged(tmp_path, images, [unicodedata.normalize(other, name) for name in NAMES])
    assert found == {unicodedata.normalize("NFC", name).strip(): ("ok", "") for name in NAMES}


@pytest.mark.parametrize("separators", ["\\/", "/\\", "\\\\"])
def test_windows_separators(tmp_path, separators):
    """Archives of old .NET libraries and partitions that were written on Windows."""
    inside, listed = separators
    images = write_zip(tmp_path / "a.zip", {f"photos{inside}a{inside}{row}.jpg": DATA for row in range(3)})
    found = judged(tmp_path, images, [f"a{listed}{row}.jpg" for row in range(3)])
    assert found == {f"a/{row}.jpg": ("ok", "") for row in range(3)}


def test_names_that_are_not_utf_8(tmp_path):
    """They are called by their bytes, in the partition as in the table."""
    images = write_folder(tmp_path / "images", {b"gr\xf6\xdfe.jpg": DATA, b"a\n.jpg": DATA})
    found = judged(tmp_path, images, ["gr%F6%DFe.jpg", "a%0A.jpg"])
    assert found == {"gr%F6%DFe.jpg": ("ok", ""), "a%0A.jpg": ("ok", "")}
    found = judged(tmp_path, images, ["größe.jpg"])
    assert found["größe.jpg"] == ("missing", "not among the images, which have gr%F6%DFe.jpg")


@pytest.mark.parametrize(
    ("listed", "there"),
    [
        ("a/b.jpg", "A/B.jpg"),
        ("a/b.jpg", "a/b.JPG"),
        ("1.jpg", "1.png"),
        ("1.jpg", "000001.jpg"),
        ("000001", "000001.jpg"),
        ("x/1.jpg", "y/1.jpg"),
        ("x/1.jpg", "y/001.PNG"),
        ("größe.jpg", "gr÷·e.jpg"),
        ("STRASSE.jpg", "straße.jpg"),
    ],
)
def test_the_name_that_was_probably_meant_is_said(tmp_path, listed, there):
    images = write_zip(tmp_path / "a.zip", {there: DATA, "other/2.jpg": DATA})
    found = judged(tmp_path, images, [listed, "other/2.jpg"])
    assert found[listed] == ("missing", f"not among the images, which have {there}")
    assert found[there] == ("unlisted", "not in the partition")


def test_the_hint_stands_in_the_message(tmp_path):
    images = write_zip(tmp_path / "a.zip", {f"A/{row}.JPG": DATA for row in range(30)})
    (tmp_path / "p.txt").write_text("".join(f"a/{row}.jpg 0\n" for row in range(30)))
    with pytest.raises(UserError, match=r"a/4\.jpg: missing, not among the images, which have A/4\.JPG; and 25 more"):
        validate(images, tmp_path / "p.txt", tmp_path / "i.csv", tmp_path / "s.json", SETTINGS, 1)


def test_the_smallest_difference_counts_and_what_differs_in_more_is_not_named():
    among = ["x/A.jpg", "a.png", "A.jpg", "b2.jpg"]
    assert similar(["a.jpg", "c/a.jpg", "b1.jpg", "c.jpg"], among) == {"a.jpg": "A.jpg", "c/a.jpg": "x/A.jpg"}
    assert similar([], among) == {}
    assert similar(["10.jpg", "7.jpg"], ["100.jpg", "1007.jpg", "x/0007.jpg"]) == {"7.jpg": "x/0007.jpg"}
    many = [f"{row}.JPG" for row in range(5000)]
    assert len(similar((name.lower() for name in many), many)) == 1000


def test_one_base_name_in_several_folders(tmp_path):
    images = write_zip(tmp_path / "a.zip", {"top/a/1.jpg": DATA, "top/b/1.jpg": DATA, "top/b/2.jpg": DATA})
    assert set(judged(tmp_path, images, ["a/1.jpg", "b/1.jpg", "b/2.jpg"]).values()) == {("ok", "")}
    reason = "images of this name in several folders: write the folder in the partition"
    assert judged(tmp_path, images, ["1.jpg", "2.jpg"]) == {"1.jpg": ("duplicate", reason), "2.jpg": ("ok", "")}


def test_what_is_no_file_is_named_and_nothing_hangs(tmp_path):
    images = write_folder(tmp_path / "images", {"a/1.jpg": DATA})
    os.mkfifo(images / "pipe.jpg")
    (images / "gone.jpg").symlink_to("/nowhere/1.jpg")
    (images / "endless.jpg").symlink_to("/dev/zero")
    (images / "self.jpg").symlink_to("self.jpg")
    (images / "folder.jpg").mkdir()
    listed = ["a/1.jpg", "pipe.jpg", "gone.jpg", "endless.jpg", "self.jpg", "folder.jpg"]
    with within(20):
        folder_state(images)
    found = judged(tmp_path, images, listed)
    no_file = ("damaged", "no file that can be read: a pipe, a device, or a link to nothing")
    assert found == dict.fromkeys(listed[1:5], no_file) | {
        "a/1.jpg": ("ok", ""),
        "folder.jpg": ("missing", "not among the images"),
    }
    source = open_images(images)
    (images / "a/1.jpg").unlink()
    with pytest.raises(ImageError, match="No such file"):
        source.read_at(b"a/1.jpg")


def test_links_are_followed_but_not_in_circles(tmp_path):
    outside = write_folder(tmp_path / "outside", {"deep/2.jpg": DATA})
    images = write_folder(tmp_path / "images", {"a/1.jpg": DATA})
    (images / "b").symlink_to(outside)
    (images / "a/3.jpg").symlink_to(outside / "deep/2.jpg")
    (images / "a/up").symlink_to(images)
    (outside / "back").symlink_to(images / "a")
    (tmp_path / "link").symlink_to(images)
    for root in (images, tmp_path / "link"):
        with within(20):
            found = open_images(root).names()
        assert found == ["a/1.jpg", "a/3.jpg", "b/deep/2.jpg"]
        assert open_images(root).read("b/deep/2.jpg") == DATA
    before = folder_state(images)
    (outside / "deep/2.jpg").write_bytes(DATA + b"\0")
    assert folder_state(images) != before, "an image behind a link was edited"


def test_folders_that_all_link_to_each_other_are_read_once(tmp_path):
    """Twelve have a billion ways through each other."""
    folders = [write_folder(tmp_path / f"images/{row:02d}", {"1.jpg": DATA}) for row in range(12)]
    for folder in folders:
        for other in folders:
            (folder / f"to {other.name}").symlink_to(other)
    with within(20):
        assert open_images(tmp_path / "images").names() == [f"{row:02d}/1.jpg" for row in range(12)]
        folder_state(tmp_path / "images")


def test_a_folder_is_called_by_its_own_name_not_by_that_of_a_link(tmp_path):
    images = write_folder(tmp_path / "images", {"people/deep/1.jpg": DATA})
    (images / "again").symlink_to(images / "people")
    (images / "below").symlink_to(images / "people/deep")
    (tmp_path / "parent").symlink_to(tmp_path)
    write_folder(tmp_path, {"other/2.jpg": DATA})
    (images / "out").symlink_to(tmp_path)
    assert open_images(images).names() == ["people/deep/1.jpg", "out/other/2.jpg"]


def test_folders_may_lie_deeper_than_python_recurses(tmp_path):
    depth = sys.getrecursionlimit() + 100
    (tmp_path / "images").mkdir()
    opened = os.open(tmp_path / "images", os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("a", dir_fd=opened)
        below = os.open("a", os.O_RDONLY, dir_fd=opened)
        os.close(opened)
        opened = below
    os.close(os.open("1.jpg", os.O_WRONLY | os.O_CREAT, dir_fd=opened))
    os.close(opened)
    try:
        assert open_images(tmp_path / "images").names() == ["a/" * depth + "1.jpg"]
    finally:
        subprocess.run(["rm", "-r", tmp_path / "images"], check=True)  # Python's rmtree recurses


def test_hidden_folders_are_neither_read_nor_watched(tmp_path):
    images = write_folder(tmp_path / "images", {"1.jpg": DATA, ".git/2.jpg": DATA, "a/.cache/3.jpg": DATA})
    before = folder_state(images)
    assert open_images(images).names() == ["1.jpg"]
    write_folder(images, {".git/4.jpg": DATA})
    assert folder_state(images) == before


def test_a_folder_that_cannot_be_listed_is_no_silent_cut(tmp_path, monkeypatch):
    images = write_folder(tmp_path / "images", {"1.jpg": DATA, "a/2.jpg": DATA})
    scandir = os.scandir

    def refuse(path):
        if os.fsdecode(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr("vaebench.base.folders.os.scandir", refuse)
    with pytest.raises(UserError, match=r"cannot read the folder .*/images/a: Permission denied"):
        open_images(images).names()


def test_any_name_becomes_one_that_a_line_of_text_can_hold():
    rng = random.Random(0)
    for _ in range(3000):
        raw = rng.randbytes(rng.randint(1, 12))
        name = packed_names.canonical_name(packed_names.readable(raw))
        assert name.encode().decode() == name
        assert len(f"{name}.".splitlines()) == 1
        assert packed_names.canonical_name(name) == name or name.startswith("./")
        assert list(packed_names.unpack(packed_names.pack([name]))) == [name]


def test_an_archive_of_another_code_page_is_told_apart(tmp_path):
    path, raw = tmp_path / "a.zip", b"gr\xf6\xdfe.jpg"
    write_zip(path, {"grXYe.jpg": DATA})
    path.write_bytes(path.read_bytes().replace(b"grXYe.jpg", raw))
    found = judged(tmp_path, path, ["größe.jpg"])
    assert found["größe.jpg"] == ("missing", f"not among the images, which have {raw.decode('cp437')}")
