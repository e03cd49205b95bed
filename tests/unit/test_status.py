import os

import pytest
import yaml

from vaebench.cluster.status import Job, Status, main, read_queue, status_of, survey, table
from vaebench.config.plan import Training, read_config
from vaebench.training.checkpoint import Checkpoint

SUITES = ("reconstruction", "latent")
NOW = 1_800_000_000.0


@pytest.fixture
def training(tmp_path):
    return Training("vae", 3, {"pretrained": None, "training": {"epochs": 50}}, tmp_path / "runs" / "vae" / "seed3")


@pytest.fixture
def log(tmp_path):
    return tmp_path / "seed3.log"


def write_log(path, text, age):
    path.write_text(text)
    os.utime(path, (NOW - age, NOW - age))


def state(training):
    return Checkpoint(training.folder / "training_state", "key")


def status(training, job, log):
    return status_of(training, job, log, SUITES, NOW)


def test_pending(training, log):
    assert status(training, None, log) == Status("vae/seed3", "pending")


def test_queued(training, log):
    found = status(training, Job("12", "PENDING"), log)
    assert (found.state, found.note) == ("queued", "job 12, pending, no epoch finished")


def test_running_with_time_to_go(training, log):
    state(training).report({"epoch": 20, "epochs": 50, "seconds": 60.0})
    found = status(training, Job("12", "RUNNING"), log)
    assert found == Status("vae/seed3", "running", "job 12, epoch 20 of 50, about 30 min to go")
    state(training).report({"epoch": 10, "epochs": 50, "seconds": 360.0})
    assert status(training, Job("12", "RUNNING"), log).note.endswith("about 4.0 h to go")


def test_running_without_a_scheduler(training, log):
    write_log(log, "epoch 3", age=5)
    assert status(training, None, log).state == "running"


def test_failed_tells_the_last_line_of_the_log(training, log):
    write_log(log, "  0%|    | 0/50\r 10%|#   | 5/50\nError: out of memory on cuda\n\n", age=3600)
    state(training).report({"epoch": 5, "epochs": 50, "seconds": 60.0})
    found = status(training, None, log)
    assert found == Status("vae/seed3", "failed", f"epoch 5 of 50; Error: out of memory on cuda; see {log}")


def test_a_recorded_failure_counts_at_once(training, log):
    write_log(log, "Error: loss is nan", age=1)
    state(training).fail({"reason": "diverged"})
    assert status(training, None, log).state == "failed"


def test_a_saved_training_is_stopped_at_once(training, log):
    write_log(log, "Stopped: the time limit is near (SIGUSR1); the state is saved", age=1)
    found = status(training, None, log)
    assert found.state == "stopped"
    assert "; Stopped: the time limit is near (SIGUSR1); the state is saved; see " in found.note


def test_a_resubmitted_failure_is_running(training, log):
    write_log(log, "Error: node lost", age=3600)
    assert status(training, Job("13", "RUNNING"), log).state == "running"


def test_trained_then_evaluated(training, log):
    (training.folder / "metrics").mkdir(parents=True)
    (training.folder / "history.csv").touch()
    (training.folder / "metrics" / "latent.csv").touch()
    assert status(training, None, log).state == "trained"
    (training.folder / "metrics" / "reconstruction.csv").touch()
    assert status(training, None, log).state == "evaluated"


def test_only_this_folder_s_live_jobs_count(tmp_path):
    text = (
        f"7|RUNNING|rule_train_wildcards_vae_0|{tmp_path}\n"
        f"8|RUNNING|rule_train_wildcards_vae_1|/elsewhere\n"
        f"9|COMPLETED|rule_validate|{tmp_path}\n"
        f"10|PENDING|rule_judge_evaluate_sample|{tmp_path}\n"
    )
    assert read_queue(text, tmp_path) == {
        "rule_train_wildcards_vae_0": Job("7", "RUNNING"),
        "rule_judge_evaluate_sample": Job("10", "PENDING"),
    }


def test_survey_of_a_study(tmp_path):
    project = os.path.join(os.path.dirname(__file__), "..", "..")
    over = tmp_path / "two.yaml"
    others = dict.fromkeys(("beta_vae", "sigma_vae", "cv_vae", "vqvae", "vaegan"))
    over.write_text(yaml.safe_dump({"models": others, "seeds": [0, 1], "statistics": {"baseline": None}}))
    config = read_config([os.path.join(project, "config", "config.yaml"), over])
    queue = {"rule_train_wildcards_vae_1": Job("4", "RUNNING"), "rule_judge_evaluate_sample": Job("5", "PENDING")}
    statuses = survey(config, queue, tmp_path)
    assert [status.state for status in statuses] == ["pending", "running"]
    printed = table(statuses, queue).splitlines()
    assert printed[0] == "vae/seed0  pending"
    assert printed[-2] == "1 pending, 1 running"
    assert printed[-1] == "other jobs in the queue: 1 judge_evaluate_sample"


def test_a_network_that_this_shell_does_not_find_hides_no_status(tmp_path, monkeypatch, capsys):
    """Where a study stands may be asked without the PYTHONPATH that its jobs have."""
    project = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"models": {"vae": {"nets": {"encoder": "nowhere.Encoder"}}}}))
    monkeypatch.chdir(tmp_path)
    assert main([os.path.join(project, "config", "config.yaml"), "own.yaml"]) == 0
    assert "vae/seed0" in capsys.readouterr().out


def test_a_squeue_that_fails_is_a_warning_of_one_line(tmp_path, monkeypatch, capsys):
    """As where SLURM's commands are installed and no cluster is configured."""
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho 'squeue: error: no such host\nsqueue: fatal: no configuration' >&2; exit 1\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    project = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
    monkeypatch.chdir(tmp_path)
    assert main([os.path.join(project, "config", "config.yaml"), os.path.join(project, "config", "demo.yaml")]) == 0
    assert capsys.readouterr().err == "warning: fatal: no configuration (squeue); jobs are left out\n"
