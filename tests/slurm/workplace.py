"""A copy of the project in which a study runs on a test cluster, and what a test wants to know about it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml
from cluster import Cluster

PROJECT = Path(__file__).parents[2]
CONFIGS = ("config/mnist.yaml", "tests/slurm/study.yaml")
LOST_WITHOUT_NETWORK = ("data/packages", "data/weights")


@dataclass
class Workplace:
    """A folder with the project's files; jobs of other folders on the same cluster are none of its business."""

    folder: Path
    cluster: Cluster

    @classmethod
    def fresh(cls, folder: Path, cluster: Cluster) -> "Workplace":
        """The project as it stands, without what git ignores, but with the downloads that are there."""
        listing = ["git", "-C", str(PROJECT), "ls-files", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(listing, capture_output=True, text=True, check=True).stdout.splitlines():
            if (PROJECT / name).is_symlink() or (PROJECT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, folder / name, follow_symlinks=False)
        for name in LOST_WITHOUT_NETWORK:
            if (PROJECT / name).is_dir():
                shutil.copytree(PROJECT / name, folder / name)
        return cls(folder, cluster)

    def copy(self, folder: Path) -> "Workplace":
        """The same with all its results, in another folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Workplace(folder, self.cluster)

    def edit_profile(self, **changes: dict) -> None:
        """Change entries of set-resources, rule by rule, as a user edits the profile."""
        path = self.folder / "profiles" / "slurm" / "config.yaml"
        profile = yaml.safe_load(path.read_text())
        for rule, resources in changes.items():
            profile["set-resources"][rule] |= resources
        path.write_text(yaml.safe_dump(profile))

    def start(self, *arguments: str, on_cluster: bool = True, configs: tuple[str, ...] = CONFIGS) -> subprocess.Popen:
        """Start snakemake, with the SLURM profile or (outside the cluster, with network) on this machine."""
        command = [sys.executable, "-m", "snakemake"]
        if on_cluster:
            # The profile's first look comes after 20 s, and success brings the next one as late again.
            command += ["--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1"]
        else:
            command += ["--cores", "2"]
        command += ["--configfile", *configs, *arguments]
        environment = self.cluster.environment if on_cluster else dict(os.environ)
        environment |= {"PYTHONPATH": str(self.folder / "tests" / "slurm"), "OMP_NUM_THREADS": "1"}
        environment["PATH"] = f"{environment['PATH']}:{Path(sys.executable).parent}"
        return subprocess.Popen(
            [*(self.cluster.prefix if on_cluster else []), *command],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self, process: subprocess.Popen, seconds: float) -> tuple[int, str]:
        """Exit status and output; after `seconds` the whole process group is killed and the test has failed."""
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill(process)
            output, _ = process.communicate()
            raise AssertionError(f"snakemake was still running after {seconds:.0f} s:\n{output[-6000:]}") from None
        return process.returncode, output

    def kill(self, process: subprocess.Popen) -> None:
        """End snakemake, if it still runs, and every job of this folder."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        for job in self.jobs():
            if job["state"] in ("PENDING", "RUNNING"):
                self.cluster.run("scancel", str(job["id"]))

    def snakemake(self, *arguments: str, seconds: float, **options: object) -> tuple[int, str]:
        """Run snakemake to its end, or kill it after `seconds`."""
        return self.finish(self.start(*arguments, **options), seconds)

    def command(self, name: str, *arguments: str) -> str:
        """What `vaebench NAME` prints in this folder."""
        environment = self.cluster.environment | {"PYTHONPATH": str(self.folder / "workflow" / "scripts")}
        command = [*self.cluster.prefix, sys.executable, "-m", "vaebench", name, *arguments]
        result = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=90, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def jobs(self, comment: str = "") -> list[dict]:
        """This folder's jobs, oldest first, whose comment (rule_NAME_wildcards_...) begins with `comment`."""
        own = [job for job in self.cluster.jobs() if job["folder"] == str(self.folder)]
        return sorted((job for job in own if job["comment"].startswith(comment)), key=lambda job: job["id"])

    def training_jobs(self, run: str) -> list[dict]:
        """The jobs of one training."""
        return self.jobs(f"rule_train_wildcards_{run}_0")

    def run_folder(self, run: str) -> Path:
        """Where the results of one training lie."""
        return self.folder / "results" / "mnist" / "runs" / run / "seed0"

    def epoch(self, run: str) -> int:
        """Epochs that a training has finished so far."""
        path = self.run_folder(run) / "training_state" / "progress.json"
        return json.loads(path.read_text())["epoch"] if path.exists() else 0

    def log(self, run: str) -> str:
        """The log of one training's last attempt."""
        return (self.folder / "results" / "mnist" / "logs" / "train" / run / "seed0.log").read_text()


def hold_gpus(cluster: Cluster, count: int, seconds: int, partition: str = "gpu") -> str:
    """A job that does nothing but hold GPUs; its id."""
    options = ["--parsable", "--partition", partition, f"--gpus=a100:{count}", "--mem=100", "--time=30"]
    return cluster.run("sbatch", *options, "--output=/dev/null", f"--wrap=sleep {seconds}").strip()


def gpu_index(cluster: Cluster, job: int) -> str:
    """Index of the GPU that the controller gave to a job."""
    return re.search(r"IDX:([\d,-]+)", cluster.run("scontrol", "--details", "show", "job", str(job)))[1]


def wait_until(what: str, condition: Callable[[], object], seconds: float) -> object:
    """The condition's first true value; AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(0.3)
    return value
