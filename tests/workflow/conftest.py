"""A copy of the project in a folder of its own, with a small study on real digits that was run to its end."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from vaebench.base.npz import open_array

from . import forks

ROOT = Path(__file__).parents[2]
CODE = ("Snakefile", "workflow", "config", "profiles", "environment.yml")

SMALL_STUDY = """
preprocessing: {limit: 64}
seeds: [0]
training: {epochs: 1}
models:
  vae: {config: {latent_dim: 4}, training: {device: cpu}}
  beta_vae: {config: {latent_dim: 4}, sweep: {beta: [2.0]}}
  vqvae: null
  vaegan: null
samples: {count: 32, showcase: {images: 4, traversal_dims: 2, traversal_steps: 3, interpolations: 1}}
evaluation: {distribution: {features: [], limit: 32}}
"""


@dataclass(frozen=True)
class Project:
    """A folder with the project's code, in which Snakemake runs."""

    root: Path

    def snakemake(self, *targets, flags=(), configfiles=("config/mnist.yaml", "study.yaml"), check=True, network=True):
        """Run snakemake; its standard output and error together are in `.stdout`."""
        arguments = ["--cores", "2", "--configfile", *configfiles, *flags, "--", *targets]
        result = forks.snakemake(self.root, *arguments, network=network and "--dry-run" not in flags)
        assert not check or result.returncode == 0, result.stdout
        return result

    def planned(self, *targets, **options):
        """How many jobs of each rule a run would execute, less the target rules, which do nothing."""
        output = self.snakemake(*targets, flags=["--dry-run"], **options).stdout
        table = re.search(r"Job stats:\njob +count\n[- ]+\n(.*?)\n\n", output, re.DOTALL)
        if table is None:
            assert "Nothing to be done" in output, output
            return Counter()
        jobs = Counter({line.split()[0]: int(line.split()[1]) for line in table[1].splitlines()})
        for target in ("total", "study", "all", "data", "models", "metrics", "tables", "report_target"):
            jobs.pop(target, None)
        return jobs

    def ran(self, *targets, **options):
        """Run snakemake: how many jobs of each rule it executed, by their logs."""
        started = time.time()
        self.snakemake(*targets, **options)
        logs = self.root.glob("results/*/logs/**/[!.]*.log")
        logs = [path for path in logs if path.stat().st_mtime >= started and not path.name.endswith(".previous.log")]
        places = [path.relative_to(self.root / "results").parts[2] for path in logs]
        return Counter(place.removesuffix(".log") for place in places)

    def edit(self, path, old, new):
        """Replace text in a file of the project."""
        text = (self.root / path).read_text()
        assert old in text
        (self.root / path).write_text(text.replace(old, new, 1))

    def append(self, path, text):
        """Add text at the end of a file of the project."""
        with open(self.root / path, "a") as file:
            file.write(text)

    def copy(self, root, keep_dates=True):
        """The same project, its results and Snakemake's records elsewhere, as `cp -a` or as `cp -r` does it."""
        shutil.copytree(self.root, root, symlinks=True, copy_function=shutil.copy2 if keep_dates else shutil.copy)
        return Project(root)


def new_project(root):
    """The project's code without any results."""
    root.mkdir(parents=True)
    for name in CODE:
        if (ROOT / name).is_dir():
            # with compiled modules, which need not be compiled again, but for those that are being written
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("*.pyc.*"))
        else:
            shutil.copy2(ROOT / name, root / name)
    return Project(root)


def fresh_clone(root):
    """A copy of every file that git has or would add, with the environment of these tests."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0"):
        if (ROOT / name).is_symlink() or (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name, follow_symlinks=False)
    (root / ".venv").symlink_to(sys.prefix)
    return root


def make(folder, target, *flags, **variables):
    """Run make in a fresh clone; its standard output and error together are in `.stdout`."""
    command = ["make", "--assume-old", ".venv/installed", *flags, target]
    command += [f"{name}={value}" for name, value in variables.items()]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run_shipped_study(name, project, settings, *files):
    """A shipped study as make runs it, in a clone that gets these archives and weights."""
    for file in files:
        target = project.root / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copy2(file, target)
    (project.root / "fewer.yaml").write_text(settings)
    result = make(project.root, name, CONFIG="fewer.yaml")
    assert result.returncode == 0, result.stdout


def mean_over_seeds(project, dataset):
    """Mean over seeds of each metric: a table run x metric."""
    values = pd.read_csv(project.root / f"results/{dataset}/tables/runs.csv")
    return values.groupby(["run", "metric"])["value"].mean().unstack()


def mse_of_the_mean_image(project, dataset):
    """Error of answering every test image with the mean training image, all in [0, 1]."""
    train, test = (open_array(project.root / f"data/{dataset}/{split}_data.npz") / 255 for split in ("train", "test"))
    return float(np.mean((test - train.mean(0)) ** 2))


def errors_before_and_after(project, dataset, run, seed):
    """The MSE on the validation images before and after a training."""
    history = pd.read_csv(project.root / f"results/{dataset}/runs/{run}/seed{seed}/history.csv")
    mse = history[(history["split"] == "eval") & (history["term"] == "mse")].set_index("epoch")["value"]
    return mse[0], mse.iloc[-1]


def made_once(tmp_path_factory, name, make_it):
    """A project that the first of xdist's processes makes, in the folder that all of them see."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with FileLock(folder / f"{name}.lock"):
        if not (folder / name).exists():
            make_it(folder / f"{name}.part")
            (folder / f"{name}.part").rename(folder / name)
    return Project(folder / name)


@pytest.fixture(scope="session")
def small_study(tmp_path_factory, digit_package, perceptual_weights):
    """A finished small study; tests that change it work on a copy."""

    def make_it(folder):
        project = new_project(folder)
        (folder / "study.yaml").write_text(SMALL_STUDY)
        for file in (digit_package, *perceptual_weights.values()):
            target = folder / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(file)
        project.snakemake()

    return made_once(tmp_path_factory, "small_study", make_it)


@pytest.fixture(scope="session")
def clone_with_faces(tmp_path_factory, face_package):
    """A fresh clone in which the demo's images were made and nothing else; tests work on a copy."""

    def make_it(folder):
        project = Project(fresh_clone(folder))
        target = folder / face_package.relative_to(ROOT)
        target.parent.mkdir(parents=True)
        target.symlink_to(face_package)
        project.snakemake("data", configfiles=("config/demo.yaml",))

    return made_once(tmp_path_factory, "clone_with_faces", make_it)


# As many steps an epoch, on half of the images, for fewer epochs, and fewest where they take longest; small priors of
# codes; without the run on LPIPS, which takes a minute, and with one beta beside that of the VAE.
SMALL_DEMO = """
preprocessing: {limit: 3000}
training: {epochs: 4, batch_size: 32}
evaluation: {limit: 100, distribution: {limit: 50}}
samples: {count: 50}
models:
  beta_vae: {sweep: {beta: [4.0]}}
  perceptual_vae: null
  vqvae: {training: {epochs: 2}, sampler: {name: transformer, options: {epochs: 1, layers: 1, width: 32}}}
  fsq: {training: {epochs: 2}, sampler: {name: transformer, options: {epochs: 1, layers: 1, width: 32}}}
  vaegan: {training: {epochs: 2}}
"""


@pytest.fixture(scope="session")
def demo(tmp_path_factory, clone_with_faces, perceptual_weights):
    """A clone in which the demo was made in small, by `make demo CONFIG=fewer.yaml`."""

    def make_it(folder):
        project = clone_with_faces.copy(folder)
        run_shipped_study("demo", project, SMALL_DEMO, perceptual_weights["alexnet"])

    return made_once(tmp_path_factory, "demo", make_it)


@pytest.fixture
def study(small_study, tmp_path):
    """A copy of the finished small study."""
    return small_study.copy(tmp_path / "project")
