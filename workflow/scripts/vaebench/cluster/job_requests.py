"""What the jobs of a study ask of a cluster: from a profile, or from the jobs that Snakemake has planned."""

import ast
import builtins
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vaebench.cluster.slurm import Request

# The values in an expression before a job exists.
JOB_NAMES = ("wildcards", "input", "output", "resources", "rule")
SECTIONS = ("default-resources", "set-resources", "set-threads", "groups")
NUMBERS = ("runtime", "mem_mb", "gpu", "cpus_per_task")  # resources that are numbers; a runtime may be words such as 8h


def mistakes_in_profile(profile: Mapping[str, Any]) -> Iterator[str]:
    """Values in a profile that no cluster could use: the key, and what is wrong with its value.

    `requests_of_profile` may be called only where there is none.
    """
    unlike = [key for key in SECTIONS if not isinstance(profile.get(key) or {}, Mapping)]
    yield from (f"{key}: it needs keys of its own, each with a value" for key in unlike)
    if not isinstance(profile.get("retries") or 0, int):
        yield f"retries: {profile['retries']!r} is no whole number"
    if unlike:
        return
    by_rule = {f"set-resources.{rule}": values for rule, values in (profile.get("set-resources") or {}).items()}
    for place, resources in {"default-resources": profile.get("default-resources") or {}, **by_rule}.items():
        if not isinstance(resources, Mapping):
            yield f"{place}: it needs keys of its own, each with a value"
            continue
        for name in NUMBERS:
            if isinstance(resources.get(name), str) and (reason := _why_no_number(name, resources[name])):
                yield f"{place}.{name}: {resources[name]!r} {reason}"


def _why_no_number(name: str, text: str) -> str | None:
    """Why Snakemake finds no number in a resource that is a text; None where it does, or only the job will tell."""
    try:
        tree = ast.parse(text, mode="eval")
        evaluate(text, {"attempt": 1, "threads": 1})
    except SyntaxError:
        return None if name == "runtime" and _minutes(text) else "is no number"
    except Exception as error:  # of an expression of the user's
        return f"cannot be computed ({error})"
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    unknown = sorted(used - {"attempt", "threads", *JOB_NAMES, *dir(builtins)})
    return f"names {', '.join(unknown)}, which an expression does not have" if unknown else None


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
