"""Persons, landmarks and boxes in the order of the arrays."""

import csv

import numpy as np
import pytest
from evaluation_cases import write_data

from vaebench.base.errors import UserError
from vaebench.data.annotations import write_annotations


@pytest.fixture
def arrays(tmp_path):
    sizes = {"train": 3, "eval": 1, "test": 2}
    return write_data(tmp_path, {split: np.zeros((n, 1, 2, 2), np.uint8) for split, n in sizes.items()})


def annotated(tmp_path, arrays, text, kind="identity"):
    """The tables of a file of annotations with that text, as lists of rows by split."""
    file = tmp_path / "annotations.txt"
    file.write_text(text)
    tables = {split: tmp_path / f"{split}.csv" for split in arrays}
    write_annotations(file, kind, arrays, tables)
    return {split: list(csv.reader(table.read_text().splitlines())) for split, table in tables.items()}


def test_rows_are_in_the_order_of_the_array(tmp_path, arrays):
    names = ["test_001", "train_002", "eval_000", "train_000", "other", "test_000", "train_001"]
    tables = annotated(tmp_path, arrays, "".join(f"{name}.png {n}\n" for n, name in enumerate(names)))
    assert tables == {
        "train": [["image", "identity"], ["train_000.png", "3"], ["train_001.png", "6"], ["train_002.png", "1"]],
        "eval": [["image", "identity"], ["eval_000.png", "2"]],
        "test": [["image", "identity"], ["test_000.png", "5"], ["test_001.png", "0"]],
    }


def test_coordinates_are_written_as_they_are(tmp_path, arrays):
    names = ["train_000", "train_001", "train_002", "eval_000", "test_000", "test_001"]
    lines = [f"photos/{name}.png,{n}.25,{-n}" for n, name in enumerate(names)]
    tables = annotated(tmp_path, arrays, "\n".join(["name,x,y", *lines]), "landmarks")
    assert tables["test"] == [["image", "x", "y"], ["test_000.png", "4.25", "-4"], ["test_001.png", "5.25", "-5"]]


def test_persons_may_have_names(tmp_path, arrays):
    names = ["train_000", "train_001", "train_002", "eval_000", "test_000", "test_001"]
    tables = annotated(tmp_path, arrays, "\n".join(["image,who", *(f'{n}.png,"Ada, {n[-1]}"' for n in names)]))
    assert tables["test"] == [["image", "who"], ["test_000.png", "Ada, 0"], ["test_001.png", "Ada, 1"]]


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("image,who,where\na.png,Ada,home\n", "identity", "not a file of persons: it has the columns who, where"),
        ("image,who\na.png,Ada\nb.png, \n", "identity", r"no person for b\.png"),
        ("image,who\na.png,Ada\na.png,Bob\n", "identity", r"two lines for a\.png"),
        ("image,x\na.png,left\n", "boxes", r"x of a\.png is 'left'.* whose labels are numbers"),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path, arrays, text, kind, message):
    with pytest.raises(UserError, match=message):
        annotated(tmp_path, arrays, text, kind)


def test_an_image_without_its_line_is_named(tmp_path, arrays):
    with pytest.raises(UserError, match=r"annotations\.txt: no label for train_001\.png \(5 of 6 images have none\)"):
        annotated(tmp_path, arrays, "train_000.png 7\n")
    assert not (tmp_path / "train.csv").exists()
