"""A study that adds one thing of every kind, as docs/adding-*.md do: made, and what an edit makes again."""

import os
import re

import pandas as pd
import pytest

from .conftest import ROOT, new_project

pytestmark = pytest.mark.slow

PAGES = ("metric", "feature-network", "network", "sampler", "data-set", "table", "figure")
STUDY = """
plugins: [PLUGINS]
dataset:
  name: rings
  generator: rings
  images: {file: rings.zip, bytes: null, md5: null, source: []}
  partition: {file: rings.txt, bytes: null, md5: null, source: []}
preprocessing: {limit: 64}
seeds: [0]
training: {epochs: 1, device: cpu}
models:
  vae: null
  beta_vae: null
  vqvae: null
  vaegan: null
  small: {model: VAE, nets: {encoder: small, decoder: small}, config: {latent_dim: 4}}
  grid: {model: own_models.GridVAE, config: {channels: 2}, sampler: {name: cooled}}
  fsq: {model: QuantizedAE, nets: {encoder: compact, decoder: compact}, config: {quantizer: {fsq: {levels: [5, 5]}}}}
samples: {count: 32, showcase: {images: 4, traversal_dims: 2, traversal_steps: 3, interpolations: 1}}
evaluation: {distribution: {features: [coarse], limit: 32}}
statistics: {baseline: null}
"""
SETTINGS = ("config/mnist.yaml", "study.yaml")
LATER = {"figures": 1, "report": 1}
TABLES = {"runs_table": 1, "summary": 1, "added_tables": 1} | LATER
RUNS = ["small", "grid", "fsq"]
RUN = {"train": 1, "sample": 1, "showcase": 1, "evaluate": 1, "budget": 1}


def example(kind):
    page = (ROOT / f"docs/adding-a-{kind}.md").read_text()
    return re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]


@pytest.fixture(scope="module", autouse=True)
def here_on_the_path():
    """The folder in which Snakemake runs is searched for `own_models`, which a run names by its dotted path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", ".", prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The study, run to its end in a folder of its own."""
    project = new_project(tmp_path_factory.mktemp("adding") / "project")
    for kind in PAGES:
        (project.root / f"{kind.replace('-', '_')}.py").write_text(example(kind))
    files = ", ".join(f"{kind.replace('-', '_')}.py" for kind in PAGES)
    (project.root / "own_models.py").write_text(example("model"))
    (project.root / "study.yaml").write_text(STUDY.replace("PLUGINS", files))
    project.snakemake(configfiles=SETTINGS)
    return project


@pytest.fixture
def study(finished, tmp_path):
    """A copy of it in another folder, to be changed."""
    return finished.copy(tmp_path / "project")


def test_everything_that_is_added_is_in_the_results(finished, tmp_path):
    results = finished.root / "results/rings"
    values = pd.read_csv(results / "tables/runs.csv").set_index(["run", "metric"])["value"]
    for run in RUNS:
        assert values[run, "mae"] == pytest.approx(
            pd.read_parquet(results / f"runs/{run}/seed0/metrics/per_image.parquet")["mae"].mean()
        )
        assert values[run, "self_mae"] > 0
        assert values[run, "fd_coarse"] > 0
    assert "mae_mean" in pd.read_csv(results / "tables/comparison.csv")
    assert pd.read_csv(results / "tables/error_per_nat.csv")["run"].tolist() == RUNS
    assert (results / "figures/errors.png").stat().st_size > 1000
    report = (results / "report.html").read_text()
    for words in ("The images on this page are rings", "Error and rate of each run", "The mean over seeds, with its"):
        assert words in report
    copy = finished.copy(tmp_path / "project", keep_dates=False)
    assert copy.planned(configfiles=SETTINGS) == {}, "neither places nor dates matter"


@pytest.mark.parametrize(
    ("file", "old", "new", "jobs"),
    [
        ("metric.py", ".abs()", ".abs().sqrt()", {"evaluate": 3} | TABLES),
        ("metric.py", 'label="MAE"', 'label="mean absolute error"', TABLES),
        ("feature_network.py", "images, 4", "images, 2", {"evaluate": 3} | TABLES),
        ("network.py", "64)", "63)", RUN | TABLES),
        ("own_models.py", "32, 4, 4", "16, 4, 4", RUN | TABLES),
        ("sampler.py", ":1000", ":100", {"sample": 1, "evaluate": 1} | TABLES),
        (
            "workflow/scripts/vaebench/models/providers/quantizers/fsq.py",
            "codes.long()",
            "codes.long() + 0",
            RUN | TABLES,
        ),
        ("data_set.py", "0.8)", "0.7)", None),
        ("data_set.py", "rings, drawn", "circles, drawn", {"report": 1}),
        ("table.py", '/ found["rate"]', '* found["rate"]', {"added_tables": 1, "report": 1}),
        ("figure.py", "figsize=(5, 2.5)", "figsize=(5, 3)", LATER),
    ],
)
def test_an_edit_makes_again_what_uses_it(study, file, old, new, jobs):
    text = (study.root / file).read_text()
    assert old in text
    (study.root / file).write_text(text.replace(old, new))
    planned = study.planned(configfiles=SETTINGS)
    if jobs is None:
        assert planned.items() >= {"added_images": 1, "preprocess": 1, "train": 3}.items()
    else:
        assert planned == jobs


def renamed(kind, old, new):
    return example(kind).replace(f'"{old}"', f'"{new}"')


@pytest.mark.parametrize(
    ("texts", "jobs"),
    [
        ([renamed("metric", "mae", "mae2")], {"evaluate": 3} | TABLES),
        ([renamed("feature-network", "coarse", "coarse2"), renamed("network", "small", "small2")], {}),  # of no use yet
        (
            [renamed("table", "error_per_nat", "other"), renamed("figure", "errors", "errors2")],
            {"added_tables": 1} | LATER,
        ),
    ],
)
def test_other_plugins_make_only_what_is_their_own(study, texts, jobs):
    names = [f"other{number}.py" for number in range(len(texts))]
    for name, text in zip(names, texts, strict=True):
        (study.root / name).write_text(text)
    study.edit("study.yaml", "plugins: [", f"plugins: [{', '.join(names)}, ")
    assert study.planned(configfiles=SETTINGS) == jobs


def test_a_plugin_that_cannot_be_imported_stops_before_the_first_job(study):
    study.append("metric.py", "\nimport no_such_module_of_a_test\n")
    study.edit("network.py", "64)", "63)")
    model = study.root / "results/rings/runs/small/seed0/final_model"
    result = study.snakemake(configfiles=SETTINGS, check=False)
    assert result.returncode == 1
    assert (
        "metric.py: cannot be imported: ModuleNotFoundError: No module named 'no_such_module_of_a_test'"
        in result.stdout
    )
    assert model.is_dir(), "no model was deleted for it"
