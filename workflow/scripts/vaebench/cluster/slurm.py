"""What a SLURM cluster offers, and which jobs of a study it would refuse, asked before any of them is submitted.

A job that SLURM refuses is submitted again with every retry, in vain. A wrong partition, account, GPU, time limit and
size are known beforehand, from what `slurm_answers` reads and what `job_requests` says the jobs ask for.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """What the jobs of a rule or a group ask for; None is SLURM's default, or not known before they are submitted."""

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


def mistakes_in_requests(requests: Iterable[Request], cluster: Cluster) -> list[str]:
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
