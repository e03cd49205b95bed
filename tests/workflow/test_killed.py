"""Snakemake itself is killed in the middle: the same command goes on."""

import subprocess
import sys
import time

import psutil
import pytest

from vaebench.base.npz import open_array

from .conftest import new_project
from .test_sources import picture, study, write_partition

IMAGES = 3000


@pytest.fixture
def project(tmp_path):
    project = new_project(tmp_path / "project")
    folder = project.root / "mine/images"
    folder.mkdir(parents=True)
    for number in range(IMAGES):
        (folder / f"{number}.png").write_bytes(picture(number % 200))
    write_partition(project.root / "mine/split.csv", range(IMAGES))
    study(project, "mine/images")
    project.edit("mine.yaml", "size: [64, 64]", "size: [64, 64], batch_size: 1")
    return project


def journal(project):
    path = project.root / "data/birds/.train_data.npz.journal"
    return path.read_text().count("\n") if path.exists() else 0


def test_the_same_command_goes_on_when_snakemake_was_killed(project):
    """Its jobs end with it and keep what they did, its lock is known to be nobody's, and nothing hidden stays."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "mine.yaml", "--", "data"]
    process = subprocess.Popen(command, cwd=project.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while journal(project) < 10:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.005)
    everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for each in everyone:
        each.suspend()
    other = project.snakemake("data", configfiles=("mine.yaml",), check=False)
    assert "Directory cannot be locked" in other.stdout, "its holder lives"
    process.kill()
    process.wait()
    for each in everyone[1:]:
        each.resume()
    _, alive = psutil.wait_procs(everyone[1:], timeout=10)
    assert not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE], "nobody may collect a dead child here"
    done = journal(project)
    result = project.snakemake("data", configfiles=("mine.yaml",))
    assert "Removed the lock of a Snakemake that was killed (local process " in result.stdout
    assert "Done. Arrays" in result.stdout
    assert 10 <= done < IMAGES // 3
    assert len(open_array(project.root / "data/birds/train_data.npz")) == IMAGES // 3
    assert not [path for folder in ("data", "results") for path in (project.root / folder).rglob(".*")]
