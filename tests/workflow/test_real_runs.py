"""The two shipped studies from nothing to their tables: real digits, on which the science must hold, and the demo."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from vaebench.base.npz import open_array
from vaebench.data.demo.fashion import CLASSES

from .conftest import ROOT, Project, fresh_clone, make, new_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

BETAS = ["beta_vae-beta0.5", "vae", "beta_vae-beta4"]
RUNS = ["vae", "beta_vae-beta0.5", "beta_vae-beta4", "vqvae", "vaegan"]


def run(name, folder, packages, weights):
    """A shipped study as make runs it, in a fresh clone that has the archive and the weights already."""
    project = Project(fresh_clone(folder / "project"))
    for file in (packages, weights):
        target = project.root / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)
    result = make(project.root, name)
    assert result.returncode == 0, result.stdout
    return project


@pytest.fixture(scope="module")
def mnist(tmp_path_factory, digit_package, perceptual_weights):
    return run("mnist", tmp_path_factory.mktemp("mnist"), digit_package, perceptual_weights["vgg16"])


@pytest.fixture(scope="module")
def demo(tmp_path_factory, face_package, perceptual_weights):
    return run("demo", tmp_path_factory.mktemp("demo"), face_package, perceptual_weights["alexnet"])


def mean_over_seeds(project, dataset):
    """Mean over seeds of each metric: a table run x metric."""
    values = pd.read_csv(project.root / f"results/{dataset}/tables/runs.csv")
    return values.groupby(["run", "metric"])["value"].mean().unstack()


def mse_of_the_mean_image(project, dataset):
    """Error of answering every test image with the mean training image, all in [0, 1]."""
    train, test = (open_array(project.root / f"data/{dataset}/{split}_data.npz") / 255 for split in ("train", "test"))
    return float(np.mean((test - train.mean(0)) ** 2))


def test_science_on_digits(mnist):
    """What is known of these models must come out on real data, as the mean over two seeds."""
    table = mean_over_seeds(mnist, "mnist")
    rate, mse = table["rate"], table["mse"]
    assert rate[BETAS[0]] > rate[BETAS[1]] > rate[BETAS[2]], "the rate falls with beta"
    assert mse[BETAS[0]] < mse[BETAS[1]] < mse[BETAS[2]], "MSE rises with beta"
    assert mse["vqvae"] < mse[BETAS[2]]
    assert rate["vqvae"] > rate[BETAS[2]], "what the codes cost"
    assert table["rate"].notna().all(), "every model has a rate"
    assert (mse[RUNS] < mse_of_the_mean_image(mnist, "mnist")).all()


@pytest.mark.parametrize("name", RUNS)
def test_training_halves_the_error(mnist, name):
    for seed in (0, 1):
        history = pd.read_csv(mnist.root / f"results/mnist/runs/{name}/seed{seed}/history.csv")
        mse = history[(history["split"] == "eval") & (history["term"] == "mse")].set_index("epoch")["value"]
        assert mse.iloc[-1] < mse[0] / 2, f"{name}: {mse[0]} before training, {mse.iloc[-1]} after"


def test_every_run_had_the_same_budget(mnist):
    table = pd.read_csv(mnist.root / "results/mnist/tables/budget.csv").set_index("run")
    assert list(table.index) == RUNS
    epochs = int(table["epochs"].iloc[0])
    assert (table["images_seen"] == 4000 * epochs).all()
    assert (table["steps"] == 63 * epochs).all()  # 4,000 images in batches of 64
    assert (table["n_seeds"] == 2).all()
    assert (table["hours"] > 0).all()
    assert set(table["differs"].fillna("")) <= {"", "parameters"}


def test_tables_hold_every_run_with_intervals(mnist):
    comparison = pd.read_csv(mnist.root / "results/mnist/tables/comparison.csv").set_index("run")
    assert list(comparison.index) == RUNS
    assert (comparison["mse_n_seeds"] == 2).all()
    inside = (comparison["mse_ci_low"] < comparison["mse_mean"]) & (comparison["mse_mean"] < comparison["mse_ci_high"])
    assert inside.all()
    runs = pd.read_csv(mnist.root / "results/mnist/tables/runs.csv")
    again = runs[runs["metric"] == "mse"].groupby("run")["value"].mean()
    assert np.allclose(comparison["mse_mean"], again[RUNS], rtol=1e-12)
    not_applicable = runs[(runs["run"] == "vqvae") & (runs["metric"] == "kl")]
    assert not_applicable["value"].isna().all()


def test_snakemakes_own_report_is_built_without_network(mnist):
    mnist.snakemake(flags=["--report", "report.zip"], configfiles=("config/mnist.yaml",), network=False)
    assert (mnist.root / "report.zip").stat().st_size > 100_000


def test_demo_compares_four_families_on_synthetic_faces(demo):
    table = mean_over_seeds(demo, "demo")
    baseline = mse_of_the_mean_image(demo, "demo")
    assert set(RUNS) == set(table.index)
    assert (table.loc[RUNS[:-1], "mse"] < baseline / 2).all()
    assert table.loc["vaegan", "mse"] < 0.7 * baseline  # it minimises the discriminator's features, not pixels
    assert (table.loc[RUNS, "lpips_alex"] > 0.001).all()
    page = (demo.root / "results/demo/report.html").read_text()
    assert "synthetic" in page
    assert all(name in page for name in RUNS)
    summary = json.loads((demo.root / "results/demo/validation/summary.json").read_text())
    assert (summary["images"], summary["bad"]) == (3005, 5)
    manifest = json.loads((demo.root / "data/demo/train_data.json").read_text())
    assert len(manifest["ids"]) == 2400
    assert len(manifest["skipped"]) == 5


PART_OF_FASHION = """
preprocessing: {limit: {images: 1000, seed: 0}}
seeds: [0]
evaluation: {distribution: {features: []}}
"""


def test_probes_of_real_photographs(tmp_path, fashion_files):
    """From the published files to the probes of the ten classes, on a random part of the images."""
    project = new_project(tmp_path / "project")
    shutil.copytree(fashion_files, project.root / "data/packages/fashion-mnist")
    (project.root / "part.yaml").write_text(PART_OF_FASHION)
    place = "results/fashion/runs/vae/seed0/metrics/latent.csv"
    project.snakemake(place, configfiles=("config/fashion.yaml", "part.yaml"))
    latent = pd.read_csv(project.root / place).set_index("metric")["value"]
    probes = latent[latent.index.str.startswith("probe_auc/")]
    assert sorted(probes.index.str.removeprefix("probe_auc/")) == sorted(CLASSES)
    assert latent["probe_auc"] == pytest.approx(probes.mean())
    assert probes["probe_auc/Trouser"] > 0.9
    assert probes.mean() > 0.75
    assert [len(open_array(project.root / f"data/fashion/{split}_data.npz")) for split in ("train", "test")] == [
        1000,
        1000,
    ]
