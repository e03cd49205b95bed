"""Look at a machine before work starts on it: each thing that would go wrong later is one line with what to do.

`vaebench check config/config.yaml [more.yaml]` (make check) does so for the whole study and prints its plan;
`check_job` is the first thing every GPU job does. `check` decides, on facts that `gather` collected.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vaebench.base.disk import Disk
from vaebench.base.errors import UserError
from vaebench.config.yaml_files import read_configfile
from vaebench.installation.locks import CUDA12, DRIVERS, lock_for, numbers
from vaebench.installation.prerequisites import PYTHONS
from vaebench.models.run_spec import RunSpec


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


@dataclass(frozen=True)
class Needs:
    """What the work needs: a GPU or not (`device` as in the configuration), memory, disk, and files."""

    device: str = "auto"
    memory_mb: float | None = None
    disks: tuple[Disk, ...] = ()
    missing_weights: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One thing found; an error stops the work, a warning does not."""

    fatal: bool
    message: str

    def __str__(self) -> str:
        return f"{'error' if self.fatal else 'warning'}: {self.message}"


def check(facts: Facts, needs: Needs) -> list[Finding]:
    """Each of the `needs` that the machine `facts` does not meet, the cause before its consequences.

    A missing GPU is an error where the device is cuda or a scheduler gave one to this job, since the job would then
    run for days on a CPU; elsewhere `auto` may use the CPU.
    """
    return [*_software(facts), *_gpu(facts, needs), *_files(needs)]


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


def _software(facts: Facts) -> Iterator[Finding]:
    lowest, beyond = PYTHONS
    if not lowest <= facts.python < beyond:
        yield Finding(
            True,
            f"Python {_dotted(facts.python)} is not supported: use {_dotted(lowest)} to 3.{beyond[1] - 1}, for example "
            "with `make install PYTHON=python3.12`",
        )
    if facts.torch is None:
        yield Finding(True, "torch is not installed: run `make install`, or activate the environment of the study")


def _gpu(facts: Facts, needs: Needs) -> Iterator[Finding]:
    wanted = needs.device.startswith("cuda") or (needs.device == "auto" and bool(facts.given))
    if needs.device == "cpu" or facts.torch is None:
        return
    if not facts.gpus:
        if wanted:
            yield Finding(True, _why_no_gpu(facts))
        elif facts.driver is not None:
            yield Finding(False, f"{_why_no_gpu(facts)}; the CPU will be used")
        return
    for gpu in facts.gpus:
        if not has_kernels(gpu.capability, facts.kernels):
            yield Finding(
                True,
                f"torch {facts.torch} has no kernels for {gpu.name} (sm_{gpu.capability[0]}{gpu.capability[1]}; it has "
                f"{', '.join(facts.kernels)}): ask for a newer GPU (cluster: gpu_model in profiles/slurm/config.yaml)"
                f"{_other_lock(facts, gpu.capability)}",
            )
        elif needs.memory_mb is not None and needs.memory_mb > gpu.memory_mb:
            yield Finding(
                True,
                f"{gpu.name} has {gpu.memory_mb} MB of memory, this run needs about {needs.memory_mb:.0f} MB: lower "
                "training.batch_size, set training.precision to bf16, or ask for a larger GPU",
            )


def _why_no_gpu(facts: Facts) -> str:
    """Of the reasons for which torch sees no GPU, the first that applies."""
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
    """The advice to install the lock for CUDA 12, where that is the one that would do."""
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


def _files(needs: Needs) -> Iterator[Finding]:
    for disk in needs.disks:
        if disk.needed > disk.free:
            yield Finding(
                True,
                f"{disk.free / 1e9:.1f} GB are free for {disk.folder}, the study still needs about "
                f"{disk.needed / 1e9:.1f} GB there: free some space or name a folder on a larger disk (data_dir, "
                "results_dir)",
            )
    for weights in needs.missing_weights:
        yield Finding(
            False,
            f"{weights} is missing: the next run fetches it on the submitting machine; without network there, copy it "
            "from another checkout",
        )


def _training_memory_mb(spec: RunSpec, train_data: Path) -> float:
    from vaebench.base.npz import open_array
    from vaebench.training.memory_estimate import training_memory_mb

    return training_memory_mb(spec, open_array(train_data).shape[1:])


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


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


def needs_of(config: Mapping[str, Any], disks: Iterable[Disk], folder: Path = Path()) -> Needs:
    """What the study needs of the machine it is started on."""
    from vaebench.config.completion import load_schema
    from vaebench.config.sections import networks, shipped_weights
    from vaebench.data.sources import weights_places

    data, defaults = folder / config["data_dir"], shipped_weights(load_schema())
    places = weights_places(networks(config), config["weights"], defaults, data / "downloads/sources.json")
    weights = [data / "weights" / f"{place}.pt" for place in places.values()]
    missing = tuple(str(path) for path in weights if not path.is_file())
    return Needs(config["training"]["device"], None, tuple(disks), missing)


def check_networks(config: Mapping[str, Any]) -> Iterator[Finding]:
    """The plugins that cannot be imported, and networks and metrics of one's own that fail on these images."""
    from vaebench.base.plugin_files import not_importable, plugins_in_use
    from vaebench.config.runs import expand_runs
    from vaebench.config.sections import input_shape
    from vaebench.models.own_networks import mistakes_of, own_networks

    specs = [spec for spec in expand_runs(config).values() if own_networks(spec)]
    shape = input_shape(config)
    mistakes = not_importable() or mistakes_of(specs, shape)
    if plugins_in_use():
        from vaebench.metrics.trial import mistakes_in_measuring
        from vaebench.models.feature_networks import wanted_features

        mistakes = mistakes or mistakes_in_measuring(wanted_features(config["evaluation"]), shape)
    yield from (Finding(True, mistake) for mistake in mistakes)


def check_cluster(profile: Path, config: Mapping[str, Any]) -> Iterator[Finding]:
    """What the SLURM of this machine, if it has one, would refuse of the jobs that the profile describes."""
    from vaebench.cluster.slurm import mistakes_of, read_cluster, requests_of_profile

    files = (profile, profile / "profile.yaml", profile / "config.yaml")
    file = next((path for path in files if path.is_file()), None)
    described = read_configfile(file) if file else {}
    cluster = read_cluster() if described.get("executor") == "slurm" else None
    if isinstance(cluster, str):
        unseen = "partition, account, GPU and time limit were not looked at"
        yield Finding(False, f"SLURM does not answer ({cluster}): {unseen}")
    elif cluster:
        for mistake in mistakes_of(requests_of_profile(described, config["threads"]), cluster):
            yield Finding(True, f"{file}: {mistake}")


def main(arguments: list[str] | None = None) -> int:
    """Print the plan and the findings of a study; 1 when one of them is an error."""
    from vaebench.config.plan import command_line, config_or_exit, describe, disks, make_plan

    parser = command_line("vaebench check", main.__doc__ or "")
    parser.add_argument(
        "--profile", type=Path, default=Path("profiles/slurm"), help="what is asked of SLURM, where there is one"
    )
    given = parser.parse_args(arguments)
    config = config_or_exit(given.config)
    plan = make_plan(config)
    written = disks(config, plan)
    for line in describe(plan, written):
        print(line)
    findings = [
        *check(gather(), needs_of(config, written)),
        *check_networks(config),
        *check_cluster(given.profile, config),
    ]
    for finding in findings:
        print(finding)
    if not findings:
        print("nothing found that stands against it")
    return int(any(finding.fatal for finding in findings))
