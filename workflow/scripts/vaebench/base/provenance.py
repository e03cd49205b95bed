"""Where a result came from: the code, the libraries and the machine."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict

from vaebench.base.durable import durable_path
from vaebench.base.formats import stamped

PACKAGES = ("torch", "torchvision", "pythae", "lpips", "piq", "numpy", "pandas", "pillow", "snakemake")


class GitState(TypedDict):
    """The commit that is checked out and whether the tree differs from it; both None outside a git checkout."""

    commit: str | None
    dirty: bool | None


class DeviceFacts(TypedDict, total=False):
    """A processor (type, name, cores) or a GPU (type, name, memory, its driver, and the CUDA of torch)."""

    type: str
    name: str
    cores: int | None
    memory_mb: int
    driver: str | None
    cuda: str | None


class Environment(TypedDict):
    """Where and with what something was computed; `time` in UTC, ISO 8601; `slurm_job` is None without SLURM."""

    time: str
    host: str
    python: str
    platform: str
    packages: dict[str, str]
    git: GitState
    device: DeviceFacts
    slurm_job: str | None


def write_provenance(path: Path, content: Mapping[str, Any]) -> None:
    """The record of a training beside its model and history; it is on the disk for good then."""
    with durable_path(path) as temporary:
        temporary.write_text(json.dumps(stamped("training", content), indent=2, sort_keys=True) + "\n")


def environment(device: str = "cpu") -> Environment:
    """Versions, host, device, git state and time of the running process, as plain JSON-able values.

    `device` is a torch device string; the device's name, memory and the driver are given when it is a GPU.
    """
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions(),
        "git": git_state(Path(__file__).parent),
        "device": device_facts(device),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Installed version of each package; packages that are not installed are left out."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_state(folder: Path) -> GitState:
    """Commit and whether the tree differs from it; both None outside a git checkout."""
    commit = _output("git", "-C", str(folder), "rev-parse", "HEAD")
    changes = _output("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit or None, "dirty": bool(changes) if commit else None}


def device_facts(device: str) -> DeviceFacts:
    """Name and memory (MB) of the device, and the GPU driver's version."""
    if not device.startswith("cuda"):
        return {"type": "cpu", "name": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    import torch

    properties = torch.cuda.get_device_properties(device)
    driver = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").splitlines()
    return {
        "type": "cuda",
        "name": properties.name,
        "memory_mb": properties.total_memory // 2**20,
        "driver": driver[0] if driver else None,
        "cuda": torch.version.cuda,
    }


def _output(*command: str) -> str:
    """Standard output of a command, empty when it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
