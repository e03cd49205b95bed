"""What SLURM would refuse is found by `make check` and by Snakemake's start, before anything is submitted."""

import subprocess
import sys

import pytest
from workplace import CONFIGS, Workplace

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]
SMALL = {"mem_mb": 1000, "runtime": 30}


@pytest.fixture
def place(cluster, tmp_path):
    """The project with a profile that suits the cluster."""
    return Workplace.fresh(tmp_path / "study", cluster)


def check(place):
    """Exit status and output of `make check`."""
    environment = place.cluster.environment | {
        "PYTHONPATH": f"{place.folder}/workflow/scripts:{place.folder}/tests/slurm"
    }
    command = [
        *place.cluster.prefix,
        sys.executable,
        "-m",
        "vaebench",
        "check",
        "config/config.yaml",
        *CONFIGS,
    ]
    result = subprocess.run(
        command, cwd=place.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return result.returncode, result.stdout


def test_a_profile_that_suits_the_cluster_has_no_findings(place):
    status, output = check(place)
    assert status == 0, output
    assert "profiles/slurm" not in output


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"slurm_partition": "gpuu"},
            "there is no slurm_partition gpuu; the cluster's partitions are short, gpu, scavenge",
        ),
        ({"gpu_model": "a10"}, "no node of the partition gpu has 1 GPU of gpu_model a10; it has a100 (up to"),
        ({"gpu": 7}, "has 7 GPUs of gpu_model a100; it has a100 (up to 6 on a node)"),
        ({"runtime": 3000}, "runtime 3000 (minutes) is more than the partition gpu allows: write 2880"),
        (
            {"runtime": "1500 * attempt"},
            "when sent again: runtime 9000 (minutes) is more than the partition gpu allows",
        ),
        ({"mem_mb": 300000}, "has 300000 MB (mem_mb)"),
    ],
)
def test_what_slurm_would_refuse_is_found_and_not_submitted(place, change, words):
    place.edit_profile(train=SMALL | change)
    status, output = check(place)
    assert status == 1
    (line,) = [line for line in output.splitlines() if "profiles/slurm" in line]
    assert line.startswith("error: profiles/slurm/config.yaml: train")
    assert words in line
    status, output = place.snakemake("--", "models", seconds=120)
    assert status == 1
    assert words in output
    assert place.jobs() == []


def test_slurm_itself_refuses_what_is_found(place, cluster):
    """Otherwise the check would stand in the way of jobs that would run."""
    for options in (
        ["--partition=gpuu"],
        ["--partition=gpu", "--gpus=a10:1"],
        ["--partition=gpu", "--gpus=A100:1"],
        ["--partition=gpu", "--gpus=a100:7"],
        ["--partition=gpu", "--time=3000"],
        ["--partition=gpu", "--mem=300000"],
        ["--partition=gpu,gpuu"],
        ["--partition=gpu,short", "--time=60"],
    ):
        with pytest.raises(AssertionError, match="sbatch: error"):
            cluster.run("sbatch", *options, "--wrap=true")
