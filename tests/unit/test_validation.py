"""Every kind of damage is found, in a zip and in a folder, and the table and the summary say so."""

import csv
import json
import os
import signal
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
from image_cases import READING, SETTINGS, encoded, faces, picture, validate, write_celeba, write_partition, write_zip
from odd_jpegs import jpeg
from PIL import ExifTags, Image

from vaebench.base.errors import UserError
from vaebench.data.archive.decoding import decode
from vaebench.data.validation import COLUMNS
from vaebench.data.worker_pool import in_order, worker_pool

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"


def run(folder, images, partition, workers=1, **settings):
    validate(images, partition, folder / "images.csv", folder / "summary.json", SETTINGS | settings, workers)
    return table(folder), json.loads((folder / "summary.json").read_text())


def table(folder, name="images.csv"):
    with open(folder / name, newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


SOUND = encoded(picture(1))
DAMAGE = {
    "empty": (b"", "damaged", "empty file"),
    "html": (b"<!DOCTYPE html><html></html>", "damaged", "HTML page"),
    "noise": (bytes(range(256)) * 20, "damaged", "no known image format"),
    "cut at half": (SOUND[: len(SOUND) // 2], "damaged", "Premature end"),
    "cut at 99 %": (SOUND[: len(SOUND) * 99 // 100], "damaged", "Premature end"),
    "no end marker": (SOUND[:-2], "damaged", "Premature end"),
    "zero tail": (SOUND[: len(SOUND) // 2] + bytes(len(SOUND) // 2), "damaged", "JPEG"),
    "png": (encoded(picture(1), "PNG"), "unexpected", "format is PNG, expected JPEG"),
    "grey": (encoded(picture(1, mode="L")), "unexpected", "mode is L, expected RGB"),
    "cmyk": (encoded(picture(1).convert("CMYK")), "unexpected", "mode is CMYK, expected RGB"),
    "wide": (encoded(picture(1, 179, 218)), "unexpected", "width is 179, expected 178"),
    "turned": (encoded(picture(1, 218, 178)), "unexpected", "width is 218, expected 178"),
    "high": (encoded(picture(1, 178, 219)), "unexpected", "height is 219, expected 218"),
}


@pytest.mark.parametrize("place", ["stored", "deflated", "folder"])
def test_each_damage_is_found_with_its_reason(tmp_path, place):
    files = {f"{name}.jpg": data for name, (data, *_) in DAMAGE.items()} | {"sound.jpg": SOUND}
    partition = write_partition(tmp_path / "partition.txt", files)
    if place == "folder":
        images = tmp_path / "images"
        images.mkdir()
        for name, data in files.items():
            (images / name).write_bytes(data)
    else:
        kind = zipfile.ZIP_STORED if place == "stored" else zipfile.ZIP_DEFLATED
        images = write_zip(tmp_path / "images.zip", files, kind)
    rows, summary = run(tmp_path, images, partition, max_bad_fraction=1)
    for name, (data, status, reason) in DAMAGE.items():
        row = rows[f"{name}.jpg"]
        assert row["status"] == status, row
        assert reason in row["reason"], row
        assert row["bytes"] == str(len(data))
    assert rows["sound.jpg"]["status"] == "ok"
    assert (rows["sound.jpg"]["width"], rows["sound.jpg"]["height"]) == ("178", "218")
    assert summary["bad"] == len(DAMAGE)
    assert summary["status"] == {"ok": 1, "damaged": 7, "unexpected": 6}


def test_a_flipped_byte_that_every_decoder_passes_is_found_in_a_zip(tmp_path):
    images, partition = write_celeba(tmp_path, {"1.jpg": SOUND, "2.jpg": SOUND})
    data = bytearray(images.read_bytes())
    data[data.index(SOUND) + len(SOUND) // 2] ^= 1
    decode(bytes(data[data.index(SOUND[:100]) :][: len(SOUND)]), 3, READING)  # it does decode
    images.write_bytes(data)
    rows, _ = run(tmp_path, images, partition)
    assert rows["1.jpg"]["status"] == "damaged"
    assert "CRC-32" in rows["1.jpg"]["reason"]
    assert rows["2.jpg"]["status"] == "ok"


def test_missing_unlisted_and_repeated_images_are_found(tmp_path):
    names = ["1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg"]
    content = [(f"a/{name}", SOUND) for name in names] + [("a/2.jpg", SOUND), ("b/3.jpg", SOUND)]
    with pytest.warns(UserWarning, match="Duplicate name"):
        images = write_zip(tmp_path / "images.zip", content)
    partition = write_partition(tmp_path / "partition.txt", ["1.jpg", "2.jpg", "3.jpg", "4.jpg", "4.jpg", "9.jpg"])
    rows, summary = run(tmp_path, images, partition, max_bad_fraction=1)
    assert {name: row["status"] for name, row in rows.items()} == {
        "1.jpg": "ok",
        "2.jpg": "duplicate",
        "3.jpg": "duplicate",
        "4.jpg": "duplicate",
        "9.jpg": "missing",
        "5.jpg": "unlisted",
    }
    assert rows["2.jpg"]["reason"] == "two images of this name"
    assert rows["4.jpg"]["reason"] == "listed twice in the partition"
    assert summary["images"] == 6
    assert summary["bad"] == 5
    assert summary["splits"]["eval"] == {"duplicate": 1}


@pytest.mark.parametrize("place", ["zip", "folder"])
def test_files_of_kinds_that_are_not_read_are_listed(tmp_path, place):
    """Camera raw, JPEG XL and archives were passed over in silence; texts among images still are."""
    files = {
        f"set/{name}": SOUND for name in ("1.jpg", "2.JPG", "raw/1.DNG", "raw/2.dng", "3.jxl", "more.zip", ".4.dng")
    }
    files |= {"set/README": b"", "set/notes.txt": b""}
    images = write_zip(tmp_path / "images.zip", files) if place == "zip" else tmp_path / "images"
    if place == "folder":
        for name, data in files.items():
            (images / name).parent.mkdir(parents=True, exist_ok=True)
            (images / name).write_bytes(data)
    partition = write_partition(tmp_path / "partition.txt", ["1.jpg", "2.JPG", "raw/2.dng"])
    rows, summary = run(tmp_path, images, partition, max_bad_fraction=0.4)
    assert {name: row["status"] for name, row in rows.items()} == {
        "1.jpg": "ok",
        "2.JPG": "ok",
        "raw/2.dng": "unsupported",
        "set/3.jxl": "unlisted",
        "set/more.zip": "unlisted",
        "set/raw/1.DNG": "unlisted",
    }
    for name in ("raw/2.dng", "set/3.jxl"):
        assert rows[name]["reason"] == "a kind that is not read: convert to JPEG or PNG, unpack an archive"
    assert (summary["images"], summary["bad"]) == (3, 1), "what the partition does not list is no fault"
    assert summary["reasons"] == {
        f"{status}: {rows['raw/2.dng']['reason']}": count for status, count in (("unlisted", 3), ("unsupported", 1))
    }


def test_kinds_that_pillow_reads_by_rarer_names_are_images(tmp_path):
    image = picture(0, 16, 16)
    kinds = {"1.apng": "PNG", "2.j2c": "JPEG2000", "3.jpx": "JPEG2000", "4.avifs": "AVIF"}
    images = write_zip(tmp_path / "images.zip", {name: encoded(image, kind) for name, kind in kinds.items()})
    partition = write_partition(tmp_path / "partition.txt", list(kinds))
    rows, _ = run(tmp_path, images, partition, format=None, width=16, height=16)
    assert {row["status"] for row in rows.values()} == {"ok"}


def test_too_many_bad_images_stop_with_the_list(tmp_path):
    images, partition = write_celeba(tmp_path, faces(18) | {"bad.jpg": b"", "worse.jpg": SOUND[:500]})
    with pytest.raises(UserError) as error:
        run(tmp_path, images, partition, max_bad_fraction=0.09)
    message = str(error.value)
    assert "2 of 20 images" in message
    assert "bad.jpg: damaged, empty file" in message
    assert "worse.jpg" in message
    assert str(tmp_path / "bad_images.csv") in message
    assert "delete it and download it again" in message
    assert table(tmp_path, "bad_images.csv").keys() == {"bad.jpg", "worse.jpg"}
    assert not (tmp_path / "images.csv").exists()
    assert not (tmp_path / "summary.json").exists()
    rows, summary = run(tmp_path, images, partition, max_bad_fraction=0.1)
    assert summary["bad"] == 2
    assert len(rows) == 20
    assert not (tmp_path / "bad_images.csv").exists()


def test_nobody_is_told_to_delete_a_folder(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/bad.jpg").write_bytes(b"")
    (tmp_path / "p.txt").write_text("bad.jpg 0\n")
    with pytest.raises(UserError, match="Mend or remove them; if these images are expected to be bad, raise") as error:
        run(tmp_path, tmp_path / "images", tmp_path / "p.txt", max_bad_fraction=0)
    assert "download" not in str(error.value)


def test_the_table_is_in_the_order_of_the_partition_whatever_the_workers(tmp_path):
    files = faces(3)
    names = [f"{row}.jpg" for row in range(900)]
    images, partition = write_celeba(tmp_path, {name: list(files.values())[row % 3] for row, name in enumerate(names)})
    texts = set()
    for workers in (1, 3):
        rows, _ = run(tmp_path, images, partition, workers)
        assert list(rows) == names
        texts.add((tmp_path / "images.csv").read_text())
    assert len(texts) == 1
    assert texts.pop().splitlines()[0] == ",".join(COLUMNS)


def test_any_format_when_none_is_asked_for(tmp_path):
    files = {
        "1.png": encoded(picture(0, 28, 28, "L"), "PNG"),
        "2.webp": encoded(picture(0, 30, 20), "WEBP"),
        "3.jpg": SOUND,
    }
    images, partition = write_celeba(tmp_path, files)
    anything = {"format": None, "mode": None, "width": None, "height": None}
    rows, _ = run(tmp_path, images, partition, **anything)
    assert {name: row["status"] for name, row in rows.items()} == dict.fromkeys(files, "ok")
    assert (rows["2.webp"]["width"], rows["2.webp"]["height"]) == ("30", "20")


def test_nothing_to_validate(tmp_path):
    images, partition = write_celeba(tmp_path, {})
    with pytest.raises(UserError, match="holds no images"):
        run(tmp_path, images, partition)


def test_results_come_in_order_and_errors_arrive():
    with worker_pool(3) as pool:
        assert list(in_order(pool, divmod, ((n, 7) for n in range(50)))) == [divmod(n, 7) for n in range(50)]
        with pytest.raises(ZeroDivisionError):
            list(in_order(pool, divmod, ((n, n - 20) for n in range(50))))


def test_a_killed_worker_is_a_clear_error():
    with pytest.raises(UserError, match="a worker process was killed"), worker_pool(2) as pool:
        list(in_order(pool, os.kill, ((pid, signal.SIGKILL) for pid in list(pool._processes))))


ANYTHING = {"format": None, "mode": None, "width": None, "height": None}


@pytest.mark.parametrize("place", ["stored", "deflated", "folder"])
def test_files_of_too_many_bytes_are_not_read(tmp_path, place):
    files = {"1.bmp": encoded(picture(1, 100, 100), "BMP"), "2.jpg": encoded(picture(1, 20, 20))}
    partition = write_partition(tmp_path / "partition.txt", files)
    if place == "folder":
        images = tmp_path / "images"
        images.mkdir()
        for name, data in files.items():
            (images / name).write_bytes(data)
    else:
        kind = zipfile.ZIP_STORED if place == "stored" else zipfile.ZIP_DEFLATED
        images = write_zip(tmp_path / "images.zip", files, kind)
    rows, _ = run(tmp_path, images, partition, **ANYTHING, max_bytes=30_053)
    assert {name: row["status"] for name, row in rows.items()} == {"1.bmp": "large", "2.jpg": "ok"}
    assert rows["1.bmp"]["reason"] == "30054 bytes, more than decoding.max_bytes: 30053"
    rows, _ = run(tmp_path, images, partition, **ANYTHING, max_bytes=30_054)
    assert rows["1.bmp"]["status"] == "ok"


MEASURE = """
import json, resource, sys
from pathlib import Path
from vaebench.base.values import from_dict
from vaebench.data.image_table import ImageFiles
from vaebench.data.validation import ValidationSettings, validate
folder, settings = Path(sys.argv[1]), from_dict(ValidationSettings, json.loads(sys.argv[2]))
files = ImageFiles(folder / "images.zip", folder / "partition.txt", folder / "images.csv")
validate(files, folder / "summary.json", settings, 1)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


def test_forged_sizes_take_no_memory(tmp_path):
    """Small files that say they are giants: a JPEG of 65,000 x 65,000 pixels, a member of 2 GB of zeros, and others."""
    zeros = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = zeros.compress(bytes(1 << 24)) + zeros.flush()
    files = {
        "fast.jpg": jpeg([(1, 1)] * 3, size=(65_000, 65_000)),
        "slow.jpg": jpeg([(3, 1), (1, 1), (1, 1)], size=(65_000, 65_000)),
        "grey.jpg": jpeg([(1, 1)], size=(65_000, 60_000)),
        "wide.bmp": encoded(picture(1, 9, 9), "BMP").replace(*(struct.pack("<ii", side, side) for side in (9, 50_000))),
        "bomb.png": packed,
    }
    images, _ = write_celeba(tmp_path, files)
    data = bytearray(images.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    struct.pack_into("<H", data, entry + 10, zipfile.ZIP_DEFLATED)
    struct.pack_into("<I", data, entry + 24, 2_000_000_000)
    images.write_bytes(data)
    settings = SETTINGS | ANYTHING | {"max_bad_fraction": 1}
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEASURE, str(tmp_path), json.dumps(settings)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert {name: row["status"] for name, row in table(tmp_path).items()} == dict.fromkeys(files, "large")
    assert int(done.stdout) < 200, "MB of a worker"


def test_small_images_are_listed_and_stop_nothing(tmp_path):
    files = {f"{side}.jpg": encoded(picture(1, side, 2 * side)) for side in (20, 30, 40, 50)}
    images, partition = write_celeba(tmp_path, files)
    rows, summary = run(tmp_path, images, partition, **ANYTHING, min_width=30, min_height=70, max_bad_fraction=0)
    assert {name: row["status"] for name, row in rows.items()} == {
        "20.jpg": "small",
        "30.jpg": "small",
        "40.jpg": "ok",
        "50.jpg": "ok",
    }
    assert rows["20.jpg"]["reason"] == "width is 20, less than validation.min_width: 30"
    assert rows["30.jpg"]["reason"] == "height is 60, less than validation.min_height: 70"
    assert summary["bad"] == 0
    assert summary["status"] == {"small": 2, "ok": 2}
    assert set(summary["reasons"]) == {f"small: {rows[name]['reason']}" for name in ("20.jpg", "30.jpg")}
    rows, _ = run(tmp_path, images, partition, **ANYTHING, crop={"center": [80, 40]}, max_bad_fraction=0)
    assert [row["status"] for row in rows.values()] == ["small", "small", "ok", "ok"]
    assert rows["30.jpg"]["reason"] == "30 x 60, less than preprocessing.crop {'center': [80, 40]}"


def test_the_size_is_that_of_the_turned_photograph(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    images, partition = write_celeba(tmp_path, {"1.jpg": encoded(picture(1, 218, 178), exif=exif)})
    rows, _ = run(tmp_path, images, partition, max_bad_fraction=0)
    assert (rows["1.jpg"]["width"], rows["1.jpg"]["height"]) == ("178", "218")
    rows, _ = run(tmp_path, images, partition, max_bad_fraction=1, exif_orientation=False)
    assert rows["1.jpg"]["reason"] == "width is 218, expected 178"


def test_an_image_for_which_no_memory_is_left_is_named(tmp_path, monkeypatch):
    def no_memory(*args):
        raise MemoryError

    images, partition = write_celeba(tmp_path, faces(2))
    monkeypatch.setattr("vaebench.data.validation.examine", no_memory)
    with pytest.raises(UserError, match=r"no memory left to decode 000001\.jpg in .*fewer threads"):
        run(tmp_path, images, partition)
