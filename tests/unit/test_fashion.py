"""Fashion-MNIST: its files, the archive made of them, and what probes find in real photographs of ten classes."""

import gzip
import io
import os
import shutil
import struct
import zipfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from vaebench.base.errors import UserError
from vaebench.data.archive.images import read_partition
from vaebench.data.demo.fashion import CLASSES, SHA256, make_fashion, obtain_fashion, read_fashion
from vaebench.data.labels import binary_columns, labels_of, read_labels
from vaebench.data.splitting import write_classes
from vaebench.metrics.probes import probe


@pytest.fixture(scope="module")
def fashion(fashion_files):
    return read_fashion(fashion_files)


def part_of(sets, train, test):
    """The first images of each set."""
    return {name: (sets[name][0][:count], sets[name][1][:count]) for name, count in (("train", train), ("t10k", test))}


def test_the_files_are_read_as_their_format_says(fashion, fashion_files):
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        images, classes = fashion[part]
        path = fashion_files / f"{part}-images-idx3-ubyte.gz"
        with gzip.open(path) as file:
            assert struct.unpack(">4i", file.read(16)) == (2051, count, 28, 28)
            assert np.array_equal(images[0], np.frombuffer(file.read(784), np.uint8).reshape(28, 28))
        assert images.shape == (count, 28, 28)
        assert np.bincount(classes).tolist() == [count // 10] * 10
    assert [CLASSES[label] for label in fashion["t10k"][1][:5]] == [
        "Ankle-boot",
        "Pullover",
        "Trouser",
        "Trouser",
        "Shirt",
    ]


def test_the_archive_holds_every_image_unchanged_in_its_class(fashion, tmp_path):
    sets = part_of(fashion, 3000, 400)
    make_fashion(sets, tmp_path / "fashion.zip", tmp_path / "partition.txt", held_out=20)
    partition = read_partition(tmp_path / "partition.txt")
    with zipfile.ZipFile(tmp_path / "fashion.zip") as file:
        assert file.namelist() == [f"fashion/{name}" for name in partition]
        for name in list(partition)[::37]:
            part, row = name.split("/")[1].removesuffix(".png").split("-")
            image = Image.open(io.BytesIO(file.read(f"fashion/{name}")))
            assert image.mode == "L"
            assert np.array_equal(np.asarray(image), sets[part][0][int(row)])
            assert name.split("/")[0] == CLASSES[sets[part][1][int(row)]]
    found = Counter((split, name.split("/")[0]) for name, split in partition.items())
    assert {name.split("/")[1][:4] for name, split in partition.items() if split == 2} == {"t10k"}
    assert [found[1, name] for name in CLASSES] == [20] * 10
    assert Counter(partition.values()) == {0: 2800, 1: 200, 2: 400}
    first = (tmp_path / "fashion.zip").read_bytes()
    make_fashion(sets, tmp_path / "fashion.zip", tmp_path / "partition.txt", held_out=20)
    assert (tmp_path / "fashion.zip").read_bytes() == first


def test_probes_find_the_ten_classes_in_their_folders(fashion, tmp_path):
    """On principal components of real photographs, with scikit-learn's classifier as the reference."""
    make_fashion(part_of(fashion, 2500, 1500), tmp_path / "fashion.zip", tmp_path / "partition.txt", held_out=20)
    write_classes(tmp_path / "fashion.zip", tmp_path / "classes.csv")
    table = read_labels(tmp_path / "classes.csv")
    assert sorted(table) == sorted(CLASSES)
    partition = read_partition(tmp_path / "partition.txt")
    names = {
        split: [name for name, code in partition.items() if code == number]
        for split, number in (("train", 0), ("test", 2))
    }
    rows = labels_of(table, names, tmp_path / "classes.csv")
    columns = {
        split: binary_columns(found, {name: np.array([0, 1]) for name in table}) for split, found in rows.items()
    }
    pixels = {}
    with zipfile.ZipFile(tmp_path / "fashion.zip") as file:
        for split, listed in names.items():
            images = [np.asarray(Image.open(io.BytesIO(file.read(f"fashion/{name}")))) for name in listed]
            pixels[split] = np.stack(images).reshape(len(images), -1) / 255
    components = PCA(16, random_state=0).fit(pixels["train"])
    latents = {split: components.transform(values) for split, values in pixels.items()}
    scores = probe(latents["train"], columns["train"].to_numpy(), latents["test"], columns["test"].to_numpy())
    ours = dict(zip(columns["train"], (score.auc for score in scores), strict=True))
    for name in CLASSES:
        reference = LogisticRegression(max_iter=1000).fit(latents["train"], columns["train"][name])
        theirs = roc_auc_score(columns["test"][name], reference.decision_function(latents["test"]))
        assert abs(ours[name] - theirs) < 0.05, name
    assert min(ours, key=ours.get) == "Shirt", "the class that people, too, tell from others least"
    assert np.mean(list(ours.values())) > 0.93


def test_a_file_that_is_another_or_damaged_is_named(fashion_files, tmp_path):
    for name in SHA256:
        shutil.copy(fashion_files / f"{name}.gz", tmp_path)
    images = tmp_path / "train-images-idx3-ubyte.gz"
    content = images.read_bytes()
    for damaged in (content[:9000], b"\x1f\x8b\x08" + bytes(7) + b"\xff" * 40, b"<html>", b""):
        images.write_bytes(damaged)
        with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz is damaged|is not the file"):
            read_fashion(tmp_path)
    images.write_bytes(gzip.compress(b"other images"))
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz is not the file of Fashion-MNIST"):
        read_fashion(tmp_path)
    images.unlink()
    (tmp_path / "train-images-idx3-ubyte").write_bytes(gzip.decompress(content))
    assert len(read_fashion(tmp_path)["train"][0]) == 60_000


def programs(folder, monkeypatch, **scripts):
    """Let only these programs be found, each a line of shell."""
    folder.mkdir()
    for name, line in scripts.items():
        program = folder / name.replace("_", "-")
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}")


def place(folder):
    folder.mkdir(parents=True)
    for name in SHA256:
        (folder / f"{name}.gz").touch()
    return folder


def test_the_files_are_looked_for_where_debian_and_the_user_put_them(tmp_path, monkeypatch):
    programs(tmp_path / "bin", monkeypatch)
    installed, kept = place(tmp_path / "installed"), place(tmp_path / "kept")
    assert obtain_fashion(kept, installed) == installed
    os.remove(installed / "t10k-images-idx3-ubyte.gz")
    assert obtain_fashion(kept, installed) == kept
    os.remove(kept / "t10k-images-idx3-ubyte.gz")
    with pytest.raises(UserError, match=r"there is no apt-get .* put train-images-idx3-ubyte\.gz, .* into .*kept"):
        obtain_fashion(kept, installed)


def test_apt_downloads_the_package(tmp_path, monkeypatch):
    files = " ".join(f"$3/usr/share/datasets/fashion-mnist/{name}.gz" for name in SHA256)
    unpack = f"/bin/mkdir -p $3/usr/share/datasets/fashion-mnist; for file in {files}; do echo $file > $file; done"
    programs(
        tmp_path / "bin",
        monkeypatch,
        apt_get='[ "$*" = "download dataset-fashion-mnist" ] && : > a.deb',
        dpkg_deb=unpack,
    )
    kept = tmp_path / "data/packages/fashion-mnist"
    assert obtain_fashion(kept, tmp_path / "none") == kept
    assert sorted(path.name for path in kept.iterdir()) == sorted(f"{name}.gz" for name in SHA256)
    assert [path.name for path in kept.parent.iterdir()] == ["fashion-mnist"], "nothing is left over"


@pytest.mark.parametrize(
    ("apt_get", "dpkg_deb", "reason"),
    [
        ("echo E: Unable to locate package >&2; exit 100", "exit 0", "failed: E: Unable to locate package"),
        ("exit 0", "exit 0", "no archive came"),
        (": > a.deb", "echo not a Debian archive >&2; exit 2", "cannot be unpacked: not a Debian archive"),
        (": > a.deb", "exit 0", "its files are missing"),
    ],
)
def test_what_apt_says_is_told_with_the_place_for_the_files(tmp_path, monkeypatch, apt_get, dpkg_deb, reason):
    programs(tmp_path / "bin", monkeypatch, apt_get=apt_get, dpkg_deb=dpkg_deb)
    with pytest.raises(UserError, match=rf"{reason}.* Install dataset-fashion-mnist, .* into .*kept"):
        obtain_fashion(tmp_path / "kept", tmp_path / "none")
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]
