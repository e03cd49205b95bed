"""What a cluster would refuse, from the words of SLURM's commands and of a profile."""

import math
import stat
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from vaebench.cluster import slurm_answers
from vaebench.cluster.job_requests import (
    evaluate,
    mistakes_in_profile,
    request_of,
    requests_of_jobs,
    requests_of_profile,
)
from vaebench.cluster.slurm import Cluster, Nodes, Partition, Request, mistakes_in_requests
from vaebench.cluster.slurm_answers import minutes_of, parse_gres, parse_nodes, parse_partitions, read_cluster
from vaebench.cluster.study_check import check_cluster

ROOT = Path(__file__).parents[2]
THREADS = {"validate": 8, "preprocess": 8, "train": 4, "sample": 4, "evaluate": 4}
# As Slurm 22.05 prints them.
PARTITIONS = """\
PartitionName=short AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES QoS=N/A \
DefaultTime=00:05:00 MaxNodes=UNLIMITED MaxTime=00:30:00 MinNodes=0 Nodes=node1 State=UP TotalCPUs=4 TotalNodes=1
PartitionName=gpu AllowGroups=ALL AllowAccounts=Lab,physics AllowQos=ALL Default=NO MaxTime=2-00:00:00 State=UP
PartitionName=old AllowAccounts=ALL DenyAccounts=lab Default=NO MaxTime=UNLIMITED State=DRAIN
"""
NODES = """\
short|(null)|64|256000|(null)
gpu|gpu:a100:4(S:0-1)|64|512000|ib,a100-sxm4-80gb
gpu|gpu:v100:2,gpu:t4:1|32+|192000+|ib
old|gpu:2|16|64000|
"""
CLUSTER = Cluster(parse_partitions(PARTITIONS, parse_nodes(NODES)), ("lab",))
GOOD = Request("train", partition="gpu", account="lab", gpus=1, gpu_model="a100", minutes=480, memory_mb=16000, cpus=4)


def mistake(**changes):
    (line,) = mistakes_in_requests([replace(GOOD, **changes)], CLUSTER)
    assert line.startswith("train: ")
    return line


def test_the_commands_answers_are_read():
    short, gpu, old = CLUSTER.partitions
    assert short == Partition("short", True, "UP", 30, None, frozenset(), (Nodes({}, 64, 256000),))
    assert (gpu.minutes, gpu.accounts) == (2880, {"lab", "physics"})
    assert gpu.nodes == (
        Nodes({"a100": 4}, 64, 512000, frozenset({"ib", "a100-sxm4-80gb"})),
        Nodes({"v100": 2, "t4": 1}, 32, 192000, frozenset({"ib"})),
    )
    assert (old.minutes, old.denied, old.state) == (math.inf, {"lab"}, "DRAIN")


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("(null)", {}),
        ("gpu:4", {"": 4}),
        ("gpu", {"": 1}),
        ("gpu:h100", {"h100": 1}),
        ("gpu:a100:4(S:0-1,2)", {"a100": 4}),
        ("gpu:nvidia_h100_80gb_hbm3:8(IDX:0-7),shard:64", {"nvidia_h100_80gb_hbm3": 8}),
        ("gpu:1g.5gb:7,gpu:1g.5gb:7", {"1g.5gb": 14}),
        ("tmpdisk:100,mps:400", {}),
    ],
)
def test_gres(text, gpus):
    assert parse_gres(text) == gpus


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("30", 30),
        ("30:00", 30),
        ("02:00:00", 120),
        ("1-00:00:00", 1440),
        ("2-12", 3600),
        ("1-02:30", 1590),
        ("00:00:30", 0.5),
        ("UNLIMITED", math.inf),
        ("infinite", math.inf),
        ("NONE", math.inf),
    ],
)
def test_times(text, minutes):
    assert minutes_of(text) == minutes


def test_a_request_that_fits_has_no_mistakes():
    assert mistakes_in_requests([GOOD, Request("validate", minutes=30)], CLUSTER) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"partition": "gpuu"}, "there is no slurm_partition gpuu; the cluster's partitions are short, gpu, old"),
        ({"account": "nobodys"}, "slurm_account nobodys is not among your accounts (lab)"),
        ({"gpu_model": "a10"}, "has 1 GPU of gpu_model a10; it has a100 (up to 4 on a node), t4 (up to 1"),
        ({"gpu_model": "A100"}, "gpu_model A100"),
        ({"gpus": 8}, "no node of the partition gpu has 8 GPUs of gpu_model a100"),
        (
            {"partition": "short", "minutes": 10, "account": None},
            "partition short has 1 GPU of gpu_model a100; it has none",
        ),
        ({"minutes": 2881}, "runtime 2881 (minutes) is more than the partition gpu allows: write 2880"),
        ({"memory_mb": 600000}, "has 600000 MB (mem_mb) and 4 CPUs"),
        ({"memory_mb": 300000, "gpu_model": "v100"}, "the largest has 192000 MB and 32 CPUs"),
        ({"cpus": 65}, "65 CPUs"),
        ({"constraint": "a100-sxm4-40gb"}, "has the feature a100-sxm4-40gb"),
    ],
)
def test_what_is_refused_is_named_with_what_there_is(changes, words):
    assert words in mistake(**changes)


def test_accounts_may_be_kept_out_of_partitions():
    closed = replace(CLUSTER, accounts=("lab", "chem"))
    (line,) = mistakes_in_requests([replace(GOOD, account="chem")], closed)
    assert "the partition gpu is not open to slurm_account chem, but to lab, physics" in line
    lines = mistakes_in_requests([Request("train", partition="old", account="lab")], closed)
    assert lines == [
        "train: the partition old takes no jobs, its state is DRAIN",
        "train: the partition old is not open to slurm_account lab",
    ]


def test_accounts_are_compared_as_slurm_does():
    assert mistakes_in_requests([replace(GOOD, account="LAB")], CLUSTER) == []
    assert (
        mistakes_in_requests(
            [replace(GOOD, account="any", partition="short", gpus=0, minutes=1)], replace(CLUSTER, accounts=None)
        )
        == []
    )


def test_a_constraint_that_is_an_expression_is_not_judged():
    assert mistakes_in_requests([replace(GOOD, constraint="a100|h100")], CLUSTER) == []


def test_of_several_partitions_each_must_do():
    lines = mistakes_in_requests([replace(GOOD, partition="gpu,short,nowhere", gpus=0, account=None)], CLUSTER)
    assert [line.split()[1] for line in lines] == ["runtime", "there"]


def test_without_a_default_partition_one_must_be_named():
    homeless = replace(CLUSTER, partitions=CLUSTER.partitions[1:])
    assert "no slurm_partition is given" in mistakes_in_requests([Request("validate")], homeless)[0]


def test_jobs_with_the_same_mistake_share_a_line():
    lines = mistakes_in_requests([replace(GOOD, jobs=jobs, partition="x") for jobs in ("train", "sample")], CLUSTER)
    assert lines == ["train, sample: there is no slurm_partition x; the cluster's partitions are short, gpu, old"]


def test_what_is_asked_for_when_sent_again_is_looked_at():
    again = replace(GOOD, attempt=6, minutes=2 * 1600)
    (line,) = mistakes_in_requests([again, replace(GOOD, minutes=1600)], CLUSTER)
    assert line.startswith("train when sent again: runtime 3200")
    (line,) = mistakes_in_requests([again, replace(GOOD, minutes=3000)], CLUSTER)
    assert line.startswith("train: runtime 3000")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (480, 480),
        ("gpu", "gpu"),
        ("a100-sxm4-80gb", "a100-sxm4-80gb"),
        ("a100-x", "a100-x"),
        ("480 + 480 * (attempt > 1)", 960),
        ("min(threads * 1000, 3000)", 3000),
        ("'long' if attempt > 1 else 'gpu'", "long"),
        ("'scavenge' if wildcards.run == 'a' else 'gpu'", None),
        ("input.size_mb * 2", None),
        ("8h", "8h"),
    ],
)
def test_expressions_are_read_as_snakemake_does(value, expected):
    assert evaluate(value, {"attempt": 2, "threads": 4}) == expected


def test_the_ways_to_ask_for_a_gpu():
    assert (
        request_of("train", {"gpu": 2, "gpu_model": "a100"}).gpus,
        request_of("train", {"gpu_model": "h100"}).gpus,
    ) == (2, 1)
    request = request_of("train", {"gpu": 0, "gres": "gpu:a100:3"})
    assert (request.gpus, request.gpu_model) == (3, "a100")
    assert request_of("train", {"gres": "gpu:2"}).gpu_model is None
    assert request_of("validate", {"mem_mb": "<TBD>", "runtime": 60, "slurm_account": "lab, chem"}) == Request(
        "validate", account="lab", minutes=60
    )


@pytest.mark.parametrize(
    ("runtime", "minutes"),
    [(90, 90), ("8h", 480), ("2d", 2880), ("1h30m", 90), ("90s", 1.5), ("<TBD>", None), (None, None)],
)
def test_runtimes_are_minutes_or_words(runtime, minutes):
    assert request_of("train", {"runtime": runtime}).minutes == minutes


def test_the_shipped_profile_is_read():
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    requests = requests_of_profile(profile, THREADS)
    first = {request.jobs: request for request in requests if request.attempt == 1}
    assert first["train"] == Request("train", 1, "gpu", None, 1, "a100", None, 480, 16000, 4)
    assert first["validate"].gpus == 0
    assert first["sample and evaluate"].minutes == 120, "one job does both"
    last = {request.jobs: request for request in requests if request.attempt > 1}
    assert last["train"].attempt == 6
    assert (last["train"].minutes, last["train"].memory_mb) == (960, 32000)


class Job:
    """A planned job of Snakemake's."""

    def __init__(self, name, *wildcards, runtime=60):
        self.rule, self.wildcards, self.threads, self.attempt, self.runtime = (
            SimpleNamespace(name=name),
            wildcards,
            4,
            1,
            runtime,
        )

    @property
    def resources(self):
        return {"slurm_partition": "gpu", "gpu": 1, "runtime": self.runtime * self.attempt, "mem_mb": 1000}


def test_planned_jobs_are_grouped_as_they_are_submitted():
    jobs = [
        Job("sample", "vae", "0"),
        Job("evaluate", "vae", "0", runtime=30),
        Job("evaluate", "vae", "1"),
        Job("train", "a", "0"),
    ]
    requests = requests_of_jobs(jobs, {"sample": "judge", "evaluate": "judge"}, retries=1)
    found = {(request.jobs, request.attempt): request.minutes for request in requests}
    assert found == {
        ("sample and evaluate", 1): 90,
        ("evaluate", 1): 60,
        ("train", 1): 60,
        ("sample and evaluate", 2): 180,
        ("evaluate", 2): 120,
        ("train", 2): 120,
    }
    assert {job.attempt for job in jobs} == {1}


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """SLURM's commands as shell scripts that print what they are told to."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def write(name, output="", status=0, error=""):
        path = folder / name
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{output}END\necho '{error}' >&2\nexit {status}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return write


def test_the_cluster_is_asked_by_its_commands(commands):
    commands("sinfo", NODES)
    commands("scontrol", PARTITIONS)
    commands("sacctmgr", "lab\nlab\n")
    assert read_cluster() == CLUSTER
    commands("sacctmgr", status=1, error="You are not running a supported accounting_storage plugin")
    assert read_cluster().accounts is None
    commands("sinfo", status=1, error="slurm_load_partitions: Unable to contact slurm controller (connect failure)")
    assert read_cluster() == "slurm_load_partitions: Unable to contact slurm controller (connect failure)"


def test_a_machine_without_slurm_is_asked_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_cluster() is None
    assert list(check_cluster(ROOT / "profiles/slurm", {"threads": THREADS})) == []


def test_the_preflight_names_the_profile(monkeypatch, tmp_path):
    monkeypatch.setattr(slurm_answers, "read_cluster", lambda: replace(CLUSTER, accounts=None))
    text = (ROOT / "profiles/slurm/config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text.replace("&gpu_model a100", "&gpu_model h100"))
    (finding,) = check_cluster(tmp_path, {"threads": THREADS})
    assert finding.fatal
    assert finding.message.startswith(f"{tmp_path}/config.yaml: preprocess, train, sample and evaluate: no node of")
    monkeypatch.setattr(slurm_answers, "read_cluster", lambda: "the controller is away")
    (finding,) = check_cluster(tmp_path, {"threads": THREADS})
    assert not finding.fatal
    assert "SLURM does not answer (the controller is away)" in finding.message
    assert list(check_cluster(ROOT / "profiles/default", {"threads": THREADS})) == []
    assert list(check_cluster(tmp_path / "nowhere", {"threads": THREADS})) == []


@pytest.mark.parametrize(
    ("profile", "mistake"),
    [
        ({"default-resources": ["mem_mb=4000"]}, "default-resources: it needs keys of its own, each with a value"),
        ({"set-resources": {"train": 60}}, "set-resources.train: it needs keys of its own, each with a value"),
        ({"retries": "many"}, "retries: 'many' is no whole number"),
        ({"default-resources": {"mem_mb": "lots"}}, "default-resources.mem_mb: 'lots' names lots, which an expression"),
        (
            {"set-resources": {"train": {"runtime": "60 * atempt"}}},
            "set-resources.train.runtime: '60 * atempt' names at",
        ),
        ({"set-resources": {"train": {"mem_mb": "8 GB"}}}, "set-resources.train.mem_mb: '8 GB' is no number"),
        ({"set-resources": {"train": {"gpu": "1 // (attempt - 1)"}}}, "gpu: '1 // (attempt - 1)' cannot be computed ("),
    ],
)
def test_what_no_cluster_could_read_in_a_profile_is_named(profile, mistake):
    (found,) = mistakes_in_profile(profile)
    assert mistake in found


def test_whatever_snakemake_reads_is_no_mistake():
    for path in (ROOT / "profiles").glob("*/config.yaml"):
        assert list(mistakes_in_profile(yaml.safe_load(path.read_text()))) == []
    expressions = ("8h", "90 * attempt", "max(input.size_mb, 60)", "float(threads)", 30)
    assert (
        list(mistakes_in_profile({"set-resources": {f"rule{i}": {"runtime": e} for i, e in enumerate(expressions)}}))
        == []
    )


def test_a_profile_that_is_no_yaml_is_one_finding(tmp_path):
    (tmp_path / "config.yaml").write_text("executor: slurm\n\tjobs: 1\n")
    (finding,) = check_cluster(tmp_path, {"threads": THREADS})
    assert finding.fatal
    assert "config.yaml, line 2: found character" in finding.message
