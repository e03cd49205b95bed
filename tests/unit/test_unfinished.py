"""What is told of a study that could not be made in full: nothing that lies there from an earlier configuration."""

import errno
from pathlib import Path

import pandas as pd
import pytest
from fake_study import STATISTICS, Fake, build_study

from vaebench.report.unfinished import OUTDATED, Unfinished, failure, only_finished, summarise_finished
from vaebench.report.writing import ReportSources
from vaebench.results.budget import Tuned
from vaebench.results.study import StudyPlan, study_of
from vaebench.training.checkpoint import Checkpoint

ROOT = Path(__file__).parents[2]
FAKES = (Fake("vae", "VAE", 0.5), Fake("beta_vae", "BetaVAE", 0.9, beta=4.0), Fake("vqvae", "VQVAE", 0.15, codes=64))


@pytest.fixture
def study(tmp_path):
    return study_of(**build_study(tmp_path, FAKES, seeds=(0, 1), shape=(3, 16, 16)))


def summarise(study, to_do):
    folder = study.tables.parents[2]
    sources = ReportSources(
        figures=folder / "none",
        manifests=[folder / f"data/fake/{split}_data.json" for split in ("train", "eval", "test")],
        validation=folder / "results/fake/validation/summary.json",
        generator=None,
        confidence=0.95,
    )
    suites = ("reconstruction", "generation", "latent")
    left = Unfinished(to_do, suites, STATISTICS, {run.name: Tuned() for run in study.runs})
    summarise_finished(study, left, sources)
    return study.tables.parent / "unfinished"


def test_old_numbers_of_what_is_to_be_done_again_are_left_out(study, capsys):
    to_do = {"vae": {"0": "train", "1": "train"}, "beta_vae-beta4": {"1": "evaluate"}}
    tables = summarise(study, to_do) / "tables"
    runs = pd.read_csv(tables / "runs.csv")
    assert set(zip(runs["run"], runs["seed"], strict=True)) == {("beta_vae-beta4", 0), ("vqvae", 0), ("vqvae", 1)}
    comparison = pd.read_csv(tables / "comparison.csv").set_index("run")
    assert list(comparison.index) == ["vae", "beta_vae-beta4", "vqvae"]
    assert comparison.loc["vae"].filter(like="_mean").isna().all()
    assert OUTDATED in comparison.loc["vae", "note"]
    assert OUTDATED in comparison.loc["beta_vae-beta4", "note"]
    assert list(comparison["model"]) == ["VAE", "BetaVAE", "VQVAE"], "of a run without results as the plan has it"
    page = tables.with_name("report.html").read_text()
    assert page.count(OUTDATED) >= 3
    assert f"vae seed 0 did not finish, stage train: {OUTDATED}" in capsys.readouterr().out
    assert pd.isna(pd.read_csv(tables / "budget.csv").set_index("run").loc["vae", "parameters"])


def test_a_disk_that_is_full_here_too_is_one_line(study, capsys, monkeypatch):
    def draw(shown, folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vaebench.report.unfinished.draw_all", draw)
    folder = summarise(study, {"vae": {"0": "train"}})
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "not complete" in line]
    assert line.startswith(
        f"Tables, figures and report of the finished trainings are not complete in {folder}: no space"
    )


def test_nothing_is_written_where_nothing_is_finished(study, capsys):
    assert not summarise(study, {run.name: {"0": "train", "1": "train"} for run in study.runs}).exists()
    assert "nothing to tabulate" in capsys.readouterr().out


def test_the_reason_is_the_training_s_own_then_the_log_s_then_that_it_never_started(study):
    logs = study.tables.with_name("logs")

    def reason(stage):
        run = study_of(StudyPlan("fake", {"vae": {}}, {"vae": [0]}), study.tables.parent).runs[0]
        return failure(run, 0, stage, logs)["reason"]

    assert reason("showcase") == OUTDATED
    study.runs[0].path(0, "history.csv").unlink()
    assert reason("train") == "never started"
    log = logs / "train/vae/seed0.log"
    log.parent.mkdir(parents=True)
    log.write_text("Epoch 1\nError: the disk is full\n")
    assert reason("train") == "Error: the disk is full"
    state = study.runs[0].path(0, "training_state")
    state.mkdir()
    Checkpoint(state, "key").fail({"reason": "diverged", "term": "kl", "epoch": 2, "step": 3})
    assert reason("train") == "diverged (term kl, epoch 2, step 3)"


def test_figures_see_only_what_is_finished(study):
    folder = study.runs[2].path(0)
    with only_finished({("vqvae", 0): folder}, [{"run": "vae", "seed": 0, "reason": OUTDATED}]) as runs:
        seeds = {run: [0] for run in ("vae", "vqvae")}
        vae, vqvae = (
            study_of(StudyPlan("fake", {run: {} for run in seeds}, seeds), study.tables.parent)
            .elsewhere(runs, runs)
            .runs
        )
        assert (vae.trained, vae.failures, vae.arrays("showcase.npz")) == ([], {0: OUTDATED}, {})
        assert vqvae.trained == [0]
        assert vqvae.arrays("showcase.npz")
    assert not runs.exists()
    assert folder.is_dir()
