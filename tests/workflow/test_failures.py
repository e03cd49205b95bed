"""A run that fails must not take the others with it, and one that is interrupted has not failed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd

BROKEN = """
models:
  vae: {training: &diverging {learning_rate: 1.0e+9, batch_size: 8}}
  broken: {model: VAE, nets: {encoder: compact, decoder: compact}, config: {latent_dim: 4}, training: *diverging}
"""


def test_runs_that_fail_are_listed_with_their_reasons_beside_the_others(study):
    """A new one, and one that was changed: its metrics from before, another configuration's, lie there still."""
    (study.root / "broken.yaml").write_text(BROKEN)
    configfiles = ("config/mnist.yaml", "study.yaml", "broken.yaml")
    before = pd.read_csv(study.root / "results/mnist/tables/comparison.csv").set_index("run")
    result = study.snakemake(configfiles=configfiles, check=False)
    assert result.returncode == 1
    assert (study.root / "results/mnist/runs/vae/seed0/metrics/reconstruction.csv").exists()
    after = pd.read_csv(study.root / "results/mnist/unfinished/tables/comparison.csv").set_index("run")
    assert list(after.index) == ["vae", "beta_vae-beta2", "broken"]
    for run in ("vae", "broken"):
        log = (study.root / f"results/mnist/logs/train/{run}/seed0.log").read_text()
        assert "Error: " in log
        assert "Traceback" not in log
        assert "diverged" in after.loc[run, "note"]
        assert after.loc[run].filter(like="_mean").isna().all()
    assert after.loc["beta_vae-beta2", "mse_mean"] == before.loc["beta_vae-beta2", "mse_mean"]
    assert "broken" in (study.root / "results/mnist/unfinished/report.html").read_text()
    assert study.planned(configfiles=configfiles)["train"] == 2
    study.snakemake("metrics")
    assert (study.root / "results/mnist/unfinished").exists(), "the tables of the whole study are not there yet"
    study.snakemake()
    assert not (study.root / "results/mnist/unfinished").exists()
    assert study.planned() == {}, "the study without the failures is as whole as before"


def test_ctrl_c_saves_the_trainings_draws_no_figures_and_names_no_failure(study):
    (study.root / "slow.yaml").write_text("training: {epochs: 2000}")
    (study.root / "results/mnist/unfinished").mkdir(exist_ok=True)  # of an earlier command, with other settings
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "config/mnist.yaml", "study.yaml"]
    process = subprocess.Popen(
        [*command, "slow.yaml"],
        cwd=study.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a process group of its own, as a terminal gives it
    )
    states = [
        study.root / f"results/mnist/runs/{run}/seed0/training_state/progress.json" for run in ("vae", "beta_vae-beta2")
    ]
    try:
        end = time.monotonic() + 240
        while not all(state.exists() for state in states):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 1
    assert not (study.root / "results/mnist/unfinished").exists()
    assert "Stopped. The same command goes on where it stopped." in output
    for word in ("failed", "Error", "did not", "Traceback"):
        assert word not in output
    for run, state in zip(("vae", "beta_vae-beta2"), states, strict=True):
        assert f"Training {run}, seed 0: interrupted by Ctrl-C; the state is saved, and the training goes on" in output
        assert (state.parent / "state.pt").exists()


def test_a_training_that_snakemake_did_not_live_to_record_is_not_trained_again(study):
    (study.root / "change.yaml").write_text("models: {vae: {training: {epochs: 3}}}")
    configfiles = ("config/mnist.yaml", "study.yaml", "change.yaml")
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", *configfiles]
    folder = study.root / "results/mnist/runs/vae/seed0"
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["epochs"] == 1
    assert not (folder / "training_state").exists(), "what is recorded needs no state"
    process = subprocess.Popen([*command, "--", "models"], cwd=study.root, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while provenance["epochs"] == 1:
        assert time.monotonic() < end
        time.sleep(0.01)
        with contextlib.suppress(OSError):  # it is deleted before it is made again
            provenance = json.loads((folder / "provenance.json").read_text())
    process.kill()
    process.wait()
    subprocess.run([*command, "--unlock"], cwd=study.root, check=True, capture_output=True)
    study.snakemake("models", configfiles=configfiles, flags=["--rerun-incomplete"])
    attempts = json.loads((folder / "provenance.json").read_text())["attempts"]
    assert [attempt["resumed_at_epoch"] for attempt in attempts] == [0, 3]
    assert not (folder / "training_state").exists()
