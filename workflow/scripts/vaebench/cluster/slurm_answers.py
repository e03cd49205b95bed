"""The cluster that this machine submits to, from what `scontrol`, `sinfo` and `sacctmgr` print."""

import getpass
import math
import re
import shutil
import subprocess
from collections.abc import Mapping

from vaebench.cluster.slurm import Cluster, Nodes, Partition

SECONDS = 20  # for one question to the controller


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
                default=fields.get("Default") == "YES",
                state=fields.get("State", "UP"),
                minutes=minutes_of(fields.get("MaxTime", "UNLIMITED")),
                accounts=None if allowed == "ALL" else frozenset(allowed.lower().split(",")),
                denied=frozenset(denied.lower().split(",")) - {"", "(null)"},
                nodes=nodes.get(fields["PartitionName"], ()),
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
