"""The facts of this machine: its Python, its PyTorch, its driver and its GPUs."""

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any


@dataclass(frozen=True)
class Gpu:
    """One visible GPU: name, compute capability, memory in MB."""

    name: str
    capability: tuple[int, int]
    memory_mb: int


@dataclass(frozen=True)
class Facts:
    """What is known about a machine; None where it could not be found out."""

    python: tuple[int, int]
    torch: str | None
    cuda: str | None = None  # version torch was built with; None: a CPU build
    kernels: tuple[str, ...] = ()  # architectures torch has code for: sm_80, compute_90, ...
    driver: str | None = None
    gpus: tuple[Gpu, ...] = ()
    given: str | None = None  # CUDA_VISIBLE_DEVICES: what a scheduler handed out
    slurm_job: str | None = None


def gather() -> Facts:
    """The facts of this machine."""
    built = _torch_facts()
    return Facts(
        python=sys.version_info[:2],
        driver=_driver(),
        given=os.environ.get("CUDA_VISIBLE_DEVICES"),
        slurm_job=os.environ.get("SLURM_JOB_ID"),
        **built,
    )


def _torch_facts() -> dict[str, Any]:
    """What torch knows: version, CUDA, kernels and GPUs; imported here, since it takes seconds."""
    try:
        installed = version("torch")
    except PackageNotFoundError:
        return {"torch": None}
    import torch

    if not torch.cuda.is_available():
        return {"torch": installed, "cuda": torch.version.cuda}
    properties = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    gpus = tuple(Gpu(each.name, (each.major, each.minor), each.total_memory // 2**20) for each in properties)
    return {
        "torch": installed,
        "cuda": torch.version.cuda,
        "kernels": tuple(torch.cuda.get_arch_list()),
        "gpus": gpus,
    }


def _driver() -> str | None:
    """Version of the NVIDIA driver; None without one."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return lines[0] if lines else None
