"""Whether a SLURM cluster can run the jobs of a study, asked before any of them is submitted.

A job that SLURM refuses is submitted again with every retry, in vain. What `scontrol`, `sinfo` and `sacctmgr` tell is
enough to know a wrong partition, account, GPU, time limit and size. Pure but for `read_cluster`, which runs them.
"""

import ast
import getpass
import math
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

SECONDS = 20  # for one question to the controller
JOB_NAMES = (
    "wildcards",
    "input",
    "output",
    "resources",
    "rule",
)  # the values in an expression before a job exists


@dataclass(frozen=True)
class Request:
    """What the jobs of a rule or a group ask for. None: SLURM's default, or known only when they are submitted."""

    jobs: str
    attempt: int = 1
    partition: str | None = None
    account: str | None = None
    gpus: int = 0
    gpu_model: str | None = None
    constraint: str | None = None
    minutes: float | None = None
    memory_mb: float | None = None
    cpus: int | None = None


@dataclass(frozen=True)
class Nodes:
    """Nodes of one kind in one partition: GPUs by model ('' where SLURM has no name), CPUs, MB and features of each."""

    gpus: Mapping[str, int]
    cpus: int
    memory_mb: int
    features: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Partition:
    """A partition: its longest job in minutes, the accounts that may use it (None: all) or may not, and its nodes."""

    name: str
    default: bool = False
    state: str = "UP"
    minutes: float = math.inf
    accounts: frozenset[str] | None = None
    denied: frozenset[str] = frozenset()
    nodes: tuple[Nodes, ...] = ()

    def admits(self, account: str) -> bool:
        """Whether jobs of this account (in lower case) may run here."""
        return account not in self.denied and (self.accounts is None or account in self.accounts)


@dataclass(frozen=True)
class Cluster:
    """What a cluster offers; `accounts` are this user's, None where they are not known."""

    partitions: tuple[Partition, ...]
    accounts: tuple[str, ...] | None = None

    def find(self, name: str | None) -> Partition | None:
        """The partition of that name, or the default one for None."""
        found = (each for each in self.partitions if (each.default if name is None else each.name == name))
        return next(found, None)


def mistakes_of(requests: Iterable[Request], cluster: Cluster) -> list[str]:
    """What `cluster` would refuse or never start, one line for all jobs that share it.

    What a later attempt asks for is looked at too: a job that ran out of time is sent again with more of it.
    """
    found: dict[str, list[str]] = {}
    first: set[tuple[str, str]] = set()
    for request in sorted(dict.fromkeys(requests), key=lambda each: each.attempt):
        for aspect, text in _refusals(request, cluster):
            if request.attempt == 1:
                first.add((request.jobs, aspect))
            elif (request.jobs, aspect) in first:
                continue
            jobs = request.jobs if request.attempt == 1 else f"{request.jobs} when sent again"
            known = found.setdefault(text, [])
            if jobs not in known:
                known.append(jobs)
    return [f"{', '.join(jobs)}: {text}" for text, jobs in found.items()]


def _refusals(request: Request, cluster: Cluster) -> Iterator[tuple[str, str]]:
    """What is refused and why, by aspect; with an unknown partition nothing more can be said."""
    account = request.account
    if account and cluster.accounts is not None and account.lower() not in map(str.lower, cluster.accounts):
        yield "account", f"slurm_account {account} is not among your accounts ({', '.join(cluster.accounts)})"
        account = None
    names = ", ".join(each.name for each in cluster.partitions)
    if request.partition is None and cluster.find(None) is None:
        yield "partition", f"no slurm_partition is given and the cluster has no default; its partitions are {names}"
        return
    for name in [None] if request.partition is None else request.partition.split(","):
        partition = cluster.find(name)
        if partition is None:
            yield "partition", f"there is no slurm_partition {name}; the cluster's partitions are {names}"
            continue
        if partition.state != "UP":
            yield "partition", f"the partition {partition.name} takes no jobs, its state is {partition.state}"
        if account and not partition.admits(account.lower()):
            allowed = f", but to {', '.join(sorted(partition.accounts))}" if partition.accounts else ""
            yield "account", f"the partition {partition.name} is not open to slurm_account {account}{allowed}"
        if request.minutes is not None and request.minutes > partition.minutes:
            yield (
                "time",
                f"runtime {request.minutes:g} (minutes) is more than the partition {partition.name} allows: write "
                f"{partition.minutes:g}, a training that runs out of time goes on where it stopped",
            )
        yield from _misfits(request, partition)


def _misfits(request: Request, partition: Partition) -> Iterator[tuple[str, str]]:
    """Why no node of the partition can take such a job."""
    nodes = list(partition.nodes)
    where = f"of the partition {partition.name}"
    if request.gpus:
        nodes = [each for each in nodes if _gpus(each, request.gpu_model) >= request.gpus]
        if not nodes:
            wanted = f"{request.gpus} GPU" + ("s" if request.gpus > 1 else "")
            model = f" of gpu_model {request.gpu_model}" if request.gpu_model else ""
            yield "gpu", f"no node {where} has {wanted}{model}; it has {_offered(partition)}"
            return
    if request.constraint and re.fullmatch(r"[\w.-]+", request.constraint):
        nodes = [each for each in nodes if request.constraint in each.features]
        if not nodes:
            yield "constraint", f"no node {where} that has the GPUs has the feature {request.constraint} (constraint)"
            return
    memory, cpus = request.memory_mb or 0, request.cpus or 0
    if nodes and not any(each.memory_mb >= memory and each.cpus >= cpus for each in nodes):
        largest = max(nodes, key=lambda each: (each.memory_mb, each.cpus))
        yield (
            "size",
            f"no node {where} has {memory:g} MB (mem_mb) and {cpus} CPUs (threads) at once beside the GPUs asked for; "
            f"the largest has {largest.memory_mb} MB and {largest.cpus} CPUs",
        )


def _gpus(nodes: Nodes, model: str | None) -> int:
    return sum(nodes.gpus.values()) if model is None else nodes.gpus.get(model, 0)


def _offered(partition: Partition) -> str:
    """The GPUs of a partition in words."""
    most: dict[str, int] = {}
    for nodes in partition.nodes:
        for model, count in nodes.gpus.items():
            most[model] = max(most.get(model, 0), count)
    named = [f"{model or 'GPUs without a model'} (up to {count} on a node)" for model, count in sorted(most.items())]
    return ", ".join(named) or "none"


def read_cluster() -> Cluster | str | None:
    """The cluster that this machine submits to; why it cannot be known; None where there is no SLURM."""
    if shutil.which("sinfo") is None:
        return None
    partitions = _ask("scontrol", "--all", "--oneliner", "show", "partition")
    nodes = _ask("sinfo", "--all", "--noheader", "--exact", "--format", "%R|%G|%c|%m|%f")
    for answer in (partitions, nodes):
        if answer.returncode:
            return answer.stderr.strip().splitlines()[-1] if answer.stderr.strip() else "no answer"
    question = ("show", "associations", f"user={getpass.getuser()}", "format=account")
    accounts = _ask("sacctmgr", "--noheader", "--parsable2", *question)
    known = () if accounts.returncode else tuple(dict.fromkeys(accounts.stdout.split()))
    return Cluster(parse_partitions(partitions.stdout, parse_nodes(nodes.stdout)), known or None)


def _ask(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def parse_partitions(text: str, nodes: Mapping[str, tuple[Nodes, ...]]) -> tuple[Partition, ...]:
    """The partitions in what `scontrol --oneliner show partition` prints; `nodes` by the partition's name."""
    found = []
    for line in text.splitlines():
        fields = dict(word.partition("=")[::2] for word in line.split())
        if "PartitionName" not in fields:
            continue
        allowed, denied = fields.get("AllowAccounts", "ALL"), fields.get("DenyAccounts", "")
        found.append(
            Partition(
                fields["PartitionName"],
                fields.get("Default") == "YES",
                fields.get("State", "UP"),
                minutes_of(fields.get("MaxTime", "UNLIMITED")),
                None if allowed == "ALL" else frozenset(allowed.lower().split(",")),
                frozenset(denied.lower().split(",")) - {"", "(null)"},
                nodes.get(fields["PartitionName"], ()),
            )
        )
    return tuple(found)


def parse_nodes(text: str) -> dict[str, tuple[Nodes, ...]]:
    """The kinds of nodes of each partition, from sinfo's `%R|%G|%c|%m|%f` (partition, GRES, CPUs, MB, features)."""
    found: dict[str, tuple[Nodes, ...]] = {}
    for line in text.splitlines():
        name, gres, cpus, memory, features = line.split("|")
        named = frozenset(features.replace("(null)", "").split(",")) - {""}
        kind = Nodes(parse_gres(gres), _leading_number(cpus), _leading_number(memory), named)
        found[name] = (*found.get(name, ()), kind)
    return found


def _leading_number(text: str) -> int:
    """64 of `64+`, as sinfo writes the least of several nodes."""
    digits = re.match(r"\d*", text)
    return int(digits[0]) if digits else 0


def parse_gres(text: str) -> dict[str, int]:
    """GPUs by model in SLURM's words: `gpu:a100:4(S:0-1),gpu:v100:2` or `gpu:4`; other resources are left out."""
    gpus: dict[str, int] = {}
    for part in re.sub(r"\([^)]*\)", "", text).split(","):
        match = re.fullmatch(r"gpu(?::([^:]+))??(?::(\d+))?", part)
        if match:
            model, count = match[1] or "", int(match[2] or 1)
            gpus[model] = gpus.get(model, 0) + count
    return gpus


def minutes_of(text: str) -> float:
    """Minutes of SLURM's `days-hours:minutes:seconds`, of which parts may be absent; infinite when unlimited."""
    if not text[:1].isdigit():
        return math.inf
    days, _, clock = text.rpartition("-")
    numbers = [int(part) for part in clock.split(":")]
    if days or len(numbers) == 3:
        hours, minutes, seconds = [*numbers, 0, 0][:3]
    else:
        hours, minutes, seconds = 0, *[*numbers, 0][:2]
    return int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60


def request_of(jobs: str, resources: Mapping[str, object], attempt: int = 1, cpus: int | None = None) -> Request:
    """The request that Snakemake's SLURM plugin makes of a job's `resources`, which are values, not expressions."""
    gres = re.fullmatch(r"gpu(?::([\w.]+))?:(\d+)", str(resources.get("gres") or ""))
    gpus, model = (int(gres[2]), gres[1]) if gres else (_number(resources.get("gpu")) or 0, resources.get("gpu_model"))
    asked_cpus = _number(resources.get("cpus_per_task"))
    return Request(
        jobs,
        attempt,
        partition=_text(resources.get("slurm_partition")),
        account=re.split(r"[,\s]+", str(resources["slurm_account"]))[0] if resources.get("slurm_account") else None,
        gpus=int(gpus) or (1 if model else 0),
        gpu_model=_text(model),
        constraint=_text(resources.get("constraint")),
        minutes=_minutes(resources.get("runtime")),
        memory_mb=_number(resources.get("mem_mb")),
        cpus=int(asked_cpus) if asked_cpus else cpus,
    )


def _text(value: object) -> str | None:
    return str(value) if value else None


def _number(value: object) -> float | None:
    """A number, or None for what is not known before the job is made (Snakemake then has a text)."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _minutes(value: object) -> float | None:
    """A runtime in minutes, or in words such as 8h, 2d or 1h30m."""
    parts = re.findall(r"([\d.]+)\s*([dhms])[a-z]*", value) if isinstance(value, str) else []
    if not parts:
        return _number(value)
    return sum(float(count) * {"d": 1440, "h": 60, "m": 1, "s": 1 / 60}[unit] for count, unit in parts)


def combined(requests: Sequence[Request]) -> Request:
    """The request of one job that does the work of several, one after the other: their times add up."""
    known = [each.minutes for each in requests if each.minutes is not None]
    return replace(
        requests[0],
        jobs=" and ".join(dict.fromkeys(each.jobs for each in requests)),
        minutes=sum(known) if len(known) == len(requests) else None,
        memory_mb=max((each.memory_mb for each in requests if each.memory_mb), default=None),
        cpus=max((each.cpus for each in requests if each.cpus), default=None),
        gpus=max(each.gpus for each in requests),
    )


def requests_of_profile(profile: Mapping[str, Any], threads: Mapping[str, int]) -> list[Request]:
    """What a profile asks for, by rule, at the first and at the last attempt; `threads` of the rules by their names."""
    default, by_rule = profile.get("default-resources") or {}, profile.get("set-resources") or {}
    groups, set_threads = profile.get("groups") or {}, profile.get("set-threads") or {}
    requests: list[Request] = []
    for attempt in dict.fromkeys((1, 1 + int(profile.get("retries") or 0))):
        parts: dict[str, list[Request]] = {}
        for rule, planned in threads.items():
            cpus = set_threads.get(rule, planned)
            names = {"attempt": attempt, "threads": cpus}
            resources = {key: evaluate(value, names) for key, value in {**default, **by_rule.get(rule, {})}.items()}
            parts.setdefault(groups.get(rule, rule), []).append(request_of(rule, resources, attempt, cpus))
        requests += map(combined, parts.values())
    return requests


def requests_of_jobs(jobs: Iterable[Any], groups: Mapping[str, str], retries: int) -> list[Request]:
    """What planned jobs ask for, at the first and at the last attempt.

    A job has a `rule.name`, `wildcards`, `threads`, and `resources` that follow its `attempt`. Those of equal wildcards
    whose rules are in one of the `groups` (rule to group) are one job to SLURM.
    """
    jobs = list(jobs)
    requests: list[Request] = []
    for attempt in dict.fromkeys((1, 1 + retries)):
        parts: dict[tuple[str, ...], list[Request]] = {}
        for job in jobs:
            job.attempt = attempt
            part = request_of(job.rule.name, job.resources, attempt, job.threads)
            parts.setdefault((groups.get(part.jobs, part.jobs), *job.wildcards), []).append(part)
        requests += map(combined, parts.values())
    for job in jobs:
        job.attempt = 1
    return requests


def evaluate(value: object, names: Mapping[str, int]) -> object:
    """A resource as Snakemake reads it: an expression over `names`, else the text. None if it depends on the job."""
    if not isinstance(value, str):
        return value
    try:
        tree = ast.parse(value, mode="eval")
    except SyntaxError:
        return value
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    if used & {*JOB_NAMES}:
        return None
    if used - {*names, "max", "min", "int", "round"}:
        return value
    functions = {"max": max, "min": min, "int": int, "round": round}
    return eval(compile(tree, value, "eval"), {"__builtins__": {}}, {**functions, **names})
