"""The arrays of a data set against Pillow and np.savez, whatever the workers, batches and interruptions."""

import hashlib
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import yaml
from image_cases import (
    PATTERN,
    RECIPE,
    SETTINGS,
    by_pillow,
    encoded,
    faces,
    picture,
    preprocess,
    validate,
    write_celeba,
    write_partition,
    write_zip,
)
from PIL import ExifTags, Image, ImageOps

from vaebench.base.digests import content_digest, write_digest
from vaebench.base.errors import UserError
from vaebench.base.layout import SPLITS
from vaebench.base.npz import open_array, read_manifest
from vaebench.data.preprocessing import _batches
from vaebench.data.recipe import frequent_sizes
from vaebench.data.resize import gpu
from vaebench.data.resize.resampling import Resampler

ANYTHING = {"format": None, "mode": None, "width": None, "height": None}
CROP = (15, 35, 163, 183)
SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"


def outputs_in(folder):
    return {split: folder / f"{split}_data.npz" for split in SPLITS}


def prepare(folder, images, partition, workers=1, validation=ANYTHING, **changes):
    """Validate and preprocess; returns {split: array}."""
    folder.mkdir(exist_ok=True)
    validate(images, partition, folder / "images.csv", folder / "summary.json", SETTINGS | validation, 1)
    outputs = outputs_in(folder)
    preprocess(images, partition, folder / "images.csv", outputs, RECIPE | changes, workers, "small")
    return {split: open_array(path) for split, path in outputs.items()}


def split_of(files, split):
    return [data for row, data in enumerate(files.values()) if SPLITS[PATTERN[row % len(PATTERN)]] == split]


@pytest.mark.parametrize("filter_name", ["lanczos", "bicubic", "bilinear"])
def test_equal_to_pillow_and_to_savez(tmp_path, filter_name):
    files = faces(20)
    arrays = prepare(tmp_path / "out", *write_celeba(tmp_path, files), filter=filter_name)
    for split, array in arrays.items():
        expected = np.stack([by_pillow(data, CROP, (64, 64), filter_name) for data in split_of(files, split)])
        assert np.array_equal(array, expected)
        np.savez(tmp_path / "numpys.npz", data=expected)
        assert (tmp_path / "out" / f"{split}_data.npz").read_bytes() == (tmp_path / "numpys.npz").read_bytes()
        with np.load(tmp_path / "out" / f"{split}_data.npz") as archive:  # how pythae's example reads it
            assert (archive["data"] / 255.0).shape == expected.shape


@pytest.mark.parametrize(
    ("changes", "crop", "size"),
    [
        ({"crop": {"center": 140}, "size": [32, 32]}, (19, 39, 159, 179), (32, 32)),
        ({"crop": {"box": [15, 40, 163, 188]}}, (15, 40, 163, 188), (64, 64)),
        ({"crop": None, "size": [60, 40]}, None, (60, 40)),
        ({"crop": {"center": [200, 100]}, "size": None}, (39, 9, 139, 209), None),
        ({"crop": None, "size": None}, None, None),
        ({"crop": None, "size": [100, 256], "filter": "bicubic"}, None, (100, 256)),
    ],
)
def test_geometries(tmp_path, changes, crop, size):
    files = faces(5)
    array = prepare(tmp_path / "out", *write_celeba(tmp_path, files), **changes)["train"]
    filter_name = changes.get("filter", "lanczos")
    assert np.array_equal(
        array, np.stack([by_pillow(data, crop, size, filter_name) for data in split_of(files, "train")])
    )


def test_grey_digits_in_png_and_colour_images_as_grey(tmp_path):
    digits = {f"{row}.png": encoded(picture(row, 28, 28, "L"), "PNG") for row in range(5)}
    recipe = {"crop": None, "size": None, "channels": 1}
    array = prepare(tmp_path / "out", *write_celeba(tmp_path, digits), **recipe)["train"]
    assert array.shape == (3, 1, 28, 28)
    assert np.array_equal(
        array, np.stack([by_pillow(data, None, None, "lanczos", 1) for data in split_of(digits, "train")])
    )
    files = faces(5)
    array = prepare(tmp_path / "grey", *write_celeba(tmp_path, files), channels=1)["train"]
    assert np.array_equal(
        array, np.stack([by_pillow(data, CROP, (64, 64), "lanczos", 1) for data in split_of(files, "train")])
    )


def test_a_folder_of_images_of_several_sizes_and_formats(tmp_path):
    shapes = [(40, 50), (60, 30), (40, 50), (33, 47), (90, 90)]
    kinds = ["JPEG", "PNG", "JPEG", "JPEG", "PNG"]
    files = {
        f"kind/{row}.{kind.lower()}": encoded(picture(row, *shape), kind)
        for row, (shape, kind) in enumerate(zip(shapes, kinds, strict=True))
    }
    for name, data in files.items():
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(data)
    partition = write_partition(tmp_path / "partition.txt", files)
    array = prepare(tmp_path / "out", tmp_path / "images", partition, crop={"center": 30}, size=[20, 24])["train"]
    for row, (data, (width, height)) in enumerate(zip(split_of(files, "train"), shapes[:3], strict=True)):
        left, top = round((width - 30) / 2), round((height - 30) / 2)
        assert np.array_equal(array[row], by_pillow(data, (left, top, left + 30, top + 30), (20, 24), "lanczos"))
    with pytest.raises(UserError, match=r"4 different sizes.*set preprocessing\.size"):
        prepare(tmp_path / "out", tmp_path / "images", partition, crop=None, size=None)
    with pytest.raises(UserError, match=r"kind/1\.png: preprocessing\.crop .* does not fit"):
        prepare(tmp_path / "out", tmp_path / "images", partition, crop={"center": 35})


def test_the_kaggle_layout(tmp_path):
    files = faces(5)
    folder = "img_align_celeba/img_align_celeba"
    images = write_zip(tmp_path / "archive.zip", {f"{folder}/{name}": data for name, data in files.items()})
    partition = tmp_path / "list_eval_partition.csv"
    rows = [f"{name},{PATTERN[row]}" for row, name in enumerate(files)]
    partition.write_text("\n".join(["image_id,partition", *rows]))
    array = prepare(tmp_path / "out", images, partition)["train"]
    expected = [by_pillow(data, CROP, (64, 64), "lanczos") for data in split_of(files, "train")]
    assert np.array_equal(array, np.stack(expected))


def test_the_bytes_depend_neither_on_workers_nor_on_batches(tmp_path):
    images, partition = write_celeba(tmp_path, faces(30))
    contents = set()
    for row, (workers, batch_size) in enumerate([(1, 1), (3, 5), (2, 512)]):
        prepare(tmp_path / str(row), images, partition, workers, batch_size=batch_size)
        contents.add(b"".join(path.read_bytes() for path in outputs_in(tmp_path / str(row)).values()))
    assert len(contents) == 1


def test_compressed(tmp_path):
    images, partition = write_celeba(tmp_path, faces(5))
    plain = prepare(tmp_path / "plain", images, partition)["train"]
    with pytest.warns(UserWarning, match="compressed"):
        packed = prepare(tmp_path / "packed", images, partition, compress=True)["train"]
    assert np.array_equal(plain, packed)
    np.savez_compressed(tmp_path / "numpys.npz", data=plain)
    assert (tmp_path / "packed" / "train_data.npz").read_bytes() == (tmp_path / "numpys.npz").read_bytes()


def test_the_original_studys_files_come_out_byte_by_byte(tmp_path):
    """Its transforms are torchvision's Resize((64, 64)) and PILToTensor, and its files np.savez_compressed's."""
    from torchvision.transforms import Compose, PILToTensor, Resize

    text = (SCRIPTS.parents[1] / "config/README.md").read_text().partition("## The original study\n")[2]
    recipe = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])["preprocessing"]
    assert recipe.keys() == {"crop", "size", "filter", "compress"}, "only what decides about the file"
    files = faces(10)
    images, partition = write_celeba(tmp_path, files)
    with pytest.warns(UserWarning, match="compressed"):
        prepare(tmp_path / "ours", images, partition, validation={}, **recipe)
    transforms = Compose([Resize((64, 64)), PILToTensor()])
    for split in ("train", "eval"):
        opened = [Image.open(io.BytesIO(data)).convert("RGB") for data in split_of(files, split)]
        theirs = np.stack([transforms(image).numpy() for image in opened])
        np.savez_compressed(tmp_path / f"{split}_data.npz", data=theirs)
        ours = tmp_path / "ours" / f"{split}_data.npz"
        assert ours.read_bytes() == (tmp_path / f"{split}_data.npz").read_bytes()


def test_a_random_part_is_drawn_from_the_names(tmp_path):
    """The same images on every machine: those whose hash of seed and name is lowest, here found by hand."""
    files = {f"{row}.png": encoded(picture(row, 16, 16), "PNG") for row in range(40)} | {"3.png": b"damaged"}
    images, partition = write_celeba(tmp_path, files)
    of_split = {
        split: [name for row, name in enumerate(files) if PATTERN[row % 5] == code] for code, split in enumerate(SPLITS)
    }

    def kept(images_kept, seed):
        limit = {"images": images_kept, "seed": seed}
        folder = tmp_path / f"{images_kept} {seed}"
        prepare(folder, images, partition, crop=None, size=None, limit=limit)
        return {split: read_manifest(path)["ids"] for split, path in outputs_in(folder).items()}

    found = kept(6, 7)
    for split, names in of_split.items():
        sound = [name for name in names if name != "3.png"]
        lowest = sorted(sound, key=lambda name: hashlib.sha256(f"7/{name}".encode()).hexdigest())[:6]
        assert found[split] == [name for name in sound if name in lowest]
    assert kept(6, 8) != found
    more = kept(7, 7)
    assert all(set(found[split]) < set(more[split]) for split in SPLITS)
    assert kept(100, 7) == {split: [name for name in names if name != "3.png"] for split, names in of_split.items()}


def test_the_manifest_is_the_card_of_the_data(tmp_path):
    files = faces(12) | {"bad.jpg": b"", "none.png": encoded(picture(1), "PNG")}
    files = dict(sorted(files.items(), key=lambda item: len(item[1])))  # the bad one first: a training image
    images, partition = write_celeba(tmp_path, files)
    arrays = prepare(tmp_path / "out", images, partition, validation={"format": "JPEG"}, limit=4)
    manifest = read_manifest(tmp_path / "out" / "train_data.npz")
    array = arrays["train"]
    assert manifest["shape"] == list(array.shape) == [4, 3, 64, 64]
    assert manifest["ids"] == [name for row, name in enumerate(files) if PATTERN[row % 5] == 0][1:5]
    assert manifest["skipped"] == [{"image": "bad.jpg", "reason": "damaged: empty file"}]
    assert manifest["sha256"] == hashlib.sha256((tmp_path / "out" / "train_data.npz").read_bytes()).hexdigest()
    assert np.allclose(manifest["mean"], array.mean((0, 2, 3)) / 255, atol=1e-12)
    assert np.allclose(manifest["std"], array.std((0, 2, 3)) / 255, atol=1e-12)
    assert manifest["sources"]["images.zip"]["md5"] == hashlib.md5(images.read_bytes()).hexdigest()
    assert (manifest["split"], manifest["dataset"], manifest["filter"]) == ("train", "small", "lanczos")
    assert (manifest["crop"], manifest["size"]) == ({"center": 148}, [64, 64])
    assert manifest["versions"].keys() >= {"numpy", "pillow", "simplejpeg"}
    write_digest(images, "downloads")
    prepare(tmp_path / "out", images, partition, validation={"format": "JPEG"}, limit=4)
    assert read_manifest(tmp_path / "out" / "train_data.npz")["sources"]["images.zip"]["md5"] == "downloads"


@pytest.mark.parametrize("compress", [False, True])
def test_digests_tell_pixels_and_names_however_they_are_kept(tmp_path, compress):
    files = faces(6)
    images, partition = write_celeba(tmp_path, files)
    prepare(tmp_path / "plain", images, partition)
    prepare(tmp_path / "other", images, partition, compress=compress)
    for split in ("train", "eval", "test"):
        plain, other = (tmp_path / folder / f"{split}_data.npz" for folder in ("plain", "other"))
        assert content_digest(plain).read_text() == content_digest(other).read_text()
        assert content_digest(plain).read_text().strip() == hashlib.sha256(plain.read_bytes()).hexdigest()
        assert content_digest(plain, "ids").read_text() == content_digest(other, "ids").read_text()
        assert read_manifest(other)["sha256"] == hashlib.sha256(other.read_bytes()).hexdigest()
    renamed = {f"1{name}": data for name, data in files.items()}
    prepare(tmp_path / "renamed", *write_celeba(tmp_path, renamed))
    for kind, same in (("pixels", True), ("ids", False)):
        digests = [
            content_digest(tmp_path / folder / "train_data.npz", kind).read_text() for folder in ("plain", "renamed")
        ]
        assert (digests[0] == digests[1]) == same


@pytest.mark.parametrize("channels", [1, 3])
def test_photographs_of_any_kind_and_orientation(tmp_path, channels):
    """Held against Pillow's own exif_transpose and alpha_composite."""
    files = {}
    for row in range(15):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = row % 9
        image = picture(row, 60 + row, 50)
        kind = ("JPEG", "PNG", "WEBP")[row % 3]
        if kind == "PNG":
            image.putalpha(picture(row, 60 + row, 50, "L"))
        files[f"{row:02d}.{kind.lower()}"] = encoded(image, kind, exif=exif)
    files["15.jpg"] = encoded(picture(0, 30, 30))
    images, partition = write_celeba(tmp_path, files)
    changes = {"crop": {"center": 40}, "size": [16, 20], "channels": channels, "background": [10, 20, 30]}
    validation = ANYTHING | {"crop": {"center": 40}, "max_bad_fraction": 0}
    arrays = prepare(tmp_path / "out", images, partition, validation=validation, **changes)
    expected = {split: [] for split in SPLITS}
    for row, data in enumerate(list(files.values())[:15]):
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (10, 20, 30)), image).convert("RGB")
        left, top = round((image.width - 40) / 2), round((image.height - 40) / 2)
        box = (left, top, left + 40, top + 40)
        split = SPLITS[PATTERN[row % len(PATTERN)]]
        expected[split].append(by_pillow(encoded(image, "PNG"), box, (16, 20), "lanczos", channels))
    for split, array in arrays.items():
        assert np.array_equal(array, np.stack(expected[split]))
    skipped = read_manifest(tmp_path / "out" / "train_data.npz")["skipped"]
    assert skipped == [{"image": "15.jpg", "reason": "small: 30 x 30, less than preprocessing.crop {'center': 40}"}]


def sizes_of(*counts):
    return Counter({(side, side + 1): count for side, count in counts})


def test_what_is_made_for_one_size_is_made_for_frequent_ones_only():
    assert frequent_sizes([sizes_of((218, 162_770)), sizes_of((218, 19_867))]) == {(218, 219)}
    assert frequent_sizes([sizes_of((20, 200), (30, 255)), sizes_of((20, 56), (40, 1))]) == {(20, 21)}
    assert frequent_sizes([sizes_of(*((300 + row, 3) for row in range(200)))]) == frozenset()
    giants = frequent_sizes([sizes_of(*((3000 + row, 300 + row) for row in range(50)))])
    assert giants == {(3049, 3050)}, "two of these would be more than the memory allows"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_images_of_many_sizes(tmp_path, monkeypatch, device):
    """Of two sizes there are enough for a resampler; the others go to Pillow, whatever the device."""
    made, monkeypatched = [], Resampler.__init__
    monkeypatch.setattr("vaebench.data.recipe.FREQUENT", 4)
    monkeypatch.setattr(Resampler, "__init__", lambda self, *size: (made.append(size), monkeypatched(self, *size))[1])
    monkeypatch.setattr("vaebench.data.resize.gpu.choose", lambda *_: device)
    resize = gpu.resize
    monkeypatch.setattr("vaebench.data.resize.gpu.resize", lambda frames, resampler: resize(frames, resampler, "cpu"))
    sides = [(30 + row, 40 - row // 2) if row % 3 else (50, 40 + row % 2) for row in range(30)]
    files = {f"{row:02d}.jpg": encoded(picture(row, *side)) for row, side in enumerate(sides)}
    images, partition = write_celeba(tmp_path, files)
    arrays = prepare(tmp_path / "out", images, partition, crop=None, size=[16, 20])
    for split, array in arrays.items():
        expected = np.stack([by_pillow(data, None, (16, 20), "lanczos") for data in split_of(files, split)])
        assert np.array_equal(array, expected)
    assert {size[:2] for size in made} <= {(40, 50), (41, 50)}
    if device == "cuda":  # not in a worker
        assert len(made) == 2


def test_numba_is_loaded_only_where_many_images_of_one_size_are_resized(tmp_path):
    """It takes as long as Pillow for 200 photographs."""
    images, partition = write_celeba(tmp_path, {f"{row}.jpg": encoded(picture(row, 40, 30)) for row in range(5)})
    table = tmp_path / "images.csv"
    validate(images, partition, table, tmp_path / "summary.json", SETTINGS | ANYTHING, 1)
    for least, size, loaded in ((5, [20, 20], "True"), (6, [20, 20], "False"), (5, None, "False")):
        run = f"import vaebench.data.recipe as recipe; recipe.FREQUENT = {least}; exec({RUN!r})"
        program = f"{run}; print('numba' in sys.modules)"
        process = start(images, partition, table, tmp_path, program=program, crop=None, size=size)
        assert process.communicate(timeout=120)[0].decode().strip() == loaded


def test_a_split_without_images_is_named(tmp_path):
    images, partition = write_celeba(tmp_path, faces(3))
    with pytest.raises(UserError, match="no usable image for the eval split"):
        prepare(tmp_path / "out", images, partition)
    too_large = ANYTHING | {"crop": {"center": 179}}
    with pytest.raises(UserError, match=r"train split.*left out was 000001\.jpg, small: 178 x 218, less than .*179"):
        prepare(tmp_path / "out", images, partition, validation=too_large, crop={"center": 179})


def test_images_that_changed_since_the_validation_are_noticed(tmp_path):
    files = faces(5)
    images, partition = write_celeba(tmp_path, files)
    prepare(tmp_path / "out", images, partition)
    old = (tmp_path / "out" / "train_data.npz").read_bytes()
    table, outputs = tmp_path / "out" / "images.csv", outputs_in(tmp_path / "out")
    write_celeba(tmp_path, files | {"000001.jpg": files["000001.jpg"][:900]})
    with pytest.raises(UserError, match=r"000001\.jpg .* run the validation again"):
        preprocess(images, partition, table, outputs, RECIPE, 1, "small")
    write_celeba(tmp_path, dict(list(files.items())[1:]))
    with pytest.raises(UserError, match=r"no longer holds 000001\.jpg"):
        preprocess(images, write_partition(partition, files), table, outputs, RECIPE, 1, "small")
    assert (tmp_path / "out" / "train_data.npz").read_bytes() == old


@pytest.mark.parametrize(
    ("width", "changes", "words"),
    [(200, {"crop": None, "size": None}, "200 x 218 pixels after the crop"), (100, {}, "148.* does not fit")],
)
def test_an_image_of_another_size_than_the_validated_one_is_named(tmp_path, width, changes, words):
    files = faces(5)
    images, partition = write_celeba(tmp_path, files)
    prepare(tmp_path / "out", images, partition)
    write_celeba(tmp_path, files | {"000002.jpg": encoded(picture(1, width=width))})
    table, outputs = tmp_path / "out" / "images.csv", outputs_in(tmp_path / "out")
    with pytest.raises(UserError, match=rf"000002\.jpg .*{words}.* run the validation again"):
        preprocess(images, partition, table, outputs, RECIPE | changes, 1, "small")


def test_a_full_disk_is_one_clear_error_and_the_old_file_stays(tmp_path):
    images, partition = write_celeba(tmp_path, faces(40))
    prepare(tmp_path / "out", images, partition, limit=2)
    old = {path: path.read_bytes() for path in outputs_in(tmp_path / "out").values()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(UserError, match=r"no space left to write to .*nothing was replaced"):
            prepare(tmp_path / "out", images, partition)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path: path.read_bytes() for path in old} == old


def test_a_disk_that_is_too_small_is_noticed_before_the_work(tmp_path, monkeypatch):
    images, partition = write_celeba(tmp_path, faces(5))
    row = 3 * 64 * 64
    for free in (1000, 4 * row):  # enough for each split, and not for all five images
        monkeypatch.setattr("vaebench.base.disk.shutil.disk_usage", lambda path, free=free: SimpleNamespace(free=free))
        with pytest.raises(UserError, match=r"0\.00 GB are free, 0\.00 GB are needed"):
            prepare(tmp_path / "out", images, partition)


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    images, partition = write_celeba(tmp_path, faces(5))
    validate(images, partition, tmp_path / "images.csv", tmp_path / "summary.json", SETTINGS, 1)
    outputs = {split: Path("/proc/vaebench") / f"{split}_data.npz" for split in SPLITS}
    with pytest.raises(UserError, match="cannot write to /proc/vaebench"):
        preprocess(images, partition, tmp_path / "images.csv", outputs, RECIPE, 1, "small")


UNREADABLE = Path("/proc/self/mem")  # opens, and fails with an input/output error when it is read


def test_what_cannot_be_read_is_not_said_to_be_what_cannot_be_written(tmp_path, monkeypatch):
    images, partition = write_celeba(tmp_path, faces(5))
    prepare(tmp_path / "out", images, partition)
    table, outputs = tmp_path / "out/images.csv", outputs_in(tmp_path / "out")
    for changed in ({"partition": UNREADABLE}, {"table": UNREADABLE}):
        files = {"images": images, "partition": partition, "table": table} | changed
        with pytest.raises(UserError, match="cannot read /proc/self/mem: Input/output error"):
            preprocess(*files.values(), outputs, RECIPE, 1, "small")
    with pytest.raises(UserError, match="cannot read /proc/self/mem: Input/output error"):
        validate(images, UNREADABLE, table, tmp_path / "summary.json", SETTINGS, 1)

    def fail(path):
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr("vaebench.base.digests.md5_of", fail)
    with pytest.raises(UserError, match=f"cannot read {images}: Input/output error"):
        preprocess(images, partition, table, outputs, RECIPE, 1, "small")


def test_a_gpu_that_is_not_there_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    images, partition = write_celeba(tmp_path, faces(5))
    with pytest.raises(UserError, match="no usable GPU"):
        prepare(tmp_path / "out", images, partition, device="cuda")
    with pytest.raises(UserError, match="nvjpeg needs a GPU"):
        prepare(tmp_path / "out", images, partition, decoder="nvjpeg")


def test_the_road_over_a_device_gives_the_same_bytes(tmp_path, monkeypatch):
    """What a GPU does, run by PyTorch on the CPU: workers crop, the device resizes."""
    images, partition = write_celeba(tmp_path, faces(20))
    prepare(tmp_path / "cpu", images, partition)
    monkeypatch.setattr("vaebench.data.resize.gpu.choose", lambda device, decoder: "cuda")
    resize = gpu.resize
    monkeypatch.setattr("vaebench.data.resize.gpu.resize", lambda frames, resampler: resize(frames, resampler, "cpu"))
    prepare(tmp_path / "device", images, partition, workers=2)
    for split in SPLITS:
        assert (tmp_path / "cpu" / f"{split}_data.npz").read_bytes() == (
            tmp_path / "device" / f"{split}_data.npz"
        ).read_bytes()


@pytest.mark.parametrize(("pixels", "batch"), [(1, 1), (3 * 178 * 218, 3), (1 << 25, 7)])
def test_large_images_come_in_small_batches(tmp_path, monkeypatch, pixels, batch):
    """So that a few of them keep all workers busy."""
    asked = []
    monkeypatch.setattr("vaebench.data.preprocessing.BATCH_PIXELS", pixels)
    monkeypatch.setattr(
        "vaebench.data.preprocessing._batches", lambda splits, size: asked.append(size) or _batches(splits, size)
    )
    prepare(tmp_path / "out", *write_celeba(tmp_path, faces(5)), batch_size=7)
    assert asked == [batch]


def decoded_like_nvjpeg(files, channels):
    """What torchvision does on a GPU: JPEGs only, as they are stored."""
    if not all(data.startswith(b"\xff\xd8") for data in files):
        raise RuntimeError("nvJPEG: unsupported\nand a trace of C++")
    return [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in files]


def test_the_road_over_a_decoding_device(tmp_path, monkeypatch):
    """Run by Pillow on the CPU: photographs are turned, and an image that the device does not decode is named."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    files = {f"{row}.jpg": encoded(picture(row, 60, 50), exif=exif) for row in range(5)}
    images, partition = write_celeba(tmp_path, files)
    crop = {"crop": {"center": [55, 40]}}
    expected = prepare(tmp_path / "cpu", images, partition, **crop)
    monkeypatch.setattr("vaebench.data.resize.gpu.choose", lambda device, decoder: "cuda")
    monkeypatch.setattr("vaebench.data.resize.gpu.decode", decoded_like_nvjpeg)
    found = prepare(tmp_path / "device", images, partition, **crop, decoder="nvjpeg")
    for split in SPLITS:
        assert np.array_equal(found[split], expected[split])
    images, partition = write_celeba(tmp_path, files | {"2.jpg": encoded(picture(2, 60, 70), "PNG")})
    with pytest.raises(UserError, match=r"^nvJPEG cannot decode 2\.jpg \(nvJPEG: unsupported\): set .* to libjpeg$"):
        prepare(tmp_path / "other", images, partition, **crop, decoder="nvjpeg")


RUN = """
import json, sys
from pathlib import Path
from vaebench.base.values import from_dict
from vaebench.data.image_table import ImageFiles
from vaebench.data.preprocessing import PreprocessingSettings, preprocess
images, partition, table, folder, settings, workers = json.loads(sys.argv[1])
outputs = {split: Path(folder, split + "_data.npz") for split in ("train", "eval", "test")}
files = ImageFiles(Path(images), Path(partition), Path(table))
preprocess(files, outputs, from_dict(PreprocessingSettings, settings), workers, "small")
"""


def start(images, partition, table, folder, program=RUN, **changes):
    arguments = json.dumps([str(images), str(partition), str(table), str(folder), RECIPE | changes, 2])
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program, arguments]
    # Tests that were started in the background of a shell ignore SIGINT, and so would their children.
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=listen)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """800 images and their validated table."""
    folder, files = tmp_path_factory.mktemp("many"), list(faces(8).values())
    images, partition = write_celeba(folder, {f"{row:04d}.jpg": files[row % 8] for row in range(800)})
    validate(images, partition, folder / "images.csv", folder / "summary.json", SETTINGS, 2)
    return images, partition, folder / "images.csv"


def batches_done(folder):
    """How many batches of four the journals know, and those of finished splits, whose journals are gone."""
    known = sum(len(path.read_text().splitlines()) - 1 for path in folder.glob(".*.journal"))
    return known + sum(len(open_array(path)) // 4 for path in folder.glob("*_data.npz"))


def wait_for(process, folder, batches):
    """Until that many batches are done, or the process is."""
    while process.poll() is None and batches_done(folder) < batches:
        time.sleep(0.005)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_killed_at_random_moments_the_work_is_resumed_to_the_same_bytes(tmp_path, many):
    preprocess(*many, outputs_in(tmp_path / "whole"), RECIPE | {"batch_size": 512}, 2, "small")
    folder, chance = tmp_path / "killed", random.Random(0)
    lost = []
    for _ in range(4):
        before = batches_done(folder) if folder.exists() else 0
        process = start(*many, folder, batch_size=4)
        wait_for(process, folder, before + chance.randint(1, 32))
        time.sleep(chance.uniform(0, 0.02))
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(children, timeout=5)
        assert not alive, "workers outlive their parent"
        lost.append(batches_done(folder) < before)
    assert not any(lost)
    assert 0 < batches_done(folder) < 200
    process = start(*many, folder, batch_size=50)
    _, text = process.communicate(timeout=120)
    assert process.returncode == 0, text.decode()
    assert contents(folder) == contents(tmp_path / "whole")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupt_ends_all_processes(tmp_path, many, name):
    process = start(*many, tmp_path, batch_size=4)
    wait_for(process, tmp_path, 3)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(getattr(signal, name))
    process.wait(20)
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    assert process.returncode != 0
    assert not list(tmp_path.glob("*.npz"))


def test_a_killed_worker_is_named(tmp_path, many):
    process = start(*many, tmp_path, batch_size=4)
    wait_for(process, tmp_path, 3)
    psutil.Process(process.pid).children()[0].kill()
    _, text = process.communicate(timeout=60)
    assert process.returncode != 0
    assert b"a worker process was killed" in text
    assert batches_done(tmp_path) >= 3


def test_reading_is_from_the_zip_itself(tmp_path):
    """Deflated members as well, and nothing is unpacked to disk."""
    files = faces(5)
    images = write_zip(
        tmp_path / "images.zip", {f"d/{name}": data for name, data in files.items()}, zipfile.ZIP_DEFLATED
    )
    partition = write_partition(tmp_path / "partition.txt", files)
    array = prepare(tmp_path / "out", images, partition)["train"]
    assert np.array_equal(array[0], by_pillow(next(iter(files.values())), CROP, (64, 64), "lanczos"))
    assert not list(tmp_path.rglob("*.jpg"))
