"""Every kind of damage is found, in a zip and in a folder, and the table and the summary say so."""

import csv
import io
import json
import os
import signal
import zipfile

import numpy as np
import pytest
from image_cases import SETTINGS, encoded, faces, picture, write_celeba, write_partition, write_zip
from PIL import Image

from vaebench.decoding import ImageError, Memory, decode, examine
from vaebench.errors import UserError
from vaebench.validation import COLUMNS, validate
from vaebench.workers import in_order, worker_pool


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
    decode(bytes(data[data.index(SOUND[:100]) :][: len(SOUND)]), 3)  # it does decode
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


def test_too_many_bad_images_stop_with_the_list(tmp_path):
    images, partition = write_celeba(tmp_path, faces(18) | {"bad.jpg": b"", "worse.jpg": SOUND[:500]})
    with pytest.raises(UserError) as error:
        run(tmp_path, images, partition, max_bad_fraction=0.09)
    message = str(error.value)
    assert "2 of 20 images" in message
    assert "bad.jpg: damaged, empty file" in message
    assert "worse.jpg" in message
    assert str(tmp_path / "bad_images.csv") in message
    assert table(tmp_path, "bad_images.csv").keys() == {"bad.jpg", "worse.jpg"}
    assert not (tmp_path / "images.csv").exists()
    assert not (tmp_path / "summary.json").exists()
    rows, summary = run(tmp_path, images, partition, max_bad_fraction=0.1)
    assert summary["bad"] == 2
    assert len(rows) == 20
    assert not (tmp_path / "bad_images.csv").exists()


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


def test_damage_inside_other_formats_is_found():
    png = bytearray(encoded(picture(0, 60, 60), "PNG"))
    png[len(png) // 2] ^= 1
    with pytest.raises(ImageError):
        decode(bytes(png), 3)
    with pytest.raises(ImageError, match="not 8 bits"):
        decode(encoded(Image.fromarray(np.zeros((5, 5), np.uint16)), "PNG"), 3)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"subsampling": 0},
        {"subsampling": 1},
        {"progressive": True},
        {"quality": 30, "optimize": True},
        {"restart_marker_blocks": 3},
        {"keep_rgb": True},
    ],
)
@pytest.mark.parametrize("size", [(178, 218), (33, 47), (1, 1), (16, 8)])
def test_pixels_are_those_of_pillow(options, size):
    data = encoded(picture(3, *size), **options)
    for channels, mode in ((3, "RGB"), (1, "L")):
        header, pixels = decode(data, channels, Memory())
        expected = np.asarray(Image.open(io.BytesIO(data)).convert(mode))
        assert np.array_equal(pixels, expected.reshape(*size[::-1], channels))
        assert (header.format, header.mode, header.width, header.height) == ("JPEG", "RGB", *size)
        assert examine(data, Memory()) == header


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "LA", "1"])
def test_other_modes_are_converted_as_pillow_does(mode):
    image = picture(3, 40, 30).convert(mode)
    data = encoded(image, "JPEG" if mode in ("L", "CMYK") else "PNG")
    for channels, target in ((3, "RGB"), (1, "L")):
        header, pixels = decode(data, channels)
        expected = np.asarray(Image.open(io.BytesIO(data)).convert(target))
        assert np.array_equal(pixels, expected.reshape(30, 40, channels))
        assert header.mode == mode


def damaged(data, rng):
    """The file with one random fault, most of them behind its header: a flipped bit, or bytes cut, lost or put in."""
    place, count = int(rng.integers(2, len(data))), int(rng.integers(1, 40))
    kind = rng.integers(4)
    if kind == 0:
        return data[:place] + bytes([data[place] ^ 1 << int(rng.integers(8))]) + data[place + 1 :]
    if kind == 1:
        return data[:place]
    return data[:place] + (data[place + count :] if kind == 2 else rng.bytes(count) + data[place:])


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}, {"restart_marker_blocks": 3}])
def test_the_validation_sees_every_fault_that_decoding_to_colour_sees(options):
    rng, found = np.random.default_rng(1), []
    data = encoded(picture(3), **options)
    for _ in range(1500):
        file, answers = damaged(data, rng), []
        for function in (lambda file: decode(file, 3)[0], examine):
            try:
                answers.append(function(file))
            except ImageError as error:
                answers.append(str(error))
        assert answers[0] == answers[1]
        found.append(isinstance(answers[0], str))
    assert 0.2 < np.mean(found) < 0.999


def test_memory_is_reused_and_grows():
    memory = Memory()
    for seed, size in enumerate([(20, 30), (178, 218), (20, 30)]):
        data = encoded(picture(seed, *size))
        _, pixels = decode(data, 3, memory)
        assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(data))))
    assert memory.of(1) is memory.of(178 * 218 * 3)


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
