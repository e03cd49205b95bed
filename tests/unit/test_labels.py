"""Labels: which label belongs to which image, what its values mean, and the probes that read them."""

import json

import numpy as np
import pandas as pd
import pytest
from evaluation_cases import SETTINGS, default_model, settings_of, smooth_images, write_data
from scipy.stats import mannwhitneyu

from vaebench.base.errors import UserError
from vaebench.base.npz import open_array, write_array
from vaebench.data.labels import binary_columns, labels_of, read_labels
from vaebench.evaluation.labelled import probe_metrics, supervised_metrics, training_images
from vaebench.evaluation.measurement import Task
from vaebench.metrics.pairs import PairMetrics
from vaebench.metrics.probes import Scores, probe


@pytest.fixture
def label_file(tmp_path):
    def write(text, name="labels.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def labels(*names):
    return pd.DataFrame({"value": range(len(names))}, index=list(names))


def matched(table, *images):
    return labels_of(table, {"test": list(images)}, "labels.csv")["test"]["value"].tolist()


def test_class_folders_may_hold_equal_file_names():
    table = labels("cats/1.jpg", "dogs/1.jpg", "dogs/2.jpg")
    assert matched(table, "dogs/2.jpg", "dogs/1.jpg", "cats/1.jpg") == [2, 1, 0]
    assert matched(table, "images/dogs/1.jpg", "images/cats/1.jpg") == [1, 0]


def test_either_name_may_carry_more_folders():
    assert matched(labels("1.jpg", "2.jpg"), "img_align_celeba/2.jpg", "img_align_celeba/1.jpg") == [1, 0]
    assert matched(labels("all/cats/1.jpg", "all/dogs/1.jpg"), "dogs/1.jpg", "cats/1.jpg") == [1, 0]
    assert matched(labels("all/1.jpg", "1.jpg"), "1.jpg") == [1]


def test_a_label_of_another_folder_is_no_label():
    with pytest.raises(UserError, match=r"no label for cats/1\.jpg \(1 of 2"):
        matched(labels("dogs/1.jpg"), "cats/1.jpg", "dogs/1.jpg")


@pytest.mark.parametrize(
    ("names", "images", "message"),
    [
        (["1.jpg"], ["cats/1.jpg", "dogs/1.jpg"], r"1\.jpg may be cats/1\.jpg or dogs/1\.jpg"),
        (["1.jpg"], ["1.jpg", "dogs/1.jpg"], r"1\.jpg may be 1\.jpg or dogs/1\.jpg"),
        (["cats/1.jpg", "dogs/1.jpg"], ["1.jpg"], r"several lines end in 1\.jpg"),
    ],
)
def test_what_cannot_be_told_is_not_guessed(names, images, message):
    with pytest.raises(UserError, match=message):
        matched(labels(*names), *images)


def test_the_label_that_was_probably_meant_is_named():
    with pytest.raises(UserError, match=r"no label for a/1\.jpg \(1 of 2 images have none\); it has A/1\.JPG$"):
        labels_of(labels("A/1.JPG", "a/2.jpg"), {"train": ["a/1.jpg", "a/2.jpg"]}, "labels.csv")


def test_images_of_two_splits_do_not_share_a_label():
    with pytest.raises(UserError, match=r"may be cats/1\.jpg or dogs/1\.jpg"):
        labels_of(labels("1.jpg"), {"train": ["cats/1.jpg"], "test": ["dogs/1.jpg"]}, "labels.csv")


def test_both_layouts_give_the_same_table(label_file):
    csv = read_labels(label_file("image,Young,Male\n./000001,1,-1\n000002,-1,1\n"))
    celeba = read_labels(label_file("2\nYoung Male\n000001  1 -1\n000002 -1  1\n", "list_attr_celeba.txt"))
    pd.testing.assert_frame_equal(csv, celeba, check_names=False)
    assert csv.index.tolist() == ["000001", "000002"]
    assert csv.dtypes.tolist() == [np.dtype(np.int64)] * 2


def test_names_are_written_as_those_of_the_images_are(label_file):
    """Windows' separators, and letters that macOS takes apart."""
    table = read_labels(label_file("image,smile\na\\1.jpg,1\n./u\u0308.jpg,0\n"))
    assert list(table.index) == ["a/1.jpg", "\u00fc.jpg"]


def test_celebas_other_files_are_read(label_file):
    identity = read_labels(label_file("000001.jpg 2880\n000002.jpg 2937\n", "identity_CelebA.txt"))
    assert identity["identity"].to_dict() == {"000001.jpg": 2880, "000002.jpg": 2937}
    tabs = read_labels(label_file("a_b.jpg\t12\nc.jpg\t13\n", "persons.txt"))
    assert tabs["identity"].to_dict() == {"a_b.jpg": 12, "c.jpg": 13}
    boxes = "2\nimage_id x_1 y_1 width height\n000001.jpg    95  71 226 313\n000002.jpg    72  94 221 306\n"
    boxes = read_labels(label_file(boxes, "list_bbox_celeba.txt"))
    assert boxes.loc["000002.jpg"].to_dict() == {"x_1": 72, "y_1": 94, "width": 221, "height": 306}
    points = read_labels(label_file("1\nlefteye_x lefteye_y\n000001.jpg  69  -3\n", "list_landmarks.txt"), whole=False)
    assert points.loc["000001.jpg"].tolist() == [69.0, -3.0]
    points = read_labels(label_file("image,x,y\na.jpg,0.5,12\n"), whole=False)
    assert points.loc["a.jpg"].tolist() == [0.5, 12.0]
    with pytest.raises(UserError, match=r"y of a\.jpg is 'nan'"):
        read_labels(label_file("image,x,y\na.jpg,0.5,nan\n"), whole=False)


def test_whole_numbers_may_be_written_as_floats_or_booleans(label_file):
    table = read_labels(label_file("image,A,B\nNA,1.0,True\nx,0.0,False\n"))
    assert table.loc["NA"].tolist() == [1, 1]
    assert table["A"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,A\nx.jpg,0.7\n", r"A of x\.jpg is '0\.7': not a label file"),
        ("image,A\nx.jpg,1\ny.jpg,maybe\n", r"A of y\.jpg is 'maybe': not a label file"),
        ("image,A\nx.jpg,1\ny.jpg,\n", r"A of y\.jpg is '': not a label file"),
        ("image,A\nx.jpg,1\nx.jpg,0\n", r"two lines for x\.jpg"),
        ("image,A,A\nx.jpg,1,0\n", r"two columns are called A"),
        ("image,A\nx.jpg,99999999999999999999\n", r"A of x\.jpg is '9{20}': not a label file"),
        ("image\nx.jpg\n", "has no labels"),
        ("image;A\nx.jpg;1\n", r"has no labels beside its first column; is it a CSV of commas\?"),
        ("image,A,B\nx.jpg,1,0,7\ny.jpg,0,1,8\n", "more values than there are columns"),
        ("2\nA B\nx.jpg 1 0 7\ny.jpg 0 1 8\n", "more values than there are columns"),
        ("x.jpg,1\ny.jpg,0\n", r"its first line is of the image x\.jpg"),
        ("image,A\nx.jpg,10000000000000000000\n", r"A of x\.jpg is '10000000000000000000': not a label file"),
        ("image,A\nx.jpg,1e30\n", r"A of x\.jpg is '1e\+30': not a label file"),
        ("", "not a label file"),
    ],
)
def test_what_is_no_label_file_is_named(text, message, label_file):
    with pytest.raises(UserError, match=message):
        read_labels(label_file(text))


def columns_of(train, held_out):
    table = pd.DataFrame({"shape": [*train, *held_out]})
    values = {"shape": np.unique(table["shape"])}
    parts = table.iloc[: len(train)], table.iloc[len(train) :]
    return [binary_columns(part, values) for part in parts]


def test_a_value_that_one_split_lacks_changes_no_column():
    train, held_out = columns_of([0, 1, 2, 2], [0, 1, 1])
    assert list(train) == list(held_out) == ["shape=0", "shape=1", "shape=2"]
    assert held_out["shape=1"].tolist() == [False, True, True]
    assert not held_out["shape=2"].any()


def test_codes_go_by_value_and_not_by_order():
    train, held_out = columns_of([0, 1], [1, 2])
    assert train["shape=1"].tolist() == [False, True]
    assert held_out["shape=1"].tolist() == [True, False]


def test_of_two_values_the_larger_is_the_yes():
    train, held_out = columns_of([-1, 1, 1], [1, 1])
    assert list(train) == ["shape"]
    assert train["shape"].tolist() == [False, True, True]
    assert held_out["shape"].all()


def test_the_probe_separates_as_ridge_regression_on_balanced_signs_does():
    """Normal equations with weights that make both classes equally heavy, and the area as Mann and Whitney's U."""
    random = np.random.default_rng(0)
    train, held_out = random.normal(size=(400, 6)), random.normal(size=(150, 6))
    targets, truth = (z[:, 0] + 0.7 * random.normal(size=len(z)) > 1.2 for z in (train, held_out))
    (score,) = probe(train, targets[:, None], held_out, truth[:, None])
    z, z_held = ((part - train.mean(0)) / train.std(0) for part in (train, held_out))
    design = np.column_stack([z, np.ones(len(z))])
    weights = np.where(targets, 0.5 / targets.sum(), 0.5 / (~targets).sum()) * len(targets)
    penalty = np.diag([1.0] * 6 + [0.0])
    solution = np.linalg.solve(design.T * weights @ design + penalty, design.T * weights @ np.where(targets, 1, -1))
    decision = z_held @ solution[:-1] + solution[-1]
    expected = mannwhitneyu(decision[truth], decision[~truth]).statistic / (truth.sum() * (~truth).sum())
    assert score.auc == pytest.approx(expected, abs=1e-12)
    assert score.balanced_accuracy == pytest.approx(((decision[truth] > 0).mean() + (decision[~truth] <= 0).mean()) / 2)


def test_a_label_of_one_class_has_no_score_and_says_so():
    z = np.random.default_rng(0).normal(size=(20, 2))
    kinds = np.stack([np.ones(20, bool), np.zeros(20, bool), z[:, 0] > 0], axis=1)
    everywhere, nowhere, sound = probe(z, kinds, z, kinds)
    assert (everywhere.note, nowhere.note, sound.note) == (
        "all of the training images have this label",
        "none of the training images have this label",
        "",
    )
    assert sound.auc > 0.9
    (absent,) = probe(z, kinds[:, 2:], z, kinds[:, 1:2])
    assert absent.note == "none of the held-out images have this label"


def test_latents_that_are_not_finite_have_no_score():
    z = np.random.default_rng(0).normal(size=(20, 2))
    kinds = z[:, :1] > 0
    (score,) = probe(z, kinds, np.where(z == z[3], np.nan, z), kinds)
    assert np.isnan(score.auc)
    assert score.note == "the latents of 1 of 40 images are not finite"


def test_the_mean_over_labels_names_the_labels_without_a_value():
    scores = {"A": Scores(0.8, 0.7), "B": Scores(note="none of the training images have this label")}
    metrics = probe_metrics(scores, 50)
    assert metrics["probe_auc"].value == 0.8
    assert metrics["probe_auc"].note == "mean over 1 of 2 labels, without B"
    assert metrics["probe_auc/B"].note == "none of the training images have this label"
    many = probe_metrics({"A": scores["A"]} | {f"B{number}": scores["B"] for number in range(50)}, 50)
    assert (
        many["probe_auc"].note
        == f"mean over 1 of 51 labels, without {', '.join(f'B{n}' for n in range(10))}, 40 others"
    )
    nothing = probe_metrics({"B": scores["B"]}, 50)["probe_balanced_accuracy"]
    assert np.isnan(nothing.value)
    assert nothing.note == "no label has a value; none of the training images have this label"


def test_the_probe_is_fitted_on_images_from_all_of_the_split(tmp_path):
    """A file sorted by class would otherwise give the first classes only."""
    write_array(tmp_path / "train.npz", np.zeros((21_000, 1, 1, 1), np.uint8))
    chosen = training_images(tmp_path / "train.npz", 0)
    assert len(np.unique(chosen)) == 20_000
    assert chosen[-1] > 20_900
    assert not np.array_equal(chosen, training_images(tmp_path / "train.npz", 1))


def test_a_study_of_class_folders_with_a_value_that_one_split_lacks(tmp_path):
    """Equal file names in three folders; the third class has no held-out image."""
    counts = {"train": [30, 30, 30], "test": [15, 15, 0]}
    data, lines = {}, ["image,class,round,person", *(f"elsewhere{i}.png,0,0,{1000 + i}" for i in range(100))]
    for split, sizes in counts.items():
        images, names = [], []
        for kind, size in enumerate(sizes):
            images.append(smooth_images(size, seed=kind) // 4 + np.uint8(80 * kind))
            names += [f"class{kind}/{split}{i}.png" for i in range(size)]
            lines += [f"class{kind}/{split}{i}.png,{kind},{i % 2},{len(lines) + i}" for i in range(size)]
        data |= write_data(tmp_path, {split: np.concatenate([part for part in images if len(part)])})
        manifest = data[split].with_suffix(".json")
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"ids": names}))
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    settings = settings_of(SETTINGS | {"factors": ["class", "round"]})
    images = {split: open_array(path) for split, path in data.items()}
    pairs = PairMetrics((1, 28, 28), [], [], {}, "cpu")
    task = Task(default_model("VAE"), 0, images["test"], images["train"], tmp_path, settings, pairs, {}, "cpu")
    found = supervised_metrics(task, tmp_path / "labels.csv", data, threads=1)
    assert found["probe_auc/class=0"].value == pytest.approx(1, abs=0.05)
    assert np.isfinite(found["probe_auc/class=1"].value), "between the two others, which no plane cuts off"
    assert found["probe_auc/class=2"].note == "none of the held-out images have this label"
    assert not any(name.startswith("probe_auc/person=") for name in found), "a probe of each of 220 persons"
    assert found["probe_auc/person"].note == "its 220 values are more than the 200 that are taken for classes"
    assert found["probe_auc"].note == "mean over 3 of 5 labels, without class=2, person"
    assert found["dci_informativeness"].value > 0.5
