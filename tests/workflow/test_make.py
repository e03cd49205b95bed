"""Every target of the Makefile, in its smallest form, in a fresh clone."""

import re
import shutil

import numpy as np
import pytest

from vaebench.base.layout import SPLITS
from vaebench.base.npz import open_array, write_array

from .conftest import ROOT, make

TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
# .ci/run lints; the findings take an hour, and tests/unit/test_known_findings.py repeats a part in small.
ELSEWHERE = ("lint", "findings")
STUDY = {"CONFIG": "config/demo.yaml fewer.yaml"}
TESTS = {"TESTS": "tests/unit/test_values.py --numprocesses 0"}
SMALLEST = {
    "demo": {"CONFIG": "fewer.yaml"},
    "mnist": {"SNAKEMAKE": ".venv/bin/snakemake --dry-run"},  # tests/workflow/test_real_runs.py makes it in full
    "fashion": {"SNAKEMAKE": ".venv/bin/snakemake --dry-run"},
    "readme": {"CONFIG": "fewer.yaml"},
    "paper": STUDY,
    "check": STUDY,
    "status": STUDY,
    "efficiency": {"RESULTS": "results/demo"},
    "test": TESTS,
    "test-fast": {"TESTS": "--version"},
    "test-slurm": {"TESTS": "tests/slurm --collect-only"},
    "test-slurm-accounting": {"TESTS": "tests/slurm/test_accounting.py --collect-only"},
    "bench-data": {"OPTIONS": "--images 20 --filters bilinear --output measured.csv"},
    "bench-quality": {"OPTIONS": "--data data/few --seconds 0.1 --output measured.csv --figure measured.png"},
    "bench-train": {"OPTIONS": "--only VAE-compact --images 64 --rounds 1 --output measured.csv"},
    "bench-eval": {"OPTIONS": "--pairs 2 --rounds 1 --memory-counts 2 --output measured.csv"},
    "check-quality": {"OPTIONS": "--write --jobs 1 --runs vae --config three_seeds.yaml --references written.csv"},
    "check-gpu": {"OPTIONS": "--tiny --only training --cases VAE-compact --output measured"},
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory, demo, packages):
    """A clone in which the demo was made; the archives of the package index are taken from here."""
    folder = demo.copy(tmp_path_factory.mktemp("clone") / "vaebench").root
    (folder / "three_seeds.yaml").write_text("{seeds: [0, 1, 2], training: {epochs: 1}}")
    shutil.rmtree(folder / "data/packages")
    (folder / "data/packages").symlink_to(packages)
    for split in SPLITS:
        few = np.array(open_array(folder / f"data/demo/{split}_data.npz")[:16])
        write_array(folder / f"data/few/{split}_data.npz", few)
    return folder


def run(folder, target):
    result = make(folder, target, **SMALLEST.get(target, {}))
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_help_lists_every_target():
    assert re.findall(r"^  make ([a-z-]+) +\S", run(ROOT, "help"), re.MULTILINE) == TARGETS
    assert set(SMALLEST) <= set(TARGETS)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("target", [target for target in TARGETS if target not in ELSEWHERE])
def test_target_works(target, clone):
    run(clone, target)
