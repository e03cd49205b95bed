"""Models that are given labels: their bound from independent code, and real digits on the road to the tables."""

import math
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from evaluation_cases import SAMPLES, SETTINGS, read_suites, result_paths, settings_of, smooth_images
from evaluation_cases import write_data as write_splits
from run_specs import run_spec
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from test_resume import assert_equal, in_a_process, result, train_and_kill
from training_cases import digits, outputs, run, write_data

from vaebench.base.errors import UserError
from vaebench.evaluation import run as evaluation
from vaebench.evaluation.generated import _midpoint_batches
from vaebench.evaluation.measurement import Task
from vaebench.evaluation.obedience import _told, balanced_accuracy
from vaebench.figures.pictures import conditional
from vaebench.metrics.likelihood import importance_weighted_bounds
from vaebench.models.building import build_model
from vaebench.models.conditions import described, read_conditions, with_label_values
from vaebench.models.inference import reconstruct
from vaebench.models.interface import Moment
from vaebench.models.label_names import why_no_labels
from vaebench.models.run_spec import Named
from vaebench.models.storage import load_model, save_model
from vaebench.results.suite_files import TrainingIdentity
from vaebench.sampling import samplers, showcase
from vaebench.sampling.choice import Sampler, find_sampler
from vaebench.sampling.given_labels import draw_given_labels
from vaebench.sampling.request import Drawn, Request
from vaebench.sampling.sampling_settings import SamplingSettings, ShowcaseSettings
from vaebench.training.minibatches import Minibatches
from vaebench.training.record import TrainingFiles, TrainingJob

SHAPE = (1, 28, 28)
VALUES = {"class": ["bag", "coat", "shoe"], "Smiling": ["-1", "1"]}
ROWS = torch.eye(3)[[0, 2, 1, 2]], torch.eye(2)[[1, 0, 0, 1]]
GIVEN = torch.cat(ROWS, 1)  # of four images
X = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def spec(conditional, config=None, **training):
    fields = {"latent_dim": 4, "likelihood": {"gaussian": {"sigma": 1}}, **(config or {}), "conditional": conditional}
    return run_spec("LikelihoodVAE", config=fields, training={"select": "last", **training})


def built(conditional=VALUES, **config):
    """A model in float64 whose learned images are not zeros."""
    torch.manual_seed(0)
    model = build_model(spec(conditional, config), SHAPE).double().eval()
    if model.labels:
        torch.nn.init.normal_(model.conditioning.images, std=0.1)
    return model


def write_labels(path, columns, count=None):
    """A CSV of labels as the rule `annotate` writes it."""
    frame = pd.DataFrame(columns)
    frame.index = [f"{number:03d}.png" for number in range(len(frame))]
    frame.to_csv(path, index_label="image")
    return path


@pytest.mark.parametrize("config", [{}, {"spatial": True}, {"posterior_variance": 0.2}])
def test_the_bound_is_that_of_independent_code(config):
    model = built(**config)
    torch.manual_seed(1)
    with model.given(GIVEN):
        terms = model.losses(X, Moment()).terms
    torch.manual_seed(1)
    seen = X.clone()
    for number, row in enumerate(GIVEN):
        for value in row.nonzero().ravel():
            seen[number] += model.conditioning.images[value]
    answer = model.encoder(seen)
    if "spatial" in config:
        mean, log_variance = answer.embedding[:, :4], answer.embedding[:, 4:]
    else:
        mean, log_variance = answer.embedding, answer.log_covariance
    if "posterior_variance" in config:
        log_variance = torch.full_like(mean, 0.2).log()
    q = torch.distributions.Normal(mean, log_variance.exp().sqrt())
    z = mean + torch.randn_like(mean) * q.stddev
    rows = GIVEN.double()
    planes = rows if z.ndim == 2 else torch.einsum("bk,hw->bkhw", rows, torch.ones(z.shape[2:]).double())
    p = torch.distributions.Normal(model.decoder(torch.cat([z, planes], 1)).reconstruction, 1.0)
    nats = -p.log_prob(X).flatten(1).sum(1)
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).flatten(1).sum(1)
    torch.testing.assert_close(terms["loss"], (nats + kl).mean(), rtol=1e-12, atol=0)
    terms["loss"].backward()
    assert (model.conditioning.images.grad.flatten(1).abs().sum(1) > 0).all()


def test_without_labels_in_its_weights_it_is_the_unconditional_model():
    plain, model = built(None), built()
    assert not [name for name in plain.state_dict() if "conditioning" in name]
    model.encoder.load_state_dict(plain.encoder.state_dict())
    state = plain.decoder.state_dict()
    first = state["first.weight"]
    state["first.weight"] = torch.cat([first, torch.zeros(len(first), 5)], 1)
    model.decoder.load_state_dict(state)
    for row in GIVEN[:2]:
        with torch.no_grad(), model.given(row[None]):
            found = model.encode(X)
            shifted = plain.encode(X + (row[:, None, None, None] * model.conditioning.images).sum(0))
            torch.testing.assert_close(found.mean, shifted.mean, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(found.log_variance, shifted.log_variance, rtol=1e-12, atol=1e-12)
            z = found.mean
            torch.testing.assert_close(model.decode(z), plain.decode(z), rtol=1e-12, atol=1e-12)


def test_labels_decide_and_must_be_given():
    model = built()
    assert model.latent_shape == (4,)
    with pytest.raises(UserError, match="was not given the labels of its images"):
        model.encode(X)
    with torch.no_grad(), model.given(GIVEN):
        both = model.encode(X).mean
        with model.given(GIVEN[1:2]):
            other = model.encode(X).mean
        assert torch.equal(model.encode(X).mean, both)
    assert not torch.isclose(both[0], other[0]).any()
    torch.testing.assert_close(both[1], other[1])
    assert model.condition is None


def test_importance_samples_are_of_each_image_with_its_own_labels():
    model = built().float()
    x = X.float()
    with model.given(GIVEN):
        together = importance_weighted_bounds(model, x, 3, np.random.default_rng(0))
    generator, alone = np.random.default_rng(0), []
    for i in range(len(x)):
        with model.given(GIVEN[i : i + 1]):
            alone.append(importance_weighted_bounds(model, x[i : i + 1], 3, generator)["log_likelihood_gaussian"])
    torch.testing.assert_close(together["log_likelihood_gaussian"], torch.cat(alone), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "must be the name of a label"),
        (3, "must be the name of a label"),
        ({}, "without values"),
        (["Male", "Male"], "Male is named twice"),
    ],
)
def test_the_field_is_checked(value, reason):
    assert reason in why_no_labels(value)


def test_what_the_field_may_be():
    assert [why_no_labels(value) for value in (None, "class", ["Smiling", "Male"], {"class": ["a"]})] == [None] * 4


def test_labels_are_read_as_columns_or_as_a_class(tmp_path):
    folders = write_labels(tmp_path / "folders.csv", {"bag": [0, 1, 0], "coat": [1, 0, 0], "shoe": [0, 0, 1]})
    found = with_label_values(spec("class"), folders).config["conditional"]
    assert found == {"class": ["bag", "coat", "shoe"]}
    np.testing.assert_array_equal(read_conditions(folders, found), [[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    columns = write_labels(tmp_path / "columns.csv", {"class": [10, 9, 10], "Smiling": [1, -1, -1]})
    found = with_label_values(spec(["Smiling", "class"]), columns).config["conditional"]
    assert found == {"Smiling": ["-1", "1"], "class": ["9", "10"]}
    rows = read_conditions(columns, found)
    np.testing.assert_array_equal(rows, [[0, 1, 0, 1], [1, 0, 1, 0], [1, 0, 0, 1]])
    assert [described(row, found) for row in rows] == ["Smiling 1, 10", "Smiling -1, 9", "Smiling -1, 10"]


def test_a_saved_model_has_its_labels_in_their_places(tmp_path):
    """Whatever the order in which they were named."""
    labels = write_labels(tmp_path / "labels.csv", {"Male": [1, 0, 1], "Smiling": [0, 0, 1], "Age": [30, 7, 30]})
    known = with_label_values(spec(["Smiling", "Male", "Age"]), labels)
    model = build_model(known, SHAPE).eval()
    torch.nn.init.normal_(model.conditioning.images)
    save_model(model, known.as_record(), tmp_path / "model")
    opened = load_model(tmp_path / "model")
    assert dict(opened.labels) == {"Age": ("7", "30"), "Male": ("0", "1"), "Smiling": ("0", "1")}
    rows = [torch.from_numpy(read_conditions(labels, each.labels)) for each in (model, opened)]
    with torch.no_grad(), model.given(rows[0]), opened.given(rows[1]):
        assert torch.equal(model.encode(X[:3].float()).mean, opened.encode(X[:3].float()).mean)


@pytest.mark.parametrize(
    ("conditional", "columns", "reason"),
    [
        (["Smile"], {"Smiling": [1, 0]}, "has no label 'Smile'; it has Smiling"),
        ("class", {"a": [1, 1], "b": [0, 1]}, "001.png has 2 columns that are 1"),
        (["Smiling"], {"Smiling": [1, 1]}, "Smiling is 1 for every training image"),
    ],
)
def test_labels_that_do_not_do_are_named(tmp_path, conditional, columns, reason):
    with pytest.raises(UserError, match=reason):
        with_label_values(spec(conditional), write_labels(tmp_path / "labels.csv", columns))


def test_a_value_that_was_never_trained_is_named(tmp_path):
    labels = write_labels(tmp_path / "labels.csv", {"class": ["bag", "hat"]})
    with pytest.raises(UserError, match=r"labels\.csv: class is hat for an image, and for no training image"):
        read_conditions(labels, {"class": ["bag", "shoe"]})


@pytest.mark.parametrize("split", ["eval", "test"])
def test_nothing_is_trained_where_held_out_images_have_a_value_of_their_own(split, tmp_path):
    data = write_data(tmp_path)
    values = {"train": ["bag", "shoe"] * 20, "eval": ["bag"] * 20, "test": ["shoe"] * 3}
    values[split] = [*values[split][1:], "hat"]
    labels = {name: write_labels(tmp_path / f"{name}.csv", {"class": found}) for name, found in values.items()}
    with pytest.raises(UserError, match=rf"{split}\.csv: class is hat for an image, and for no training image"):
        run(spec("class", epochs=1), data, tmp_path, labels=labels)
    assert not (tmp_path / "history.csv").exists()


def test_labels_of_test_images_make_no_training_another(tmp_path):
    data = write_data(tmp_path)
    values = {"train": ["bag", "shoe"] * 20, "eval": ["bag"] * 20, "test": ["shoe"] * 3}
    labels = {name: write_labels(tmp_path / f"{name}.csv", {"class": found}) for name, found in values.items()}
    paths = [tmp_path / name for name in ("model", "history.csv", "provenance.json", "state")]
    files = TrainingFiles(data["train_data"], data["eval_data"], *paths, labels={**labels})
    job = TrainingJob(spec("class"), 0, files, "code")
    del labels["test"]
    assert job.key() == replace(job, files=replace(files, labels=labels)).key()
    assert job.data_digests().keys() == {"train", "eval", "train_labels", "eval_labels"}


def test_nothing_is_trained_without_labels(tmp_path):
    with pytest.raises(UserError, match=r"conditional: the data set has no labels; give dataset\.labels"):
        run(spec("class"), write_data(tmp_path), tmp_path)
    assert not (tmp_path / "final_model").exists()


def test_batches_carry_the_labels_of_their_images(tmp_path):
    """Also of shuffled and mirrored ones."""
    images = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), np.uint8)
    batches = Minibatches(images, 4, torch.device("cpu"))
    batches.conditions = torch.arange(10.0)[:, None]
    model = built()
    torch.manual_seed(0)
    order = batches.order(shuffle=True, mirror=True)
    assert (np.concatenate(order) < 0).any()
    for x in batches.load_given(model, order):
        torch.testing.assert_close(255 * x[:, 0, 0, 0], model.condition[:, 0])
    assert model.condition is None


def test_samplers_fit_to_the_images_of_each_label_and_are_put_back_in_place():
    model = built({"class": ["a", "b"]}).float()
    labels = {"train": [0, 0, 1, 0], "eval": [1, 0], "test": [0, 0]}
    conditions = {split: np.eye(2, dtype=np.float32)[places] for split, places in labels.items()}
    images = {split: np.arange(len(places), dtype=np.uint8)[:, None, None, None] for split, places in labels.items()}
    seen = {}

    def draw(request):
        label = int(request.model.condition[0].argmax())
        seen[label] = {split: pixels.ravel().tolist() for split, pixels in request.images.items()}
        nats = {split: 10.0 * label + request.images[split].ravel() for split in request.held_out}
        return Drawn(torch.full((request.count, 4), float(label)), latent_nats=nats)

    request = Request(model, 4000, {}, np.random.default_rng(0), images)
    drawn, rows = draw_given_labels(Sampler(draw, {}), request, conditions)
    assert seen == {0: {"train": [0, 1, 3], "eval": [1], "test": [0, 1]}, 1: {"train": [2], "eval": [0]}}
    assert torch.equal(drawn.latents[:, 0], torch.from_numpy(rows.argmax(1)).float())
    assert rows[:, 1].mean() == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / 4000) ** 0.5)
    assert drawn.latent_nats["eval"].tolist() == [10.0, 1.0]
    assert drawn.latent_nats["test"].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("name", ["maf", "two_stage"])
def test_a_density_that_is_fitted_by_epochs_needs_validation_images_of_each_label(name):
    model = built({"class": ["a", "b"]}).float()
    rows = np.eye(2, dtype=np.float32)
    conditions = {"train": rows[[0, 0, 1, 1]], "eval": rows[[1]], "test": rows[[0]]}
    images = {split: smooth_images(len(labels)) for split, labels in conditions.items()}
    sampler = find_sampler(model, name)
    request = Request(model, 20, {**sampler.options, "epochs": 1}, np.random.default_rng(0), images)
    with pytest.raises(UserError, match="no validation image has these labels"):
        draw_given_labels(sampler, request, conditions)


def test_mid_points_lie_between_labels_too(tmp_path):
    model = built({"class": ["a", "b"]}).float()
    images, rows = smooth_images(3), np.eye(2, dtype=np.float32)[[0, 1, 0]]
    task = Task(model, 0, images, images, tmp_path, settings_of(SETTINGS), None, {}, "cpu", {}, {"test": rows})
    ((found, kept),) = _midpoint_batches(task, 3)
    order = np.random.default_rng(0).permutation(3)
    x, given = torch.from_numpy(images).float() / 255, torch.from_numpy(rows)
    for number, (first, second) in enumerate(zip(order, np.roll(order, -1), strict=True)):
        with torch.no_grad():
            ends = []
            for end in (first, second):
                with model.given(given[end][None]):
                    ends.append(model.encode(x[end][None]).mean)
            with model.given((given[first] + given[second])[None] / 2):
                expected = model.decode((ends[0] + ends[1]) / 2)
        torch.testing.assert_close(found[number], expected[0].clamp(0, 1), rtol=1e-4, atol=1e-5)
    assert kept == 3


def test_balanced_accuracy_is_the_mean_over_the_values():
    truth, answers = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 0])
    value, deviations = balanced_accuracy(truth, answers)
    assert value == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert np.linalg.norm(deviations) == pytest.approx(((3 / 4 * 1 / 4) / 4 + (1 / 2 * 1 / 2) / 2) ** 0.5 / 2)


def test_an_accuracy_of_one_has_no_known_error():
    scores = {"class": balanced_accuracy(np.arange(10), np.arange(10)), "Smiling": (0.9, np.full(10, 0.03 / 10**0.5))}
    found = _told("condition_accuracy", scores, 10, "")
    assert math.isnan(found["condition_accuracy/class"].std_error)
    assert found["condition_accuracy"].std_error == pytest.approx(0.015)


def test_labels_that_say_the_same_of_each_image_are_no_two_samples():
    """Two copies of a label have the error of one; two that are told independently that of a mean of two."""
    random, count = np.random.default_rng(0), 4000
    truth, right = random.integers(2, size=(2, count)), random.random((2, count)) < 0.8
    one, other = (
        balanced_accuracy(label, np.where(told, label, 1 - label)) for label, told in zip(truth, right, strict=True)
    )
    error = _told("condition_accuracy", {"a": one}, count, "")["condition_accuracy"].std_error
    copies = _told("condition_accuracy", {"a": one, "b": one}, count, "")
    assert copies["condition_accuracy"].std_error == pytest.approx(error, rel=1e-12)
    apart = _told("condition_accuracy", {"a": one, "b": other}, count, "")
    # of 4,000 products of independent deviations the mean is within 5 / √4000 of 0, relative to their squares'
    assert apart["condition_accuracy"].std_error ** 2 == pytest.approx(error**2 / 2, rel=0.16)


COUNTS = {"train": (0, 400), "eval": (1000, 40), "test": (1200, 200)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model of digits by their class, trained for some epochs, with its data and labels."""
    folder = tmp_path_factory.mktemp("conditional")
    data = write_splits(folder, {split: digits(count, start) for split, (start, count) in COUNTS.items()})
    labels = {
        split: write_labels(folder / f"{split}_labels.csv", {"class": load_digits().target[start : start + count]})
        for split, (start, count) in COUNTS.items()
    }
    how = spec("class", {"likelihood": {"gaussian": {"sigma": "optimal"}}}, epochs=12, learning_rate=3e-3)
    paths = run_given(how, data, labels, folder)
    return folder, how, data, labels, paths["output"]


def run_given(how, data, labels, folder):
    given = {split: labels[split] for split in ("train", "eval")}
    return run(how, {"train_data": data["train"], "eval_data": data["eval"]}, folder, labels=given)


@pytest.fixture(scope="module")
def measured(trained):
    """Its samples and the rows of its evaluation."""
    folder, _, data, labels, model = trained
    settings = SamplingSettings(count=300, batch_size=64, seed=999, device="cpu")
    files = samplers.SamplingFiles(model, data, folder / "samples.npz", labels)
    samplers.sample(files, Named("normal"), settings, 0, 1)
    files = evaluation.EvaluationFiles(model, data, folder / "samples.npz", {}, None, labels)
    settings = settings_of(SETTINGS | {"suites": [*SETTINGS["suites"], "likelihood"], "batch_size": 64})
    evaluation.evaluate(TrainingIdentity("digits", "x", "LikelihoodVAE", 0), files, settings, result_paths(folder), 1)
    return read_suites(folder)


def test_it_draws_what_its_labels_say(trained, measured):
    """As a classifier of real images sees them, fitted here on all pixels."""
    folder, _, data, _, _ = trained
    samples = np.load(folder / "samples.npz")
    train, targets = np.load(data["train"])["data"].reshape(400, -1) / 255, load_digits().target[:400]
    classifier = RidgeClassifier(alpha=10.0).fit(train, targets)
    wanted = samples["conditions"].argmax(1)
    assert np.bincount(wanted, minlength=10).min() > 5
    seen = classifier.predict(samples["data"].reshape(300, -1) / 255)
    obeyed = (seen == wanted).mean()
    assert obeyed > 0.5
    accuracy = float(measured["condition_accuracy"]["value"])
    assert accuracy == pytest.approx(obeyed, abs=0.2)
    assert 0.7 < float(measured["condition_accuracy_real"]["value"]) <= 1
    assert "by chance 0.1 for class" in measured["condition_accuracy"]["note"]
    assert 0 < float(measured["condition_accuracy"]["std_error"]) < 0.05


def test_what_is_measured_is_given_the_labels(trained, measured):
    """The rate and the error of every test image, computed here with the labels of the data set."""
    _, _, data, _, folder = trained
    model = load_model(folder)
    assert model.labels == {"class": tuple(map(str, range(10)))}
    x = torch.from_numpy(np.load(data["test"])["data"]).float() / 255
    rows = torch.eye(10)[load_digits().target[1200:1400]]
    with torch.no_grad(), model.given(rows):
        posterior, y = model.encode(x), reconstruct(model, x)
    assert float(measured["rate"]["value"]) == pytest.approx(posterior.kl().mean().item(), rel=1e-5)
    assert measured["neg_elbo"]["note"].startswith("4 draws an image, given class;")
    assert float(measured["mse"]["value"]) == pytest.approx((x - y).square().mean().item(), rel=1e-5)
    assert measured["log_likelihood_density"]["value"]


def test_its_showcase_has_a_row_for_each_label(trained):
    folder, _, data, labels, path = trained
    files = showcase.ShowcaseFiles(path, data["test"], folder / "showcase.npz", labels["test"])
    showcase.make_showcase(files, ShowcaseSettings(**SAMPLES["showcase"]), 5, 1)
    arrays, model = np.load(folder / "showcase.npz"), load_model(path)
    assert arrays["conditional"].shape == (10, showcase.LABELLED_COLUMNS, 1, 32, 32)
    assert arrays["conditional_labels"].tolist() == list(map(str, range(10)))
    noise = np.random.default_rng(5).standard_normal((showcase.LABELLED_COLUMNS, 4), dtype=np.float32)
    with torch.no_grad(), model.given(torch.eye(10)[3:4]):
        expected = model.decode(torch.from_numpy(noise)).clamp(0, 1)
    np.testing.assert_allclose(arrays["conditional"][3] / 255, expected.numpy(), atol=0.51 / 255)
    x = torch.from_numpy(arrays["originals"]).float() / 255
    with model.given(torch.eye(10)[load_digits().target[1200 + arrays["index"]]]):
        expected = reconstruct(model, x).numpy()
    np.testing.assert_allclose(arrays["reconstructions"] / 255, expected, atol=0.51 / 255)
    assert np.array_equal(arrays["interpolation"][:, 0], arrays["reconstructions"][:2])
    assert np.array_equal(arrays["interpolation"][:, -1], arrays["reconstructions"][2:4])


def test_a_killed_training_goes_on_to_the_same_model(tmp_path, trained):
    _, how, data, labels, _ = trained
    how = replace(how, training=replace(how.training, epochs=2, batch_size=200))
    folders = [tmp_path / name for name in ("left_alone", "killed")]
    for folder in folders:
        folder.mkdir()
    run_given(how, data, labels, folders[0])

    given = {split: labels[split] for split in ("train", "eval")}
    arrays = {"train_data": data["train"], "eval_data": data["eval"]}
    kill = partial(train_and_kill, labels=given)
    assert in_a_process(kill, how, arrays, folders[1], 15, 2, 1) == 143
    run_given(how, data, labels, folders[1])
    assert_equal(result(folders[1]), result(folders[0]))
    assert "resumed_at_epoch" in outputs(folders[1])["provenance"].read_text()


def test_a_state_of_other_labels_is_not_gone_on_with(tmp_path, trained):
    _, how, data, labels, _ = trained
    how = replace(how, training=replace(how.training, epochs=1))
    first = run_given(how, data, labels, tmp_path)["output"]
    before = (first / "model.pt").read_bytes()
    shuffled = pd.read_csv(labels["train"], index_col=0)
    shuffled["class"] = shuffled["class"].to_numpy()[::-1]
    others = {**labels, "train": tmp_path / "others.csv"}
    shuffled.to_csv(others["train"])
    assert (run_given(how, data, others, tmp_path)["output"] / "model.pt").read_bytes() != before


def test_the_figure_has_a_row_for_each_label():
    images = np.arange(3, dtype=np.uint8)[:, None, None, None, None] * np.full((1, 2, 1, 4, 4), 50, np.uint8)
    shown = {"conditional": images, "conditional_labels": np.array(["Smiling -1", "Smiling 0", "Smiling 1"])}
    runs = [
        SimpleNamespace(name=name, entry=name, arrays=lambda file, found=found: found)
        for name, found in (("plain", {}), ("given", shown))
    ]
    (axes,) = conditional(SimpleNamespace(runs=runs)).axes
    assert [text.get_text() for text in axes.texts] == ["given", *shown["conditional_labels"]]
    canvas = axes.images[0].get_array()
    assert [int(canvas[row * 6, 0, 0]) for row in range(3)] == [0, 50, 100]
