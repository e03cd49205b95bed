"""What a study's jobs asked for and what they used: `vaebench efficiency results/celeba` (make efficiency).

SLURM's accounting is read where there is one, for the jobs started in this folder; else the benchmark files that
Snakemake writes for every job. GPU use is the time a GPU was held: neither source knows how busy it was.
"""

import argparse
import csv
import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

from vaebench.base.errors import UserError
from vaebench.base.files import atomic_path

FORMAT = "JobID,State,Comment,ElapsedRaw,TimelimitRaw,TotalCPU,AllocCPUS,ReqMem,MaxRSS,AllocTRES,WorkDir"
Row = dict[str, object]  # of a table, by column
MEGABYTES = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2, "": 1 / 1024**2}


@dataclass(frozen=True)
class Usage:
    """One job: what it was, how it ended, and hours and MB asked for and used; None where that is not known."""

    job: str
    rule: str
    state: str
    hours: float
    hours_asked: float | None = None
    cpus_asked: float | None = None
    cpus_used: float | None = None
    memory_asked_mb: float | None = None
    memory_used_mb: float | None = None
    gpus_asked: float | None = None
    gpu_hours: float | None = None


def from_sacct(text: str, folder: Path) -> list[Usage]:
    """The study's jobs from `sacct --parsable2 --noheader --format=FORMAT`; memory and CPU come from a job's steps."""
    rows = [dict(zip(FORMAT.split(","), line.split("|"), strict=True)) for line in text.splitlines() if line]
    steps: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        steps.setdefault(row["JobID"].split(".")[0], []).append(row)
    usages = []
    for job, parts in steps.items():
        whole = parts[0]
        if Path(whole["WorkDir"]) != folder or not whole["Comment"].startswith("rule_"):
            continue
        seconds = float(whole["ElapsedRaw"] or 0)
        cpu_seconds = max(_seconds(part["TotalCPU"]) for part in parts)
        gpus = _tres(whole["AllocTRES"], "gres/gpu")
        usages.append(
            Usage(
                job=job,
                rule=whole["Comment"].removeprefix("rule_").split("_wildcards_")[0],
                state=whole["State"].split()[0],
                hours=seconds / 3600,
                hours_asked=float(whole["TimelimitRaw"]) / 60 if whole["TimelimitRaw"].isdigit() else None,
                cpus_asked=float(whole["AllocCPUS"]),
                cpus_used=cpu_seconds / seconds if seconds else None,
                memory_asked_mb=_megabytes(whole["ReqMem"]),
                memory_used_mb=max((_megabytes(part["MaxRSS"]) or 0.0 for part in parts), default=None) or None,
                gpus_asked=gpus,
                gpu_hours=gpus * seconds / 3600,
            )
        )
    return usages


def from_benchmarks(folder: Path) -> list[Usage]:
    """The finished jobs from Snakemake's benchmark files below `folder` (results/{dataset}/benchmarks)."""
    usages = []
    for path in sorted(folder.rglob("*.jsonl")):
        rule, *rest = path.relative_to(folder).with_suffix("").parts
        for line in path.read_text().splitlines():
            row = json.loads(line)
            resources, seconds = row.get("resources") or {}, float(row["s"])
            gpus = resources.get("gpu")
            used = _number(row.get("cpu_time"))
            usages.append(
                Usage(
                    job="/".join(rest) or rule,
                    rule=rule,
                    state="COMPLETED",
                    hours=seconds / 3600,
                    hours_asked=resources["runtime"] / 60 if "runtime" in resources else None,
                    cpus_asked=row.get("threads"),
                    cpus_used=used / seconds if used is not None and seconds else None,
                    memory_asked_mb=resources.get("mem_mb"),
                    memory_used_mb=_number(row.get("max_rss")),
                    gpus_asked=gpus,
                    gpu_hours=gpus * seconds / 3600 if gpus else None,
                )
            )
    return usages


def by_rule(usages: Iterable[Usage]) -> list[Row]:
    """One row per rule: jobs, hours, and the highest use beside what was asked, to size the next study by."""
    groups: dict[str, list[Usage]] = {}
    for usage in usages:
        groups.setdefault(usage.rule, []).append(usage)
    return [
        {
            "rule": rule,
            "jobs": len(members),
            "failed": sum(member.state not in ("COMPLETED", "RUNNING") for member in members),
            "hours": sum(member.hours for member in members),
            "longest_hours": max(member.hours for member in members),
            **{name: _highest(members, name) for name in COMPARED},
            "gpu_hours": sum(member.gpu_hours or 0.0 for member in members),
        }
        for rule, members in groups.items()
    ]


COMPARED = ("hours_asked", "cpus_asked", "cpus_used", "memory_asked_mb", "memory_used_mb", "gpus_asked")


def text_table(rows: list[Row]) -> str:
    """Rows as aligned text; a dash where nothing is known."""
    names = list(rows[0])
    cells = [names] + [[_cell(row[name]) for name in names] for row in rows]
    widths = [max(len(line[index]) for line in cells) for index in range(len(names))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def write(usages: Iterable[Usage], path: Path) -> None:
    """One line per job as CSV; an unknown value is an empty cell."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(Usage))
        writer.writerows(astuple(usage) for usage in usages)


def _highest(members: list[Usage], name: str) -> float | None:
    return max((value for member in members if (value := asdict(member)[name]) is not None), default=None)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _seconds(text: str) -> float:
    """SLURM's [days-][hours:]minutes:seconds[.fraction] in seconds; 0 for an empty field."""
    days, _, clock = text.rpartition("-")
    total = 0.0
    for part in clock.split(":") if clock else ():
        total = total * 60 + float(part)
    return total + 86400 * int(days or 0)


def _megabytes(text: str) -> float | None:
    """SLURM's memory such as 4000M, 16G or 123456K in MB; None for an empty field."""
    match = re.match(r"([\d.]+)([KMGT]?)", text)
    return float(match[1]) * MEGABYTES[match[2]] if match else None


def _tres(text: str, name: str) -> float:
    """One count out of cpu=4,mem=16G,gres/gpu=1; 0 when it is not there."""
    counts = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
    return float(counts.get(name, 0))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _sacct(days: int) -> str | None:
    """The user's jobs of the last days; None where there is no accounting."""
    command = ["sacct", "--parsable2", "--noheader", f"--starttime=now-{days}days", f"--format={FORMAT}"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    except (FileNotFoundError, subprocess.SubprocessError):
        return None


def usages_of(results: Path, days: int) -> Iterator[Usage]:
    """The study's jobs from the accounting, else from the benchmark files; `UserError` where neither knows any."""
    accounted = from_sacct(_sacct(days) or "", Path.cwd())
    found = accounted or from_benchmarks(results / "benchmarks")
    if not found:
        raise UserError(
            f"no job of this study is known: SLURM's accounting is silent and {results}/benchmarks is empty: run the "
            "study first, or name another one's results, for example make efficiency RESULTS=results/demo"
        )
    yield from found


def main(arguments: list[str] | None = None) -> int:
    """Print one line per rule, and write one line per job to RESULTS/efficiency.csv."""
    parser = argparse.ArgumentParser(prog="vaebench efficiency", description=main.__doc__)
    parser.add_argument("results", type=Path, help="results/{dataset}")
    parser.add_argument("--days", type=int, default=30, help="how far back to look in SLURM's accounting")
    options = parser.parse_args(arguments)
    try:
        usages = list(usages_of(options.results, options.days))
    except UserError as error:
        print(f"error: {error}")
        return 1
    print(text_table(by_rule(usages)))
    write(usages, options.results / "efficiency.csv")
    print(f"{len(usages)} jobs; one line each in {options.results}/efficiency.csv")
    return 0
