"""Several samplers of a run, and one that all runs share: which come first, how they are called, and their table."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_study import STATISTICS, Fake, build_study, stand_in_figures
from matplotlib.text import Text
from run_specs import run_spec

from vaebench.base.errors import UserError
from vaebench.base.formats import write_npz
from vaebench.config.model_mistakes import grid_of
from vaebench.config.plan import read_config
from vaebench.config.runs import drawn_runs, expand_runs
from vaebench.figures.pictures import generations
from vaebench.metrics.registry import METRICS
from vaebench.metrics.set_names import frechet_name
from vaebench.models.building import build_model
from vaebench.models.run_spec import Named
from vaebench.report.writing import ReportSources, write_report
from vaebench.results.opened import open_study
from vaebench.results.protocol import Protocol, PublishedValue, StudyProtocol
from vaebench.results.published import Measurement, published_table
from vaebench.results.sampler_table import Samplers, samplers_table
from vaebench.results.statistics import seed_summary
from vaebench.results.study import Study, study_of
from vaebench.results.suite_files import write_rows
from vaebench.results.tables import runs_table

METRIC = frechet_name("alexnet", "")
ROOT = Path(__file__).parents[2]


def drawn(tmp_path, text):
    """The samplers of each run by label, under the demo's configuration with `text` merged over it."""
    (tmp_path / "mine.yaml").write_text(text)
    config = read_config([ROOT / "config/config.yaml", ROOT / "config/demo.yaml", tmp_path / "mine.yaml"])
    runs = expand_runs(config)
    found = drawn_runs(config, runs)
    assert {run: next(iter(by.values())) for run, by in found.items()} == runs
    return {run: {label: spec.sampler for label, spec in by.items()} for run, by in found.items()}


def test_a_run_has_one_sampler_unless_its_entry_names_several(tmp_path):
    options = "{width: 64, epochs: 2, patch: 1}"
    found = drawn(tmp_path, f"models: {{fsq: {{sampler: {{name: transformer, options: {options}}}}}}}")
    assert found["vae"] == {"normal": Named("auto")}
    base = {"batch_size": 16, "learning_rate": 3e-3}  # the demo's
    label = "transformer-batch_size16-epochs2-learning_rate0.003-patch1-width64"
    assert found["fsq"] == {label: Named("transformer", base | {"epochs": 2, "patch": 1, "width": 64})}
    assert {len(by) for run, by in found.items() if run != "sigma_vae"} == {1}
    assert list(found["sigma_vae"]) == ["gaussian_mixture", "normal"]


def test_the_samplers_of_an_entry_are_those_of_each_of_its_runs(tmp_path):
    listed = "samplers: [auto, gaussian_mixture, {name: maf, options: {layers: 2}}]"
    found = drawn(tmp_path, f"models: {{beta_vae: {{{listed}, sweep: {{beta: [2.0, 3.0]}}}}}}")
    expected = {
        "normal": Named("auto"),
        "gaussian_mixture": Named("gaussian_mixture"),
        "maf-layers2": Named("maf", {"layers": 2}),
    }
    assert found["beta_vae-beta2"] == found["beta_vae-beta3"] == expected
    assert list(found["beta_vae-beta2"]) == list(expected)


def test_samplers_go_before_the_sampler_of_a_file_below(tmp_path):
    assert list(drawn(tmp_path, "models: {perceptual_vae: {samplers: [maf]}}")["perceptual_vae"]) == ["maf"]


def test_a_common_sampler_comes_first_and_once(tmp_path):
    found = drawn(
        tmp_path,
        """
samples: {common: {continuous: gaussian_mixture, codes: {name: transformer, options: {epochs: 2}}}}
models:
  vae: {samplers: [normal, maf]}
  ae: {model: AE, nets: {encoder: compact, decoder: compact}}
""",
    )
    assert list(found["vae"]) == ["gaussian_mixture", "normal", "maf"]
    assert list(found["ae"]) == ["gaussian_mixture"]  # which is also the one behind its `auto`
    assert next(iter(found["vqvae"])) == next(iter(found["fsq"])) == "transformer-epochs2"
    assert len(found["vqvae"]) == 2  # with the one that the demo names


def test_another_option_of_a_sampler_draws_anew_by_that_one_alone(tmp_path):
    """A sampler's label has its options, and so has the place of what it draws; no training knows of it."""
    listed = "models: {{vae: {{samplers: [normal, {{name: maf, options: {{epochs: {}}}}}, two_stage]}}}}"
    few, many = (drawn(tmp_path, listed.format(epochs)) for epochs in (2, 3))
    assert {run for run in few if few[run] != many[run]} == {"vae"}
    assert list(few["vae"]) == ["normal", "maf-epochs2", "two_stage"]
    assert list(many["vae"]) == ["normal", "maf-epochs3", "two_stage"]
    assert all(few["vae"][label] == many["vae"][label] for label in ("normal", "two_stage"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: {vae: {samplers: [maf, maf]}}", "models.vae.samplers: maf is named twice"),
        ("models: {vae: {samplers: [auto, mafia]}}", "models.vae.samplers"),
        (
            "models: {vae: {samplers: [pixelcnn]}}",
            "models.vae.samplers: pixelcnn does not draw continuous, as VAE needs",
        ),
        ("models: {vqvae: {sampler: {name: maf}}}", "models.vqvae.sampler: maf does not draw codes, as VQVAE needs"),
        (
            "samples: {common: {codes: normal}}",
            "samples.common.codes: normal does not draw codes; choose from pixelcnn",
        ),
        (
            "models: {vae: {sampler: {name: maf, options: {widht: 64}}}}",
            "models.vae.sampler.options: maf has no option 'widht'; it has epochs, batch_size",
        ),
        (
            "models: {fsq: {samplers: [{name: auto, options: {channels: 0}}]}}",
            "models.fsq.samplers.options: pixelcnn.channels: 0 must be a whole number that is at least 1",
        ),
        (
            "samples: {common: {codes: {name: transformer, options: {width: 30}}}}",
            "samples.common.codes.options: transformer: width 30 is no multiple of heads 4",
        ),
        (
            "samples: {common: {continuous: {name: gaussian_mixture, options: {fit_images: 1}}}}",
            "gaussian_mixture.fit_images: 1 must be a whole number that is at least 2",
        ),
        (
            "models: {vae: {model: RHVAE, config: {latent_dim: 2}, sampler: {name: rhvae, options: {steps: 3}}}}",
            "models.vae.sampler.options: rhvae has no option 'steps'; it has mcmc_steps_nbr, n_lf, eps_lf",
        ),
        (
            "models: {fsq: {sampler: {name: transformer, options: {patch: 3}}}}",
            r"models.fsq.sampler.options: transformer: a grid of 16x16 codes has no whole patches of 3 \(fsq\)",
        ),
        (
            "models: {rq: {model: QuantizedAE, nets: {encoder: compact, decoder: compact}, config: {quantizer: "
            "{residual_vq: {depth: 2}}}, samplers: [{name: auto, options: {patch: 5}}]}}",
            r"models.rq.samplers.options: auto: a grid of 8x8 codes has no whole patches of 5 \(rq\)",
        ),
        (
            "samples: {common: {codes: {name: transformer, options: {patch: 7}}}}",
            r"samples.common.codes.options: transformer: a grid of 16x16 codes has no whole patches of 7 \(vqvae\)",
        ),
        (
            "models: {rq: {model: QuantizedAE, nets: {encoder: compact, decoder: compact}, config: {quantizer: "
            "{residual_vq: {}}}, samplers: [transformer, pixelcnn]}}",
            r"models.rq.samplers: pixelcnn draws one level of codes, not 4 \(rq\); transformer draws all",
        ),
        (
            "samples: {common: {codes: pixelcnn}}\nmodels: {rq: {model: HRQVAE, nets: {encoder: compact, decoder: "
            "compact}, sweep: {quantizer: [{hierarchical: {depth: 2}}]}}}",
            r"samples.common.codes: pixelcnn draws one level of codes, not 2 \(rq-hierarchical_depth2\)",
        ),
        ("samples: {common: {continuous: auto}}", "samples.common.continuous: auto does not draw continuous"),
    ],
)
def test_what_cannot_be_is_named_at_the_start(text, message, tmp_path):
    with pytest.raises(UserError, match=message):
        drawn(tmp_path, text)


@pytest.mark.parametrize(
    ("nets", "shape"),
    [
        ("compact", (3, 64, 64)),
        ("lapped", (1, 28, 30)),
        ("resnet", (1, 28, 28)),
        ("resnet", (3, 64, 64)),
        ("strided", (1, 28, 28)),
    ],
)
def test_the_grid_of_a_run_is_known_before_it_is_built(nets, shape):
    spec = run_spec("VQVAE", dict.fromkeys(("encoder", "decoder"), nets), {"latent_dim": 4, "num_embeddings": 8})
    assert grid_of(spec, shape) == build_model(spec, shape).latent_shape[1:]
    assert grid_of(run_spec("VAE"), shape) is None


def test_the_table_has_each_sampler_of_each_run(tmp_path):
    """Two seeds of two runs, one of them by two samplers: a row for each value, and a mean for each pair."""

    def values(folder, run, seed, value):
        folder.mkdir(parents=True)
        row = {"dataset": "d", "run": run, "model": "VAE", "seed": seed, "split": "test", "suite": "generation"}
        row |= {"metric": METRIC, "value": value, "std_error": 0.5, "n": 32, "note": ""}
        write_rows([row, row | {"metric": "mse", "suite": "reconstruction"}], folder / "generation.csv")
        return folder / "generation.csv"

    first = [
        values(tmp_path / f"runs/{run}/seed{seed}/metrics", run, seed, base + seed)
        for run, base in (("a", 10), ("b", 20))
        for seed in (0, 1)
    ]
    further = [values(tmp_path / f"runs/a/seed{seed}/samplers/maf", "a", seed, 30 + seed) for seed in (0, 1)]
    runs_table(first, tmp_path / "runs.csv")
    drawn_by = Samplers({"a": ["normal", "maf"], "b": ["normal"]}, ["normal"])
    samplers_table(tmp_path / "runs.csv", further[:1], drawn_by, tmp_path, STATISTICS)
    assert len(pd.read_csv(tmp_path / "samplers.csv")) == 4 + 2  # of further files all rows, which are of this suite
    samplers_table(tmp_path / "runs.csv", further, drawn_by, tmp_path, STATISTICS)
    table = pd.read_csv(tmp_path / "samplers.csv")
    table = table[table["metric"] == METRIC]
    found = list(table[["run", "seed", "sampler", "compared", "value"]].itertuples(index=False, name=None))
    assert found == [
        ("a", 0, "normal", True, 10),
        ("a", 1, "normal", True, 11),
        ("a", 0, "maf", False, 30),
        ("a", 1, "maf", False, 31),
        ("b", 0, "normal", True, 20),
        ("b", 1, "normal", True, 21),
    ]
    text = (tmp_path / "samplers.md").read_text()
    assert "Rows are not tested against each other: nothing is bold." in text
    assert "better than every other run" not in text
    rows = [line.split("|")[1:5] for line in text.splitlines() if line.startswith("| a") or line.startswith("| b")]
    assert [[cell.strip() for cell in row[:3]] for row in rows] == [
        ["a", "normal", "VAE"],
        ["a", "maf", "VAE"],
        ["b", "normal", "VAE"],
    ]
    assert [row[3].split()[0] for row in rows] == ["10.50", "30.50", "20.50"]
    assert METRICS[METRIC].headline


LABEL = "gaussian_mixture-temperature0.5"
FURTHER = {0: 30.0, 1: 34.0}  # Fréchet distances of a further sampler, by seed


@pytest.fixture
def study(tmp_path) -> Study:
    """A VAE by two samplers, the second at a temperature, and an AE by one."""
    fakes = (Fake("vae", "VAE", 0.5), Fake("ae", "AE", 0.3))
    arguments = build_study(tmp_path, fakes, seeds=(0, 1), shape=(3, 16, 16))
    results, files = arguments["results"], []
    for seed, value in FURTHER.items():
        training = results / f"runs/vae/seed{seed}"
        folder = training / f"samplers/{LABEL}"
        folder.mkdir(parents=True)
        recorded = json.dumps({"name": "gaussian_mixture", "options": {"n_components": 10, "temperature": 0.5}})
        images = np.full((40, 3, 16, 16), 9, np.uint8)
        write_npz("samples", folder / "samples.npz", {"data": images, "sampler": np.array(recorded)})
        row = {"dataset": "fake", "run": "vae", "model": "VAE", "seed": seed, "split": "test", "suite": "generation"}
        row |= {"std_error": 0.5, "n": 40, "note": ""}
        nats = row | {"metric": "latent_nats", "value": 7.0 + seed}
        write_rows([row | {"metric": "fd_vgg16", "value": value}, nats], folder / "generation.csv")
        files.append(folder / "generation.csv")
    labels = {"vae": ["normal", LABEL], "ae": ["normal"]}
    samplers_table(results / "tables/runs.csv", files, Samplers(labels, ["normal"]), results / "tables", STATISTICS)
    return study_of(replace(arguments["plan"], samplers=labels), results)


def test_each_sampler_has_its_interval(study):
    vae = study.runs[0]
    found, expected = study.interval_by(vae, LABEL, "fd_vgg16"), seed_summary(np.array([30.0, 34.0]), 0.95)
    assert (found.mean, found.low, found.high) == (32, expected["ci_low"], expected["ci_high"])
    assert study.interval_by(vae, "normal", "fd_vgg16") == study.interval("vae", "fd_vgg16") != found
    assert study.interval_by(vae, LABEL, "latent_nats").mean == 7.5
    assert study.interval_by(vae, LABEL, "mse") is None
    assert study.interval_by(vae, "normal", "mse") == study.interval("vae", "mse")


def test_the_figure_has_a_row_of_each_sampler_with_its_temperature(study):
    texts = [text.get_text().replace("\n", " ") for text in generations(study).findobj(Text)]
    assert any(text.startswith("gaussian_mixture, temperature 0.5") and "32" in text for text in texts)
    assert sum(text.startswith("normal") for text in texts) == 2


def test_the_report_says_what_each_sampler_draws_and_which_is_common(study, tmp_path):
    data = [tmp_path / f"data/fake/{split}_data.json" for split in ("train", "eval", "test")]
    checked = study.tables.parent / "validation/summary.json"
    write_report(
        study, ReportSources(stand_in_figures(tmp_path / "figures"), data, checked, None, 0.95), tmp_path / "r.html"
    )
    html = (tmp_path / "r.html").read_text()
    section = html.partition('<section id="samplers">')[2].partition("</section>")[0]
    assert "The common sampler, with equal options for all models of a kind, is normal of vae, ae." in section
    rows = [row for row in section.split("<tr>")[1:] if 'scope="row"' in row]
    assert [("vae" in row, LABEL in row, "<small>common</small>" in row) for row in rows] == [
        (True, False, True),
        (True, True, False),
        (False, False, True),
    ]
    assert "<b>32" in rows[1]
    assert "<b>7.5" in rows[1]
    sheet = html.partition('aria-label="Sheet of generated images"')[2].partition("</table>")[0]
    assert "<small>gaussian_mixture, temperature 0.5</small>" in sheet
    assert sheet.count("<tr>") == 3


def test_a_study_with_one_sampler_a_run_has_no_section(tmp_path):
    arguments = build_study(tmp_path, (Fake("vae"), Fake("ae", "AE")), seeds=(0,), shape=(3, 16, 16))
    data = [tmp_path / f"data/fake/{split}_data.json" for split in ("train", "eval", "test")]
    checked = arguments["results"] / "validation/summary.json"
    sources = ReportSources(stand_in_figures(tmp_path / "figures"), data, checked, None, 0.95)
    write_report(study_of(**arguments), sources, tmp_path / "r.html")
    assert 'id="samplers"' not in (tmp_path / "r.html").read_text()


def test_published_values_are_held_against_the_sampler_that_is_theirs(study):
    """Columns that differ in the sampler, and rows that do, as the literature has either."""
    protocol = Protocol("fake", None, None, None, None, None, None, None, None)
    value = PublishedValue("a", "A", "Table 1", "VAE", "N", "fd_vgg16", 20.0, protocol, {"VAE": {}})
    mixture = Named("gaussian_mixture", {"n_components": 10})
    values = [replace(value, column="N", sampler=Named("normal")), replace(value, column="GMM", sampler=mixture)]
    values += [replace(other, row=f"VAE by {other.column}", where="Table 2") for other in values]
    values.append(replace(value, column="flow", sampler=Named("maf")))
    ours = StudyProtocol("fake", None, None, (16, 16), "lanczos", 3, "test", None, 10_000)
    table = published_table(study, values, Measurement(ours, {"test": 40})).set_index(["where", "column"])
    for where in ("Table 1", "Table 2"):
        assert table.loc[(where, "N"), "ours"] == study.interval("vae", "fd_vgg16").mean
        assert table.loc[(where, "GMM"), "ours"] == 32
        assert "temperature 0.5" in table.loc[(where, "GMM"), "sampler"]
    assert table.loc[("Table 1", "flow"), "not_compared"] == "no run draws its images with maf as theirs"


def test_an_opened_study_has_the_images_of_each_sampler(study, tmp_path):
    opened = open_study(tmp_path / "results/fake")
    assert (opened.samples("vae", count=2, sampler=LABEL) == 9).all()
    assert not (opened.samples("vae", count=2) == 9).all()
    with pytest.raises(UserError, match=r"samplers/other/samples\.npz is not there"):
        opened.samples("vae", sampler="other")
