"""Quantised models that are given labels, and the prior of their codes that is given them too."""

import itertools
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from evaluation_cases import SAMPLES, SETTINGS, read_suites, result_paths, settings_of
from evaluation_cases import write_data as write_splits
from run_specs import run_spec
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from test_conditional import COUNTS, GIVEN, SHAPE, VALUES, X, run_given, write_labels
from test_resume import assert_equal, in_a_process, result, train_and_kill
from training_cases import digits, outputs

from vaebench.base.errors import UserError
from vaebench.evaluation import run as evaluation
from vaebench.figures.pictures import conditional
from vaebench.models.building import build_model
from vaebench.models.catalog import grid_size
from vaebench.models.interface import Moment
from vaebench.models.lookup import MODELS
from vaebench.models.run_spec import Named
from vaebench.models.sampler_options import defaults_of
from vaebench.models.storage import load_model
from vaebench.results.study import Run
from vaebench.results.suite_files import TrainingIdentity
from vaebench.sampling import samplers, showcase
from vaebench.sampling.causal_transformer import CausalTransformer, Size
from vaebench.sampling.choice import find_sampler
from vaebench.sampling.given_labels import draw_given_labels
from vaebench.sampling.request import Request
from vaebench.sampling.sampling_settings import SamplingSettings, ShowcaseSettings
from vaebench.sampling.transformer import code_nats, fit_transformer, sample_codes

QUANTIZERS = {
    "QuantizedAE": {"fsq": {"levels": [4, 3]}},
    "HRQVAE": {"hierarchical": {"codebook_size": 4, "depth": 2}},
}
QUICK = {"epochs": 30, "width": 32, "layers": 1, "heads": 2, "learning_rate": 1e-2, "batch_size": 64}


def spec(model, conditional, config=None, **training):
    fields = {"latent_dim": 4, "downsampling": 16, "quantizer": QUANTIZERS[model], "conditional": conditional}
    return run_spec(model, config=fields | (config or {}), training={"select": "last", **training})


def built(model, conditional=VALUES, shape=SHAPE):
    """A model in float64 whose learned images are not zeros."""
    torch.manual_seed(0)
    found = build_model(spec(model, conditional), shape).double().eval()
    if found.labels:
        torch.nn.init.normal_(found.conditioning.images, std=0.1)
    return found


@pytest.mark.parametrize("name", QUANTIZERS)
def test_the_loss_is_that_of_independent_code(name):
    model = built(name)
    with model.given(GIVEN):
        terms = model.losses(X, Moment()).terms
    seen = X.clone()
    for number, row in enumerate(GIVEN):
        for value in row.nonzero().ravel():
            seen[number] += model.conditioning.images[value]
    found = model.quantizer(model.encoder(seen).embedding, Moment())
    planes = GIVEN.double()[:, :, None, None].expand(-1, -1, *grid_size(SHAPE[1:], 16))
    y = model.decoder(torch.cat([found.vectors, planes], 1)).reconstruction
    expected = (X - y).square().sum() / len(X) + (0 if found.loss is None else found.loss)
    torch.testing.assert_close(terms["loss"], expected, rtol=1e-12, atol=0)
    terms["loss"].backward()
    assert (model.conditioning.images.grad.flatten(1).abs().sum(1) > 0).all()
    with torch.no_grad(), model.given(GIVEN):
        torch.testing.assert_close(model.decode(model.encode(X).mode()), y.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_without_labels_nothing_is_added(name):
    assert not [key for key in built(name, None).state_dict() if "conditioning" in key]
    info = MODELS[name]
    assert info.sampler_of({"quantizer": {"fsq": {}}}) == "pixelcnn"
    assert info.sampler_of({"quantizer": {"fsq": {}}, "conditional": "class"}) == "transformer"
    with pytest.raises(UserError, match="was not given the labels of its images"):
        built(name).encode(X)


def network(shape, labels=3, codes=3):
    """A float64 prior whose weights are large enough for every input to show."""
    torch.manual_seed(0)
    prior = CausalTransformer(codes, shape, Size(8, 2, 2), labels).double().eval()
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return prior


SHAPES = [(2, 2), (2, 1, 2)]  # of one level and of two


def sequence_nats(prior, sequence, row):
    """-ln p of a sequence given a row of labels, code by code, by NumPy."""
    drawing, total = prior.drawing(1), 0.0
    for place in range(len(sequence)):
        beginning = torch.tensor([[*row, *sequence[:place]]], dtype=torch.int64)
        logits = prior.next_logits(beginning, drawing)[0].double().numpy()
        total += np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[sequence[place]]
    return total


@torch.no_grad()
@pytest.mark.parametrize("shape", SHAPES)
def test_the_prior_is_a_distribution_given_each_row_of_labels(shape):
    prior = network(shape)
    every = torch.tensor(list(itertools.product(range(3), repeat=4)))
    grids, tables = CausalTransformer(3, shape, Size(8, 1, 1)).grids(every), []
    for row in np.eye(3):
        given = torch.tensor(row).expand(len(every), 3)
        nats = code_nats(prior, grids, 20, given).reshape(len(every), -1).sum(1)
        assert np.exp(-nats).sum() == pytest.approx(1, abs=1e-12)
        for place in (0, 17, 80):
            own = sequence_nats(prior, every[place].tolist(), row.astype(int).tolist())
            assert nats[place] == pytest.approx(own, rel=1e-12)
        tables.append(nats)
    assert (np.abs(np.diff(tables, axis=0)) > 1e-6).all()
    torch.testing.assert_close(prior.grids(prior.sequences(grids, given)), grids)


@pytest.mark.parametrize("shape", SHAPES)
def test_samples_follow_the_probabilities_given_their_labels(shape):
    prior, count = network(shape, labels=2, codes=2), 10_000
    every = torch.tensor(list(itertools.product(range(2), repeat=4))).reshape(-1, *shape)
    rows = torch.eye(2)[torch.arange(2 * count) % 2]
    drawn = sample_codes(prior, 2 * count, 0, given=rows).flatten(1) @ (2 ** torch.arange(3, -1, -1))
    for label in range(2):
        nats = code_nats(prior, every, 16, torch.eye(2)[label].expand(16, 2)).reshape(16, -1).sum(1)
        expected, shares = np.exp(-nats), drawn[label::2].bincount(minlength=16).numpy() / count
        assert (np.abs(shares - expected) < 5 * np.sqrt(expected * (1 - expected) / count)).all()


def test_labels_of_no_worth_leave_the_unconditional_prior():
    """To the last bit: what it computes and what is drawn."""
    plain, given = network((2, 3), labels=0), network((2, 3), labels=2)
    assert set(given.state_dict()) - set(plain.state_dict()) == {"given.weight"}
    given.load_state_dict({**plain.state_dict(), "given.weight": torch.zeros(8, 2).double()})
    rows, grids = torch.eye(2)[torch.arange(40) % 2], torch.randint(3, (40, 2, 3))
    assert np.array_equal(code_nats(plain, grids, 16), code_nats(given, grids, 16, rows))
    assert torch.equal(sample_codes(plain, 40, 5), sample_codes(given, 40, 5, given=rows))


@pytest.mark.parametrize("levels", [1, 2])
def test_codes_that_follow_from_the_label_are_drawn_so(levels):
    """Each label has a grid of its own: no code costs anything once the label is known, nor is another drawn.

    Without the labels an image costs ln 5, however well its codes are known.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (3, 2) if levels == 1 else (2, 3, 2)
    of_label = torch.randint(4, (5, *shape), generator=generator)
    labels = torch.randint(5, (300,), generator=generator)
    grids, rows = of_label[labels], torch.eye(5)[labels]
    parts = (grids[:200], grids[200:]), (rows[:200], rows[200:])
    prior = fit_transformer(parts[0], 4, defaults_of("transformer") | QUICK, 0, parts[1])
    assert code_nats(prior, grids[200:], 50, rows[200:]).reshape(100, -1).sum(1).mean() < 0.1 * np.log(5)
    wanted = torch.arange(100) % 5
    drawn = sample_codes(prior, 100, 0, given=torch.eye(5)[wanted])
    assert (drawn == of_label[wanted]).flatten(1).all(1).float().mean() > 0.9


class Told(torch.nn.Module):
    """A quantised model whose codes are the numbers of its images' labels, whatever the images show."""

    name, codebook_size, code_levels, latent_shape = "Told", 2, 1, (1, 2, 2)
    condition = None
    given = build_model(spec("QuantizedAE", None), SHAPE).__class__.given

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def priors(self):
        return {}

    def encode(self, x):
        codes = self.condition.expand(len(x), 2).argmax(1)[:, None, None].expand(-1, 2, 2)
        found = SimpleNamespace(codes=codes)
        found.only_finite = lambda: found
        return found

    def embed_codes(self, codes):
        return codes[:, None].float()


@pytest.mark.parametrize("name", ["transformer", "pixelcnn", "uniform_codes"])
def test_every_sampler_of_codes_draws_for_the_labels(name):
    """A transformer for all of them, a PixelCNN for each; what is drawn and what it costs stay with their images."""
    labels = {"train": [0, 1, 1] * 20, "eval": [0, 1] * 8, "test": [1, 1, 0]}
    conditions = {split: np.eye(2, dtype=np.float32)[places] for split, places in labels.items()}
    images = {split: np.zeros((len(places), 1, 4, 4), np.uint8) for split, places in labels.items()}
    model = Told()
    sampler = find_sampler(model, name)
    options = {**sampler.options, **{key: value for key, value in QUICK.items() if key in sampler.options}}
    request = Request(model, 300, options, np.random.default_rng(0), images)
    drawn, rows = draw_given_labels(sampler, request, conditions)
    share = rows[:, 1].mean()
    assert share == pytest.approx(2 / 3, abs=5 * (2 / 9 / 300) ** 0.5)
    assert {split: nats.shape for split, nats in drawn.code_nats.items()} == {"eval": (16,), "test": (3,)}
    if name == "uniform_codes":
        assert drawn.code_nats["test"] == pytest.approx(np.full(3, 4 * np.log(2)))
        return
    right = drawn.latents.flatten(1) == torch.from_numpy(rows.argmax(1))[:, None]
    assert right.float().mean() > 0.9
    assert (drawn.code_nats["test"] < 0.4).all()


def test_a_pixelcnn_needs_validation_images_of_each_label():
    conditions = {"train": np.eye(2, dtype=np.float32)[[0, 1, 1]], "eval": np.eye(2, dtype=np.float32)[[1]]}
    images = {split: np.zeros((len(rows), 1, 4, 4), np.uint8) for split, rows in conditions.items()}
    sampler = find_sampler(Told(), "pixelcnn")
    request = Request(Told(), 20, {**sampler.options, "epochs": 1}, np.random.default_rng(0), images)
    with pytest.raises(UserError, match="no validation image has these labels"):
        draw_given_labels(sampler, request, conditions)


FITTED = {"epochs": 10, "width": 32, "layers": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A quantised model of digits by their class, with its data, labels and folder."""
    folder = tmp_path_factory.mktemp("codes")
    data = write_splits(folder, {split: digits(count, start) for split, (start, count) in COUNTS.items()})
    labels = {
        split: write_labels(folder / f"{split}_labels.csv", {"class": load_digits().target[start : start + count]})
        for split, (start, count) in COUNTS.items()
    }
    how = spec("QuantizedAE", "class", {"quantizer": {"fsq": {"levels": [5, 4]}}}, epochs=4, learning_rate=5e-3)
    return folder, how, data, labels, run_given(how, data, labels, folder)["output"]


@pytest.fixture(scope="module")
def measured(trained):
    """Its samples and the rows of its evaluation."""
    folder, _, data, labels, model = trained
    settings = SamplingSettings(count=300, batch_size=64, seed=999, device="cpu")
    files = samplers.SamplingFiles(model, data, folder / "samples.npz", labels)
    samplers.sample(files, Named("auto", FITTED), settings, 0, 1)
    files = evaluation.EvaluationFiles(model, data, folder / "samples.npz", {}, None, labels)
    identity, settings = TrainingIdentity("digits", "x", "QuantizedAE", 0), settings_of(SETTINGS | {"batch_size": 64})
    evaluation.evaluate(identity, files, settings, result_paths(folder), 1)
    return read_suites(folder)


def test_it_draws_what_its_labels_say(trained, measured):
    """As a classifier of real images sees them, fitted here on all pixels."""
    folder, _, data, _, _ = trained
    samples = np.load(folder / "samples.npz")
    assert '"name": "transformer"' in str(samples["sampler"])
    train, targets = np.load(data["train"])["data"].reshape(400, -1) / 255, load_digits().target[:400]
    seen = RidgeClassifier(alpha=10.0).fit(train, targets).predict(samples["data"].reshape(300, -1) / 255)
    obeyed = (seen == samples["conditions"].argmax(1)).mean()
    assert obeyed > 0.5
    assert float(measured["condition_accuracy"]["value"]) == pytest.approx(obeyed, abs=0.2)


@torch.no_grad()
def test_its_rate_is_that_of_its_codes_given_the_labels(trained, measured):
    """The prior is fitted here anew from the codes and labels of the data set, and asked code by code."""
    folder, _, data, _, path = trained
    model, rows = load_model(path), {}
    codes = {}
    for split, (start, count) in COUNTS.items():
        rows[split] = torch.eye(10)[load_digits().target[start : start + count]]
        x = torch.from_numpy(np.load(data[split])["data"]).float() / 255
        with model.given(rows[split]):
            codes[split] = model.encode(x).codes
            error = (x - model.decode(model.encode(x).mode()).clamp(0, 1)).square()
    assert float(measured["mse"]["value"]) == pytest.approx(error.mean().item(), rel=1e-5)
    stream = np.random.default_rng([999, 0])
    stream.integers(2**63)
    wanted = stream.integers(400, size=300)
    seed = int(stream.integers(2**31))
    grids, given = (codes["train"], codes["eval"]), (rows["train"], rows["eval"])
    with torch.enable_grad():
        prior = fit_transformer(grids, 20, defaults_of("transformer") | FITTED, seed, given)
    own = [
        sequence_nats(prior, sequence.tolist(), row.int().tolist())
        for sequence, row in zip(codes["test"].flatten(1)[:50], rows["test"], strict=False)
    ]
    samples = np.load(folder / "samples.npz")
    np.testing.assert_array_equal(samples["conditions"], rows["train"][wanted])
    np.testing.assert_allclose(samples["code_nats_test"][:50], own, rtol=1e-4)
    assert float(measured["rate"]["value"]) == pytest.approx(samples["code_nats_test"].mean(), rel=1e-12)
    assert measured["rate"]["note"].endswith("under the prior that draws them (transformer), given class")


def test_its_figure_shows_generated_images_of_each_label(trained, measured):
    folder, _, data, labels, path = trained
    files = showcase.ShowcaseFiles(path, data["test"], folder / "showcase.npz", labels["test"])
    showcase.make_showcase(files, ShowcaseSettings(**SAMPLES["showcase"]), 5, 1)
    arrays, samples = np.load(folder / "showcase.npz"), np.load(folder / "samples.npz")
    assert "conditional" not in arrays
    assert arrays["conditional_labels"].tolist() == list(map(str, range(10)))
    np.testing.assert_array_equal(arrays["conditional_rows"], np.eye(10))
    run = SimpleNamespace(samples=lambda: folder / "samples.npz")
    found = Run.generated_for(run, arrays["conditional_rows"], 40)
    for label in range(10):
        alike = samples["data"][samples["conditions"][:, label] == 1][:40]
        np.testing.assert_array_equal(found[label, : len(alike)], alike)
        assert (found[label, len(alike) :] == 255).all()
    run = SimpleNamespace(
        name="given",
        entry="given",
        arrays=lambda file: dict(arrays),
        generated_for=lambda rows, count: found[: len(rows), :count],
    )
    (axes,) = conditional(SimpleNamespace(runs=[run])).axes
    assert [text.get_text() for text in axes.texts] == ["given", *arrays["conditional_labels"]]


@pytest.mark.parametrize("name", QUANTIZERS)
def test_a_killed_training_goes_on_to_the_same_model(tmp_path, trained, name):
    _, _, data, labels, _ = trained
    how = spec(name, "class", epochs=2, batch_size=200)
    folders = [tmp_path / folder for folder in ("left_alone", "killed")]
    for folder in folders:
        folder.mkdir()
    run_given(how, data, labels, folders[0])
    given = {split: labels[split] for split in ("train", "eval")}
    arrays = {"train_data": data["train"], "eval_data": data["eval"]}
    assert in_a_process(partial(train_and_kill, labels=given), how, arrays, folders[1], 15, 2, 1) == 143
    run_given(how, data, labels, folders[1])
    assert_equal(result(folders[1]), result(folders[0]))
    assert "resumed_at_epoch" in outputs(folders[1])["provenance"].read_text()
