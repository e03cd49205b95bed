"""Splits and classes of images that come without a file of them, from their names and folders."""

import csv
from collections import Counter, defaultdict

import numpy as np
import pytest
from image_cases import SETTINGS, encoded, picture, validate, write_zip

from vaebench.base.errors import UserError
from vaebench.base.values import from_dict
from vaebench.data.archive.images import read_partition
from vaebench.data.archive.packed_names import draw_order
from vaebench.data.labels import labels_of, read_labels
from vaebench.data.splitting import SplitSettings, make_partition, write_classes

SPLIT = {"train": 0.8, "eval": 0.1, "test": 0.1, "seed": 0, "by": "auto"}


def folder_of(path, names):
    """A folder with empty files of these names."""
    for name in names:
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return path


def split_of(images, identity=None, **settings):
    """{path: split} of the partition that is made."""
    partition = images.parent / "split.txt"
    make_partition(images, from_dict(SplitSettings, SPLIT | settings), partition, identity)
    return dict(read_partition(partition))


def counts(splits):
    found = Counter(splits.values())
    return [found[split] for split in range(3)]


@pytest.mark.parametrize(
    ("images", "shares", "expected"),
    [
        (10, {}, [8, 1, 1]),
        (1000, {}, [800, 100, 100]),
        (1000, {"train": 0.5, "eval": 0.25, "test": 0.25}, [500, 250, 250]),
        (7, {}, [5, 1, 1]),
        (3, {"train": 0.98, "eval": 0.01, "test": 0.01}, [1, 1, 1]),
        (3, {"train": 0.01, "eval": 0.01, "test": 0.98}, [1, 1, 1]),
    ],
)
def test_each_split_has_its_share_and_none_is_empty(tmp_path, images, shares, expected):
    names = [f"{number}.jpg" for number in range(images)]
    splits = split_of(folder_of(tmp_path / "photos", names), **shares)
    assert counts(splits) == expected
    assert list(splits) == sorted(names)


def test_the_draw_is_the_same_everywhere_and_depends_on_the_seed(tmp_path):
    """The first images of seed 0 as `sha256sum | sort` orders them, whatever machine, NumPy or order of files."""
    names = [f"{number}.jpg" for number in range(100)]
    assert [names[position] for position in draw_order(names, 0)][:4] == ["52.jpg", "37.jpg", "2.jpg", "6.jpg"]
    of_folder = split_of(folder_of(tmp_path / "photos", names))
    archive = write_zip(tmp_path / "photos.zip", {f"holidays/{name}": b"" for name in reversed(names)})
    assert split_of(archive) == {f"holidays/{name}": split for name, split in of_folder.items()}
    assert split_of(tmp_path / "photos", seed=1) != of_folder
    assert counts(split_of(tmp_path / "photos", seed=1)) == [80, 10, 10]


def test_one_more_image_moves_few_others(tmp_path):
    names = [f"{number}.jpg" for number in range(1000)]
    before = split_of(folder_of(tmp_path / "photos", names))
    after = split_of(folder_of(tmp_path / "photos", ["new.jpg"]))
    assert len(after) == 1001
    assert sum(after[name] != split for name, split in before.items()) <= 2


def test_a_name_written_by_macos_goes_where_the_same_name_goes(tmp_path):
    names = [f"\u00e9{number}.jpg" for number in range(50)]
    composed = split_of(folder_of(tmp_path / "composed", names))
    decomposed = split_of(folder_of(tmp_path / "decomposed", [name.replace("\u00e9", "e\u0301") for name in names]))
    assert decomposed == composed


@pytest.mark.parametrize("seed", range(20))
def test_folders_stay_together_and_splits_have_about_their_shares(tmp_path, seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 30, 60)
    names = [f"home/p{person}/day{n % 3}/{n}.jpg" for person, size in enumerate(sizes) for n in range(size)]
    splits = split_of(write_zip(tmp_path / "photos.zip", dict.fromkeys(names, b"")), by="folder", seed=seed)
    of_person = defaultdict(set)
    for name, split in splits.items():
        of_person[name.split("/")[1]].add(split)
    assert len(of_person) == 60
    assert {len(found) for found in of_person.values()} == {1}
    for count, share in zip(counts(splits), (0.8, 0.1, 0.1), strict=True):
        assert abs(count - share * len(names)) <= 30, "off by a folder at most"


def test_three_folders_of_unlike_sizes_make_three_splits(tmp_path):
    names = [f"a/{n}.jpg" for n in range(90)] + ["b/1.jpg", "c/1.jpg", "c/2.jpg"]
    splits = split_of(folder_of(tmp_path / "photos", names), by="folder")
    assert sorted(counts(splits)) == [1, 2, 90]


@pytest.mark.parametrize("by", ["auto", "folder"])
@pytest.mark.parametrize("folders", [("train", "val", "test"), ("Training", "dev", "TEST"), ("train", "valid", "test")])
def test_one_folder_per_split_is_understood(tmp_path, folders, by):
    names = [f"set/{folder}/cat/{n}.jpg" for folder in folders for n in range(5)]
    splits = split_of(write_zip(tmp_path / "set.zip", dict.fromkeys(names, b"")), by=by)
    assert splits == {name: folders.index(name.split("/")[1]) for name in names}


@pytest.mark.parametrize(("folder", "absent", "expected"), [("test", 1, [89, 11, 20]), ("val", 2, [89, 20, 11])])
def test_a_split_without_a_folder_is_drawn_from_train(tmp_path, folder, absent, expected):
    names = [f"train/{n}.jpg" for n in range(100)] + [f"{folder}/{n}.jpg" for n in range(20)]
    splits = split_of(folder_of(tmp_path / "set", names))
    assert counts(splits) == expected
    assert all(name.startswith("train/") for name, split in splits.items() if split in (0, absent))


def test_a_split_is_drawn_from_the_folders_of_train_when_asked(tmp_path):
    names = [f"train/p{n % 10}/{n}.jpg" for n in range(100)] + [f"test/p{n}/{n}.jpg" for n in range(20, 25)]
    splits = split_of(folder_of(tmp_path / "set", names), by="folder")
    assert counts(splits) == [90, 10, 5]
    assert len({name.split("/")[1] for name, split in splits.items() if split == 1}) == 1


def test_by_file_draws_from_all_whatever_the_folders_are_called(tmp_path):
    names = [f"{folder}/{n}.jpg" for folder in ("train", "val", "test") for n in range(100)]
    splits = split_of(folder_of(tmp_path / "set", names), by="file")
    assert counts(splits) == [240, 30, 30]
    assert 0 < sum(splits[f"test/{n}.jpg"] == 0 for n in range(100)) < 100


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["train/1.jpg", "val/1.jpg", "test/1.jpg", "more/1.jpg"], r"more/1\.jpg lies in none"),
        (["train/1.jpg", "test/1.jpg", "loose.jpg"], r"loose\.jpg lies in none"),
        (["val/1.jpg", "test/1.jpg", "test/2.jpg"], "there is none for train"),
    ],
)
def test_folders_that_are_called_as_splits_in_part_are_not_mixed_in_silence(tmp_path, names, what):
    with pytest.raises(UserError, match=rf"folders are called as splits are \(.*test.*\), but {what}.*by: file"):
        split_of(folder_of(tmp_path / "set", names))
    assert not (tmp_path / "split.txt").exists()


def test_persons_of_the_identity_file_stay_together(tmp_path):
    names = [f"{n:06d}.jpg" for n in range(200)]
    identity = tmp_path / "identity_CelebA.txt"
    identity.write_text("".join(f"{name} {2880 + n * 7 % 23}\n" for n, name in enumerate(names)))
    splits = split_of(write_zip(tmp_path / "a.zip", {f"img/{name}": b"" for name in names}), identity, by="identity")
    persons = defaultdict(set)
    for name, split in splits.items():
        persons[int(name[4:10]) * 7 % 23].add(split)
    assert len(persons) == 23
    assert {len(found) for found in persons.values()} == {1}
    assert min(counts(splits)) > 0
    named = tmp_path / "who.csv"
    named.write_text("image,who\n" + identity.read_text().replace(" ", ",Ms. "))
    assert (
        len(
            {
                split
                for name, split in split_of(tmp_path / "a.zip", named, by="identity").items()
                if int(name[4:10]) % 23 == 5
            }
        )
        == 1
    )
    identity.write_text(identity.read_text().replace("000007.jpg 2883\n", ""))
    with pytest.raises(UserError, match=r"no identity for img/000007\.jpg \(1 of 200"):
        split_of(tmp_path / "a.zip", identity, by="identity")


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        (["1.jpg", "2.jpg"], {}, r"2 image\(s\) cannot make 3 splits"),
        (["a/1.jpg", "b/2.jpg", "b/3.jpg"], {"by": "folder"}, r"2 outermost folder\(s\) cannot make 3 splits"),
        (["a/1.jpg", "a/2.jpg", "a/3.jpg"], {"by": "folder"}, r"1 outermost folder\(s\) cannot make 3"),
        (["train/1.jpg", "test/2.jpg"], {}, r"folder of train: 1 image\(s\) cannot make 2 splits"),
        (["notes.txt"], {}, r"holds no images \(files named .jpg, .png, ...\)$"),
        (
            ["notes.txt", "a/1.CR2", "2.nef"],
            {},
            r"holds no images .*; 2 file\(s\) such as 2.nef are of a kind that is not read",
        ),
    ],
)
def test_too_few_for_three_splits_is_said(tmp_path, names, settings, message):
    with pytest.raises(UserError, match=message):
        split_of(folder_of(tmp_path / "set", names), **settings)


@pytest.mark.parametrize(
    "names",
    [
        ["1.jpg", "2.jpg", "3.jpg"],
        ["a/a/1.jpg", "a/a/2.jpg", "a/b/1.jpg", "a/3.jpg"],
        ["img/img/1.jpg", "img/img/2.jpg", "img/img/img/3.jpg"],
        ["x/1.jpg", "y/1.jpg", "z/deep/er/1.jpg", "one, two.jpg", "a file 0.jpg"],
    ],
)
@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_the_validation_finds_every_image_of_a_made_partition(tmp_path, names, kind):
    files = {name: encoded(picture(row, 16, 16)) for row, name in enumerate(names)}
    images = tmp_path / "photos"
    if kind == "zip":
        write_zip(images, files)
    else:
        folder_of(images, names)
        for name, data in files.items():
            (images / name).write_bytes(data)
    partition, table = tmp_path / "split.txt", tmp_path / "images.csv"
    make_partition(images, from_dict(SplitSettings, SPLIT | {"by": "file"}), partition)
    validate(images, partition, table, tmp_path / "summary.json", SETTINGS | {"width": 16, "height": 16}, 1)
    with open(table, newline="") as file:
        assert {row["file"]: row["status"] for row in csv.DictReader(file)} == dict.fromkeys(names, "ok")


def test_a_class_folder_is_the_label(tmp_path):
    names = ["pets/cat/1.jpg", "pets/dog, big/1.jpg", "pets/dog, big/sub/2.jpg", "pets/emu/9.jpg"]
    labels = tmp_path / "classes.csv"
    write_classes(write_zip(tmp_path / "a.zip", dict.fromkeys(names, b"")), labels)
    table = read_labels(labels)
    assert table.columns.tolist() == ["cat", "dog, big", "emu"]
    assert table.to_numpy().tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]]
    found = labels_of(table, {"test": ["emu/9.jpg", "cat/1.jpg"]}, labels)["test"]
    assert found.to_numpy().tolist() == [[0, 0, 1], [1, 0, 0]]


def test_classes_lie_below_the_folders_of_splits(tmp_path):
    names = [f"{split}/{kind}/{n}.jpg" for split in ("train", "val", "test") for kind in ("cat", "dog") for n in "12"]
    labels = tmp_path / "classes.csv"
    write_classes(folder_of(tmp_path / "set", names), labels)
    table = read_labels(labels)
    assert table.columns.tolist() == ["cat", "dog"]
    assert (table["dog"] == [int("/dog/" in name) for name in table.index]).all()
    assert (table["cat"] + table["dog"] == 1).all()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat/1.jpg", "dog/1.jpg", "loose.jpg"], r"loose\.jpg in .*set lies in no class's folder"),
        (["cat/1.jpg", "cat/2.jpg"], "all images of .*set lie side by side, where each class needs a folder"),
        ([f"p{n}/1.jpg" for n in range(201)], "201 folders in .* must be 2 to 200"),
        (["train/1.jpg", "test/1.jpg"], "all images of .*set lie side by side, where each class needs a folder"),
    ],
)
def test_folders_that_are_no_classes_are_named(tmp_path, names, message):
    with pytest.raises(UserError, match=message):
        write_classes(folder_of(tmp_path / "set", names), tmp_path / "classes.csv")
    assert not (tmp_path / "classes.csv").exists()
