"""The second target (make test-slurm-accounting): SLURM with slurmdbd and MariaDB, and status by sacct."""

import os

import pytest
from cluster import Cluster, missing
from workplace import Workplace, wait_until

WANTED = "VAEBENCH_SLURM_ACCOUNTING"
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.timeout(600),
    pytest.mark.skipif(WANTED not in os.environ, reason=f"needs MariaDB and slurmdbd: set {WANTED}=1 to run it"),
]
RUN = "cancelled_and_preempted"


@pytest.fixture(scope="module")
def accounted(tmp_path_factory):
    reason = missing(accounting=True)
    if reason:
        pytest.skip(reason)
    with Cluster(tmp_path_factory.mktemp("cluster"), cpus=16, accounting=True) as running:
        yield running


@pytest.fixture(scope="module")
def place(accounted, tmp_path_factory):
    place = Workplace.fresh(tmp_path_factory.mktemp("accounted") / "study", accounted)
    place.edit_profile(train={"mem_mb": 3000, "runtime": 30})
    return place


def use_account(place, name):
    """Set the account as the profile's comment says."""
    path = place.folder / "profiles" / "slurm" / "config.yaml"
    lines = [line for line in path.read_text().splitlines() if "slurm_account" not in line]
    lines.insert(lines.index("default-resources:") + 1, f"  slurm_account: {name}")
    path.write_text("\n".join(lines) + "\n")


def test_unknown_account_is_named_with_the_valid_ones(place):
    use_account(place, "nobodys")
    status, output = place.snakemake("--retries", "0", "--", "data", seconds=180)
    assert status == 1
    assert "slurm_account nobodys is not among your accounts (lab" in output
    assert place.jobs() == []


def test_study_with_status_by_sacct(place, accounted):
    use_account(place, "lab")
    target = str(place.run_folder(RUN).relative_to(place.folder) / "history.csv")
    status, output = place.snakemake("--slurm-status-command", "sacct", "--", target, seconds=300)
    assert status == 0, output
    accounts = accounted.run("sacct", "-X", "--noheader", "--format=Account").split()
    assert set(accounts) == {"lab"}


def test_efficiency_reads_the_accounting(place, accounted):
    def allocated():
        return accounted.run("sacct", "-X", "--noheader", "--parsable2", "--format=AllocTRES,State")

    wait_until("the accounting to know the end of every job", lambda: "RUNNING" not in allocated(), seconds=30)
    assert "gres/gpu:a100=1" in allocated()
    printed = place.command("efficiency", "results/mnist")
    rows = {line.split()[0]: line.split() for line in printed.splitlines()}
    names = rows["rule"]
    train = dict(zip(names, rows["train"], strict=True))
    assert train["jobs"] == "1"
    assert (train["memory_asked_mb"], train["gpus_asked"]) == ("3000", "1")
    assert 100 < float(train["memory_used_mb"]) < 3000
    assert float(train["gpu_hours"]) > 0
