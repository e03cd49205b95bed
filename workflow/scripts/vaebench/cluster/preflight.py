"""What a machine lacks for the work it is given: each thing that would go wrong later is one line with what to do.

`check` decides, on the facts of `machine`; `check_job` is the first thing every GPU job does, and `study_check` does so
for a whole study.
"""

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vaebench.base.disk import Disk
from vaebench.base.errors import UserError
from vaebench.cluster.machine import Facts, gather
from vaebench.installation.locks import CUDA12, DRIVERS, lock_for, numbers
from vaebench.installation.prerequisites import PYTHONS
from vaebench.models.run_spec import RunSpec


@dataclass(frozen=True)
class Needs:
    """What the work needs: a GPU or not (`device` as in the configuration), memory, disk, and files."""

    device: str = "auto"
    memory_mb: float | None = None
    disks: tuple[Disk, ...] = ()
    missing_weights: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: an error stops the work, a warning does not."""

    fatal: bool
    message: str

    def __str__(self) -> str:
        return f"{'error' if self.fatal else 'warning'}: {self.message}"


def check(facts: Facts, needs: Needs) -> list[Problem]:
    """Each of the `needs` that the machine `facts` does not meet, the cause before its consequences.

    A missing GPU is an error where the device is cuda or a scheduler gave one to this job, since the job would then
    run for days on a CPU; elsewhere `auto` may use the CPU.
    """
    return [*_software(facts), *_gpu(facts, needs), *_files(needs)]


def check_job(device: str, spec: RunSpec | None = None, train_data: Path | None = None) -> None:
    """First line of a GPU job's log: where it runs. Raises `UserError` when the work could not succeed here.

    `device` is the configuration's; on cpu, and outside a scheduler without a GPU, there is nothing to look at. For a
    training, `spec` and its images (an npz file) also tell whether the GPU's memory will do.
    """
    where = f"SLURM job {os.environ['SLURM_JOB_ID']}" if "SLURM_JOB_ID" in os.environ else "no scheduler"
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "unset")
    print(f"{os.uname().nodename}, {where}, CUDA_VISIBLE_DEVICES {given}, device {device}", file=sys.stderr)
    if device == "cpu":
        return
    facts = gather()
    memory_mb = _training_memory_mb(spec, train_data) if facts.gpus and spec and train_data else None
    findings = check(facts, Needs(device, memory_mb))
    for finding in findings:
        print(finding, file=sys.stderr)
    fatal = [finding.message for finding in findings if finding.fatal]
    if fatal:
        raise UserError("this machine cannot do the job: " + "; ".join(fatal))


def _software(facts: Facts) -> Iterator[Problem]:
    lowest, beyond = PYTHONS
    if not lowest <= facts.python < beyond:
        yield Problem(
            True,
            f"Python {_dotted(facts.python)} is not supported: use {_dotted(lowest)} to 3.{beyond[1] - 1}, for example "
            "with `make install PYTHON=python3.12`",
        )
    if facts.torch is None:
        yield Problem(True, "torch is not installed: run `make install`, or activate the environment of the study")


def _gpu(facts: Facts, needs: Needs) -> Iterator[Problem]:
    wanted = needs.device.startswith("cuda") or (needs.device == "auto" and bool(facts.given))
    if needs.device == "cpu" or facts.torch is None:
        return
    if not facts.gpus:
        if wanted:
            yield Problem(True, _why_no_gpu(facts))
        elif facts.driver is not None:
            yield Problem(False, f"{_why_no_gpu(facts)}; the CPU will be used")
        return
    for gpu in facts.gpus:
        if not has_kernels(gpu.capability, facts.kernels):
            yield Problem(
                True,
                f"torch {facts.torch} has no kernels for {gpu.name} (sm_{gpu.capability[0]}{gpu.capability[1]}; it has "
                f"{', '.join(facts.kernels)}): ask for a newer GPU (cluster: gpu_model in profiles/slurm/config.yaml)"
                f"{_other_lock(facts, gpu.capability)}",
            )
        elif needs.memory_mb is not None and needs.memory_mb > gpu.memory_mb:
            yield Problem(
                True,
                f"{gpu.name} has {gpu.memory_mb} MB of memory, this run needs about {needs.memory_mb:.0f} MB: lower "
                "training.batch_size, set training.precision to bf16, or ask for a larger GPU",
            )


def _why_no_gpu(facts: Facts) -> str:
    """The first reason that applies why torch sees no GPU."""
    if facts.cuda is None:
        return f"torch {facts.torch} is a CPU build: install the CUDA build of the lock with `make install`"
    if facts.driver is None:
        return (
            "no NVIDIA driver on this machine: ask for a GPU node (cluster: gpu and gpu_model in "
            "profiles/slurm/config.yaml), or set training.device to cpu"
        )
    oldest = DRIVERS.get(int(facts.cuda.split(".")[0]))
    if oldest and numbers(facts.driver) < numbers(oldest):
        return (
            f"driver {facts.driver} is too old for torch {facts.torch}, built for CUDA {facts.cuda}: it needs {oldest} "
            f"or newer; ask the admin for a newer driver, use other nodes{_other_lock(facts)}"
        )
    if facts.given == "":
        return "CUDA_VISIBLE_DEVICES is empty, so no GPU may be used: ask the scheduler for one, or unset it"
    return (
        f"the driver {facts.driver} is there, but no GPU (CUDA_VISIBLE_DEVICES {facts.given or 'unset'}): ask the "
        "scheduler for a GPU, and see what `nvidia-smi` says on this node"
    )


def _other_lock(facts: Facts, *capabilities: tuple[int, int]) -> str:
    """The advice to install the lock for CUDA 12, where that one would work."""
    if lock_for(facts.driver, capabilities) != CUDA12 or (facts.cuda or "").startswith("12"):
        return ""
    return f", or install {CUDA12} with `make install CUDA=12`"


def has_kernels(capability: tuple[int, int], kernels: tuple[str, ...]) -> bool:
    """Whether code for `kernels` runs on a GPU of this capability.

    sm_XY is machine code, good for the same X and a Y not above the GPU's; compute_XY is compiled for any later GPU.
    """
    for kernel in kernels:
        match = re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", kernel)
        if match:
            kind, built = match[1], (int(match[2]), int(match[3]))
            if built <= capability and (kind == "compute" or built[0] == capability[0]):
                return True
    return False


def _files(needs: Needs) -> Iterator[Problem]:
    for disk in needs.disks:
        if disk.needed > disk.free:
            yield Problem(
                True,
                f"{disk.free / 1e9:.1f} GB are free for {disk.folder}, the study still needs about "
                f"{disk.needed / 1e9:.1f} GB there: free some space or name a folder on a larger disk (data_dir, "
                "results_dir)",
            )
    for weights in needs.missing_weights:
        yield Problem(
            False,
            f"{weights} is missing: the next run fetches it on the submitting machine; without network there, copy it "
            "from another checkout",
        )


def _training_memory_mb(spec: RunSpec, train_data: Path) -> float:
    from vaebench.base.npz import open_array
    from vaebench.training.memory_estimate import training_memory_mb

    return training_memory_mb(spec, open_array(train_data).shape[1:])


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
