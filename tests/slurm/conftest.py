"""One cluster, one prepared data set, one undisturbed and one disturbed study for all tests of this folder."""

import os
import threading
import time
from dataclasses import dataclass, field

import pytest
from cluster import Cluster, can_isolate, missing
from workplace import Workplace, hold_gpus, wait_until

GPUS = 6
RUNS = ("cancelled_and_preempted", "out_of_memory_and_node", "out_of_time")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A cluster of one node with six fake GPUs, cut off from every network where this user may do that."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    with Cluster(tmp_path_factory.mktemp("cluster"), gpus=GPUS, cpus=16, isolated=can_isolate()) as running:
        yield running


@pytest.fixture(scope="session")
def prepared(cluster, tmp_path_factory):
    """The data on disk: fetched on the submitting machine, which has a network, and made into arrays by SLURM jobs."""
    place = Workplace.fresh(tmp_path_factory.mktemp("prepared") / "study", cluster)
    # What a user changes: here one training lives in a partition whose jobs may be preempted, and all are small.
    scavenged = "'scavenge' if wildcards.run == 'cancelled_and_preempted' else 'gpu'"
    place.edit_profile(train={"mem_mb": 3000, "runtime": 30, "slurm_partition": scavenged})
    targets = ["data/mnist/raw/digits.zip", "data/mnist/raw/digits_partition.txt"]
    status, output = place.snakemake("--", *targets, seconds=300, on_cluster=False)
    assert status == 0, output
    status, output = place.snakemake("--", "data", seconds=400)
    assert status == 0, output
    return place


@dataclass
class Studies:
    """The same study twice, side by side; `evidence` holds the jobs that were disturbed, by what was done to them."""

    calm: Workplace
    rough: Workplace
    calm_result: tuple[int, str] = (1, "")
    rough_result: tuple[int, str] = (1, "")
    evidence: dict[str, int] = field(default_factory=dict)
    error: BaseException | None = None


@pytest.fixture(scope="session")
def studies(prepared, cluster, tmp_path_factory):
    """Both studies, done; the disturbances of the rough one happen while it runs."""
    folder = tmp_path_factory.mktemp("studies")
    both = Studies(prepared.copy(folder / "calm"), prepared.copy(folder / "rough"))
    (both.rough.folder / "hungry").touch()
    calm, rough = both.calm.start(), both.rough.start()
    disturber = threading.Thread(target=_disturb, args=(both, cluster))
    disturber.start()
    try:
        both.rough_result = both.rough.finish(rough, seconds=1200)
        both.calm_result = both.calm.finish(calm, seconds=600)
        disturber.join(timeout=10)
    finally:
        both.rough.kill(rough)
        both.calm.kill(calm)
    return both


def _disturb(studies: Studies, cluster: Cluster) -> None:
    try:
        _do_everything(studies.rough, cluster, studies.evidence)
    except BaseException as error:  # handed to the test, which runs in another thread
        studies.error = error


def _do_everything(rough: Workplace, cluster: Cluster, evidence: dict[str, int]) -> None:
    """Cancel, run out of time, preempt, and lose the node: each once a training has a state to go back to."""
    soft, hard, slow = RUNS
    evidence["cancel"] = _running(rough, soft, beyond=2)
    cluster.run("scancel", str(evidence["cancel"]))
    cancelled_at = rough.epoch(soft)
    evidence["time"] = _running(rough, slow, beyond=2)
    started = _job(cluster, evidence["time"])["start"]
    # One to two minutes from now: less than the warning time of the profile, so that SLURM warns at its next look.
    minutes = int(time.time() - started) // 60 + 2
    cluster.run("scontrol", "update", f"JobId={evidence['time']}", f"TimeLimit={minutes}")
    evidence["memory"] = rough.training_jobs(hard)[0]["id"]
    evidence["preempt"] = _running(rough, soft, beyond=cancelled_at + 2, other_than=evidence["cancel"])
    preempted_at = rough.epoch(soft)
    _preempt(cluster, evidence["preempt"])
    _running(rough, soft, beyond=preempted_at + 1)
    evidence["node"] = _running(rough, hard, beyond=6, other_than=evidence["memory"])
    cluster.lose_node()


def _preempt(cluster: Cluster, job: int) -> None:
    """Ask for GPUs one by one until SLURM takes the job's: other jobs come and go, so no count would hold."""
    holders = [hold_gpus(cluster, 1, seconds=120)]

    def preempted() -> bool:
        waiting = any(each["state"] == "PENDING" and str(each["id"]) in holders for each in cluster.jobs())
        if not waiting and not _job(cluster, job)["restarts"]:
            holders.append(hold_gpus(cluster, 1, seconds=120))
        return bool(_job(cluster, job)["restarts"])

    try:
        wait_until("the preemption", preempted, seconds=60)
    finally:
        cluster.run("scancel", *holders)


def _running(place: Workplace, run: str, beyond: int, other_than: int | None = None) -> int:
    """Id of the job that trains `run`, once it runs and more than `beyond` epochs are done."""

    def found() -> int | None:
        jobs = [job for job in place.training_jobs(run) if job["state"] == "RUNNING" and job["id"] != other_than]
        return jobs[-1]["id"] if jobs and place.epoch(run) > beyond else None

    return wait_until(f"{run} to train beyond epoch {beyond}", found, seconds=240)


def _job(cluster: Cluster, identifier: int) -> dict:
    return next(job for job in cluster.jobs() if job["id"] == identifier)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
