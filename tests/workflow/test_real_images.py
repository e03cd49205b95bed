"""Shipped studies on other images: the demo's synthetic faces, and Fashion-MNIST."""

import json
import re
import shutil

import pandas as pd
import pytest

from vaebench.base.npz import open_array
from vaebench.data.demo.fashion import CLASSES

from .conftest import errors_before_and_after, mean_over_seeds, mse_of_the_mean_image, new_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

BETAS = ["vae", "beta_vae-beta4"]
RUNS = [*BETAS, "sigma_vae", "vqvae", "fsq", "vaegan"]


def test_demo_compares_families_of_models_on_synthetic_faces(demo):
    table = mean_over_seeds(demo, "demo")
    baseline = mse_of_the_mean_image(demo, "demo")
    assert set(RUNS) == set(table.index)
    assert (table.loc[RUNS, "mse"] < baseline / 2).all()
    assert (table.loc[["sigma_vae", "vqvae", "fsq"], "mse"] < baseline / 4).all()
    assert table.loc[BETAS, "mse"].is_monotonic_increasing
    assert table.loc[BETAS, "rate"].is_monotonic_decreasing
    assert (table.loc[["vqvae", "fsq"], "rate"] > table.loc["beta_vae-beta4", "rate"]).all(), "what the codes cost"
    assert table.loc[RUNS, "rate"].notna().all(), "every model has a rate"
    values = pd.read_csv(demo.root / "results/demo/tables/runs.csv").set_index(["run", "metric"])["value"]
    assert values.loc[[("vqvae", "kl"), ("fsq", "kl")]].isna().all(), "does not apply"
    assert table["neg_elbo_density"].idxmin() == "sigma_vae", "the likeliest density has the variance of the errors"
    assert (table.loc[RUNS, "lpips_alex"] > 0.001).all()
    page = (demo.root / "results/demo/report.html").read_text()
    assert "synthetic" in page
    assert all(name in page for name in RUNS)
    summary = json.loads((demo.root / "results/demo/validation/summary.json").read_text())
    assert (summary["images"], summary["bad"]) == (6805, 5)


@pytest.mark.parametrize("name", RUNS)
def test_training_halves_the_error(demo, name):
    before, after = errors_before_and_after(demo, "demo", name, 0)
    assert after < before / 2


def test_runs_with_a_prior_to_fit_begin_first(demo):
    """Their chain of jobs is the longest: last, it would leave the other core idle."""
    starts = {
        path.parts[-3]: json.loads(path.read_text())["attempts"][0]["time"]
        for path in (demo.root / "results/demo/runs").glob("*/seed0/provenance.json")
    }
    assert set(starts) == set(RUNS)
    assert set(sorted(starts, key=starts.get)[:2]) < {"sigma_vae", "vqvae", "fsq"}


def test_trainings_begin_before_what_follows_from_them(demo):
    """One that is left for the end, as VAEGAN's of two minutes was, leaves the other core idle."""
    log = max((demo.root / ".snakemake/log").glob("*.log")).read_text()
    started = re.findall(r"^Job \d+: (Training|Measuring|Choosing) ", log, re.MULTILINE)
    assert started[: len(RUNS)] == ["Training"] * len(RUNS)
    assert set(started[len(RUNS) :]) == {"Measuring", "Choosing"}


def test_all_images_of_the_demo_but_the_damaged_ones_are_in_its_arrays(clone_with_faces):
    manifest = json.loads((clone_with_faces.root / "data/demo/train_data.json").read_text())
    assert len(manifest["ids"]) == 6000
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
