"""The study on a real SLURM, in peace and with every kind of trouble: both end with the same numbers."""

import json
import re
import signal
import time

import pandas as pd
import pytest
import torch
from conftest import GPUS, RUNS
from workplace import CONFIGS, gpu_index, hold_gpus, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(2000)]
# How fast it went is not a result.
TIMINGS = ("images_per_second", "seconds", "peak_memory_mb")


def submitted(place):
    """How often each kind of job was submitted, by its comment without wildcards."""
    names = [job["comment"].split("_wildcards_")[0] for job in place.jobs()]
    return {name: names.count(name) for name in names}


def test_one_free_gpu_serialises_and_interrupt_cancels(prepared, cluster, tmp_path):
    place = prepared.copy(tmp_path / "study")
    holder = hold_gpus(cluster, GPUS - 1, seconds=300)
    process = place.start("--", "models")

    def states():
        return sorted(job["state"] for job in place.jobs("rule_train"))

    try:
        wait_until("a training", lambda: states() == ["PENDING", "PENDING", "RUNNING"], seconds=120)
        running = next(job for job in place.jobs("rule_train") if job["state"] == "RUNNING")
        run = re.fullmatch(r"rule_train_wildcards_(.*)_0", running["comment"])[1]
        wait_until("its first epoch", lambda: place.epoch(run) > 0, seconds=180)
        assert "Resources" in cluster.run("squeue", "--noheader", "--states=PENDING", "--format=%r")
        assert states() == ["PENDING", "PENDING", "RUNNING"]
        assert f"CUDA_VISIBLE_DEVICES {gpu_index(cluster, running['id'])}," in place.log(run)
        status = place.command("status", "config/config.yaml", *CONFIGS)
        assert re.search(rf"^{run}/seed0 +running +job {running['id']}, epoch \d+ of \d+, about ", status, re.MULTILINE)
        assert status.splitlines()[-1] == "2 queued, 1 running"
        process.send_signal(signal.SIGINT)
        status, output = place.finish(process, seconds=120)
    finally:
        place.kill(process)
        cluster.run("scancel", holder)
    assert status == 1, output
    wait_until("the jobs to be gone", lambda: set(states()) <= {"CANCELLED", "FAILED"}, seconds=20)
    assert not (place.run_folder(run) / "history.csv").exists()
    assert (place.run_folder(run) / "training_state" / "state.pt").exists()


def test_full_study(studies):
    status, output = studies.calm_result
    assert status == 0, output
    assert submitted(studies.calm) == {"rule_train": 3, "rule_judge_evaluate_sample": 3, "rule_showcase": 3}
    assert {job["state"] for job in studies.calm.jobs()} == {"COMPLETED"}
    tables = studies.calm.folder / "results" / "mnist" / "tables"
    assert set(pd.read_csv(tables / "runs.csv")["run"]) == set(RUNS)
    logs = list((studies.calm.folder / ".snakemake" / "slurm_logs").rglob("*.log"))
    assert {path.stem for path in logs} >= {str(job["id"]) for job in studies.calm.jobs()}


def test_jobs_ask_for_what_the_profile_says(studies, cluster):
    job = studies.calm.training_jobs("out_of_time")[0]
    described = cluster.run("scontrol", "show", "job", str(job["id"]))
    for expected in ("TresPerJob=gres:gpu:a100:1", "TimeLimit=00:30:00", "MinMemoryNode=3000M", "Requeue=1"):
        assert expected in described


def test_a_job_that_judges_asks_for_the_sum_of_its_rules_time_and_the_larger_memory(studies, cluster):
    job = studies.calm.jobs("rule_judge")[0]
    described = cluster.run("scontrol", "show", "job", str(job["id"]))
    for expected in ("TresPerJob=gres:gpu:a100:1", "TimeLimit=02:00:00", "MinMemoryNode=16000M"):
        assert expected in described


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ({"slurm_partition": "gpus"}, "sbatch: error: invalid partition specified: gpus"),
        ({"gpu_model": "a100-80gb"}, "Invalid GPU model format: a100-80gb"),
        (
            {"gpu_model": "h100"},
            "Batch job submission failed: Requested node configuration is not available",
        ),
        ({"runtime": 4000}, "Batch job submission failed: Requested time limit is invalid"),
    ],
)
def test_what_slurm_refuses_is_one_line(prepared, tmp_path, resources, words):
    place = prepared.copy(tmp_path / "study")
    place.edit_profile(train=resources)
    target = str(place.run_folder(RUNS[0]).relative_to(place.folder) / "history.csv")
    status, output = place.snakemake("--retries", "0", "--no-hooks", "--", target, seconds=120)  # no check before it
    assert status == 1
    lines = [line for line in output.splitlines() if line.startswith("Error: SLURM did not take the job: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert "Traceback" not in output


@pytest.mark.slow
def test_a_job_without_state_works_until_its_time_limit_which_is_named(prepared, cluster, tmp_path):
    """Warned, as less than three minutes are left, it goes on; then SLURM ends it."""
    place = prepared.copy(tmp_path / "study")
    place.edit_profile(validate={"runtime": 30})
    script = place.folder / "workflow/scripts/validate.py"
    script.write_text(
        script.read_text().replace("        validate(", "        __import__('time').sleep(600)\n        validate(", 1)
    )
    target = "results/mnist/validation/images.csv"
    log = place.folder / "results/mnist/logs/validate.log"
    log.unlink()
    process = place.start("--retries", "0", "--force", "--", target)
    try:
        wait_until("the job to be at work", log.exists, seconds=120)
        job = place.jobs("rule_validate")[-1]
        minutes = int(time.time() - job["start"]) // 60 + 2
        cluster.run("scontrol", "update", f"JobId={job['id']}", f"TimeLimit={minutes}")
        status, output = place.finish(process, seconds=300)
    finally:
        place.kill(process)
    assert status == 1
    end = r"asked to end \(SIGTERM\)[:;] .+\. SLURM's reason: its time limit of 30 minutes was reached"
    assert re.search(end, output), output  # by the job's last words, or by its exit status where it had no time for any
    assert "Warning: the time limit is near (SIGUSR1); this step has no state to save and goes on" in log.read_text()


def test_disturbed_study_ends(studies):
    assert studies.error is None, f"{studies.evidence} {studies.error!r}\n{studies.rough_result[1][-6000:]}"
    assert studies.rough_result[0] == 0, studies.rough_result[1]


@pytest.mark.parametrize(
    ("trouble", "states"),
    [
        ("cancel", {"CANCELLED", "FAILED"}),
        # Not TIMEOUT: warned by the profile's --signal, the training saved its state and ended before its time did.
        ("time", {"FAILED"}),
        ("memory", {"FAILED", "OUT_OF_MEMORY"}),
    ],
)
def test_the_job_in_trouble_ended_and_another_followed(studies, trouble, states):
    job = next(job for job in studies.rough.jobs() if job["id"] == studies.evidence[trouble])
    assert job["state"] in states
    later = [other for other in studies.rough.jobs(job["comment"]) if other["id"] > job["id"]]
    assert later, "the plugin did not submit it again"


@pytest.mark.parametrize("trouble", ["preempt", "node"])
def test_the_job_in_trouble_was_requeued(studies, trouble):
    job = next(job for job in studies.rough.jobs() if job["id"] == studies.evidence[trouble])
    assert job["restarts"] >= 1


def test_memory_was_the_reason(studies):
    log = studies.rough.folder / ".snakemake" / "slurm_logs"
    text = next(log.rglob(f"{studies.evidence['memory']}.log")).read_text().lower()
    assert "oom" in text or "memory" in text


@pytest.mark.parametrize(
    ("trouble", "run", "told"),
    [
        ("cancel", RUNS[0], r"stopped +Training {run}, seed 0: asked to end \(SIGTERM\); the state is saved, and .*"),
        (
            "time",
            RUNS[2],
            r"stopped +Training {run}, seed 0: the time limit is near \(SIGUSR1\); the state is saved",
        ),
        (
            "memory",
            RUNS[1],
            r"failed +Training {run}, seed 0 \(SLURM job {job}\), after .*(?:\n  .*)*\n"
            r"Error: .*memory.* 3000 MB.*: a retry asks for twice as much by itself, else raise mem_mb of its rule .*",
        ),
    ],
)
def test_the_terminal_tells_why_a_job_ended_and_that_it_goes_on(studies, trouble, run, told):
    _, output = studies.rough_result
    match = re.search(told.format(run=run, job=studies.evidence[trouble]), output)
    assert match, output
    assert f"again     Training {run}, seed 0: goes on by itself, attempt " in output[match.end() :]
    assert "message: None" not in output


def test_the_log_of_the_attempt_before_is_kept(studies):
    run = RUNS[2]
    log = studies.rough.folder / "results/mnist/logs/train" / run / "seed0.previous.log"
    attempts = json.loads((studies.rough.run_folder(run) / "provenance.json").read_text())["attempts"]
    lost = len(attempts) > 2  # the one node went down under its second attempt, unless that had finished by then
    reason = "asked to end (SIGTERM)" if lost else "the time limit is near (SIGUSR1)"
    assert log.read_text().splitlines()[-1].startswith(f"Stopped: {reason}; the state is saved")


@pytest.mark.parametrize("run", RUNS)
def test_training_resumed_and_ends_with_the_same_numbers(studies, run):
    calm, rough = (place.run_folder(run) for place in (studies.calm, studies.rough))
    attempts = json.loads((rough / "provenance.json").read_text())["attempts"]
    resumed_at = [attempt["resumed_at_epoch"] for attempt in attempts]
    assert len(attempts) >= 2
    assert resumed_at == sorted(resumed_at)
    assert resumed_at[1] >= 2, "a later attempt began anew"
    histories = [pd.read_csv(folder / "history.csv") for folder in (calm, rough)]
    kept = [history[~history["term"].isin(TIMINGS)].reset_index(drop=True) for history in histories]
    pd.testing.assert_frame_equal(*kept, check_exact=True)
    weights = [torch.load(folder / "final_model" / "model.pt", weights_only=False) for folder in (calm, rough)]
    first, second = (each["model_state_dict"] for each in weights)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_tables_are_the_same(studies):
    folders = [place.folder / "results" / "mnist" / "tables" for place in (studies.calm, studies.rough)]
    names = sorted(path.name for path in folders[0].glob("*.csv"))
    assert "runs.csv" in names
    for name in names:
        calm, rough = (pd.read_csv(folder / name).drop(columns="hours", errors="ignore") for folder in folders)
        pd.testing.assert_frame_equal(calm, rough, check_exact=True, obj=name)


def test_second_run_finds_nothing_to_do(studies):
    before = studies.calm.jobs()
    status, output = studies.calm.snakemake(seconds=120)
    assert status == 0, output
    assert "Nothing to be done" in output
    assert studies.calm.jobs() == before


def test_of_a_group_the_rule_that_failed_is_named(studies, tmp_path):
    place = studies.calm.copy(tmp_path / "study")
    script = place.folder / "workflow/scripts/evaluate.py"
    raising = "    from vaebench.base.errors import UserError; raise UserError('mend this')\n    check_job("
    script.write_text(script.read_text().replace("    check_job(", raising, 1))
    (place.run_folder(RUNS[0]) / "samples.npz").unlink()
    target = str(place.run_folder(RUNS[0]).relative_to(place.folder) / "metrics/latent.csv")
    status, output = place.snakemake("--retries", "0", "--", target, seconds=240)
    assert status == 1
    sent = rf"sent +(?=.*Measuring {RUNS[0]}, seed 0)(?=.*Drawing images from {RUNS[0]}, seed 0).*: SLURM job (\d+)"
    job = re.search(sent, output)[1]
    told = rf"failed +Measuring {RUNS[0]}, seed 0 \(SLURM job {job}\), after .*(?:\n  .*)*\nError: mend this\n"
    assert re.search(told, output), output
    assert "message: None" not in output


def test_edited_metric_and_failing_run(studies):
    """An edit of a metric submits evaluations only; beside them a run that diverges is listed and stops nobody."""
    place = studies.calm
    metric = place.folder / "workflow" / "scripts" / "vaebench" / "metrics" / "reconstruction.py"
    metric.write_text(metric.read_text() + "\n\ndef _unused() -> None:\n    return None\n")
    known = {job["id"] for job in place.jobs()}
    configs = (*CONFIGS, "tests/slurm/failing.yaml")
    status, output = place.snakemake("--retries", "0", seconds=400, configs=configs)
    assert status == 1, output
    new = [job for job in place.jobs() if job["id"] not in known]
    assert sorted(job["comment"] for job in new) == ["rule_judge_evaluate"] * 3 + ["rule_train_wildcards_diverging_0"]
    assert {job["state"] for job in new if "judge" in job["comment"]} == {"COMPLETED"}
    failure = json.loads((place.run_folder("diverging") / "training_state" / "failure.json").read_text())
    assert failure["reason"] == "diverged"
    tables = place.folder / "results" / "mnist" / "unfinished" / "tables"
    assert "diverging" in (tables / "comparison.md").read_text()
