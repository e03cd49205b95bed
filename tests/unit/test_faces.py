import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from vaebench.data.demo.faces import (
    BATCH,
    DAMAGE,
    TRUNCATION,
    damaged,
    draw_faces,
    encode_jpeg,
    load_generator,
    make_faces,
)

SPLITS = {0: 6, 1: 3, 2: 2}


def face_of(jpeg):
    """The 64x64 pixels that a JPEG was made of."""
    square = Image.open(io.BytesIO(jpeg)).crop((15, 35, 163, 183))
    return np.asarray(square.resize((64, 64), Image.Resampling.LANCZOS), float)


@pytest.fixture(scope="module")
def archive(face_package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    make_faces(face_package, folder / "faces.zip", folder / "partition.txt", splits=SPLITS)
    return folder


def test_layout_is_celebas(archive):
    lines = (archive / "partition.txt").read_bytes().split(b"\r\n")
    assert lines[-1] == b""
    assert lines[0] == b"000001.jpg 0"
    with zipfile.ZipFile(archive / "faces.zip") as file:
        names = file.namelist()
        assert names == [f"img_align_celeba/{line[:10].decode()}" for line in lines[:-1]]
        image = Image.open(io.BytesIO(file.read(names[0])))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (178, 218))
    assert [line[11:] for line in lines[:-1]] == [b"0"] * (6 + len(DAMAGE)) + [b"1"] * 3 + [b"2"] * 2


def test_equal_calls_give_equal_bytes_and_other_seeds_other_faces(archive, face_package, tmp_path):
    make_faces(face_package, tmp_path / "faces.zip", tmp_path / "partition.txt", splits=SPLITS)
    assert (tmp_path / "faces.zip").read_bytes() == (archive / "faces.zip").read_bytes()
    generator = load_generator(face_package)
    first, second = (np.stack(list(draw_faces(generator, 2, seed))) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_any_number_of_workers_writes_the_faces_in_the_order_of_the_seed(face_package, tmp_path):
    splits, written = {0: BATCH + 10}, []
    for workers in (1, 2):
        archive = tmp_path / f"{workers}.zip"
        make_faces(face_package, archive, tmp_path / "partition.txt", splits=splits, workers=workers)
        written.append(archive.read_bytes())
    assert written[0] == written[1]
    with zipfile.ZipFile(archive) as file:
        jpegs = [file.read(name) for name in file.namelist()]
    faces = list(draw_faces(load_generator(face_package), BATCH + 10, 0))
    for number in (0, BATCH - 1, BATCH, BATCH + 9):
        assert np.abs(face_of(jpegs[number]) - faces[number]).mean() < 4


def test_generator_is_the_published_network(face_package):
    """Every weight finds its place, and the faces are spread over the whole range instead of saturated or flat."""
    generator = load_generator(face_package)
    assert sum(parameter.numel() for parameter in generator.parameters()) == 3576704
    faces = torch.from_numpy(np.stack(list(draw_faces(generator, 32, 0)))).float()
    assert 60 < faces.mean() < 160
    assert faces.std(0).mean() > 40 * TRUNCATION  # faces differ from each other, by less where the noise is less


def test_cropping_the_jpeg_gives_the_face_back(face_package):
    face = next(draw_faces(load_generator(face_package), 1, 0))
    assert np.abs(face_of(encode_jpeg(face)) - face).mean() < 4


@pytest.mark.parametrize("damage", DAMAGE)
def test_each_damage_is_one(damage, face_package):
    jpeg = encode_jpeg(next(draw_faces(load_generator(face_package), 1, 0)))
    spoilt = damaged(jpeg, damage)
    try:
        image = Image.open(io.BytesIO(spoilt))
        image.load()
        assert image.format != "JPEG" or image.size != (178, 218)
    except OSError:
        assert spoilt != jpeg
