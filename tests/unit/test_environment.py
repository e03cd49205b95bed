import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement

from vaebench.installation.locks import CUDA12, CURRENT, lock_for
from vaebench.installation.prerequisites import COMPILED_FROM, PYTHONS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = {"environment.yml": CURRENT, "environment-cuda12.yml": CUDA12}
PLATFORMS = ("aarch64-apple-darwin", "aarch64-unknown-linux-gnu", "x86_64-unknown-linux-gnu")
SUPPORTED = [f"3.{minor}" for minor in range(PYTHONS[0][1], PYTHONS[1][1])]


def locked(python, lock=CURRENT, **platform):
    """Name and version of each package of a lock for one version of Python, on Linux unless told otherwise."""
    environment = {"python_full_version": f"{python}.0", "python_version": python, "sys_platform": "linux"} | platform
    versions = {}
    for line in (ROOT / lock).read_text().splitlines():
        match = re.match(r"([a-z0-9-]+)==([^ ;\\]+)(?: ; ([^\\]*))?", line)
        if match and (not match[3] or Marker(match[3].strip()).evaluate(environment)):
            versions[match[1]] = match[2]
    return versions


@pytest.mark.parametrize(("file", "lock"), LOCKS.items())
def test_conda_environment_has_the_locked_version_of_every_dependency(file, lock):
    conda = yaml.safe_load((ROOT / file).read_text())["dependencies"]
    python = next(entry.removeprefix("python=") for entry in conda if str(entry).startswith("python="))
    pip = next(entry["pip"] for entry in conda if isinstance(entry, dict))
    assert pip.pop() == "--editable ."
    pinned = {(r := Requirement(entry)).name: (str(r.specifier), r.extras) for entry in pip}
    wanted = {(r := Requirement(entry)).name: r.extras for entry in PROJECT["dependencies"]}
    versions = locked(python, lock)
    assert pinned == {name: (f"=={versions[name]}", extras) for name, extras in wanted.items()}


@pytest.mark.parametrize("lock", LOCKS.values())
@pytest.mark.parametrize("python", SUPPORTED)
def test_lock_satisfies_the_project_on_every_supported_python(python, lock):
    versions = locked(python, lock)
    for entry in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["tracking"]:
        requirement = Requirement(entry)
        assert versions[requirement.name] in requirement.specifier


@pytest.mark.parametrize("lock", LOCKS.values())
def test_lock_has_hashes_and_no_addresses(lock):
    text = (ROOT / lock).read_text()
    entries = [line for line in text.splitlines() if re.match(r"[a-z0-9-]+==", line)]
    assert entries
    assert all(line.rstrip().endswith("\\") for line in entries)
    assert "://" not in text
    assert "index" not in text


def test_the_locks_differ_in_torch_and_what_it_brings_alone():
    one, other = (locked("3.12", lock, platform_machine="x86_64") for lock in LOCKS.values())
    differing = {name for name in one | other if one.get(name) != other.get(name)}
    assert {"torch", "torchvision", "triton"} <= differing
    assert all(re.match("torch$|torchvision$|triton$|nvidia-|cuda-", name) for name in differing)
    assert other["torch"] == "2.7.1"


@pytest.mark.parametrize("lock", LOCKS.values())
@pytest.mark.parametrize("platform", [("darwin", "arm64"), ("linux", "aarch64")])
def test_nothing_of_nvidia_is_asked_for_where_there_is_none(lock, platform):
    found = locked("3.12", lock, sys_platform=platform[0], platform_machine=platform[1])
    assert "torch" in found
    if platform[0] == "darwin":
        assert not [name for name in found if name.startswith(("nvidia-", "cuda-", "triton"))]


def test_makefile_installs_the_locked_uv():
    assert f"UV_VERSION := {locked('3.11')['uv']}" in (ROOT / "Makefile").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lock", "platform", "python"),
    [
        *[(lock, platform, "3.12") for lock in LOCKS.values() for platform in PLATFORMS],
        *[(CURRENT, "x86_64-unknown-linux-gnu", python) for python in SUPPORTED if python != "3.12"],
        *[(CUDA12, "x86_64-unknown-linux-gnu", python) for python in ("3.11", "3.13")],  # torch 2.7.1 has none for 3.14
    ],
)
def test_every_pinned_package_can_be_installed(lock, platform, python, tmp_path):
    """As wheels, but for one package of plain Python that has none, and for the one of which the prerequisites warn.

    torch's are for macOS 14 and newer.
    """
    command = [sys.executable, "-m", "uv", "pip", "install", "--dry-run", "--target", str(tmp_path), "--python-version"]
    command += [python, "--python-platform", platform, "--require-hashes", "--requirement", str(ROOT / lock)]
    command += ["--only-binary", ":all:", "--no-binary", "connection-pool"]
    command += ["--no-binary", "immutables"] if python == "{}.{}".format(*COMPILED_FROM) else []
    environment = os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Would install" in done.stderr


@pytest.mark.parametrize(
    ("driver", "capabilities", "lock"),
    [
        (None, [], CURRENT),
        ("580.159.04", [(9, 0)], CURRENT),
        ("580.65.06", [(7, 5), (8, 0)], CURRENT),
        ("535.104.05", [(6, 0)], CUDA12),  # P100 with a driver of CUDA 12.2
        ("535.104.05", [(7, 5)], CUDA12),  # T4, the same
        ("580.159.04", [(9, 0), (7, 0)], CUDA12),  # one of them a V100
        ("525.60.13", [(9, 0)], CUDA12),
        ("470.82.01", [(7, 0)], None),
        ("580.159.04", [(3, 7)], None),
    ],
)
def test_the_lock_follows_driver_and_card(driver, capabilities, lock):
    assert lock_for(driver, capabilities) == lock


def checkout(folder):
    """As much of a checkout as `make install` looks at."""
    shutil.copytree(ROOT / "workflow/scripts/vaebench", folder / "workflow/scripts/vaebench")
    for name in ("Makefile", CURRENT, CUDA12):
        shutil.copy2(ROOT / name, folder / name)
    return folder


def test_an_environment_elsewhere_is_set_up_where_it_is(tmp_path):
    """venv empties the folder behind a link, and then cannot make it."""
    folder, elsewhere = checkout(tmp_path / "study"), tmp_path / "scratch"
    elsewhere.mkdir()
    (folder / ".venv").symlink_to(elsewhere)
    command = ["make", "--dry-run", "install", f"PYTHON={sys.executable}", "CUDA=13"]
    planned = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert f"{sys.executable} -m venv --clear {elsewhere}\n" in planned


def planned_lock(folder, *arguments, nvidia_smi=None, installed=None):
    """The lock that `make install` would install from, in a checkout of its own."""
    checkout(folder)
    path = os.environ["PATH"]
    if nvidia_smi:
        (folder / "nvidia-smi").write_text(f"#!/bin/sh\necho '{nvidia_smi}'\n")
        (folder / "nvidia-smi").chmod(0o755)
        path = f"{folder}:{path}"
    if installed:
        (folder / ".venv").mkdir()
        (folder / ".venv/installed").write_text(f"{installed}\n")
    command = ["make", "--dry-run", "install", f"PYTHON={sys.executable}", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of `make test`
    done = subprocess.run(command, cwd=folder, env=environment | {"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"--requirement (\S+)", done.stdout)
    return found[0] if found else None


@pytest.mark.parametrize(
    ("arguments", "nvidia_smi", "installed", "lock"),
    [
        ((), "580.159.04, 9.0", None, CURRENT),
        ((), "535.104.05, 6.0", None, CUDA12),
        (("CUDA=13",), "535.104.05, 6.0", None, CURRENT),
        (("CUDA=12",), "580.159.04, 9.0", None, CUDA12),
        ((), "580.159.04, 9.0", CUDA12, None),  # a login node does not undo what the GPU nodes need
        (("CUDA=12",), None, CURRENT, CUDA12),
        (("CUDA=12",), None, CUDA12, None),
    ],
)
def test_make_installs_the_lock_of_the_driver_or_the_one_that_is_named(
    arguments, nvidia_smi, installed, lock, tmp_path
):
    assert planned_lock(tmp_path / "study", *arguments, nvidia_smi=nvidia_smi, installed=installed) == lock


def test_the_newest_release_has_one_version_and_one_date():
    """In pyproject.toml, CITATION.cff and CHANGELOG.md, as CONTRIBUTING.md says."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    version, date = re.search(r"^## \[(\d.*)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE).groups()
    assert (PROJECT["version"], citation["version"], str(citation["date-released"])) == (version, version, date)


def test_a_wheel_holds_every_file_of_the_library(tmp_path):
    """Files that are no Python are taken in by patterns, and some lie behind links."""
    shutil.copytree(ROOT / "workflow/scripts", tmp_path / "workflow/scripts")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    build = "from setuptools.build_meta import build_wheel; build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    scripts = tmp_path / "workflow/scripts"
    packages = (scripts / "vaebench", scripts / "snakemake_logger_plugin_vaebench")
    files = {str(path.relative_to(scripts)) for folder in packages for path in folder.rglob("*") if path.is_file()}
    assert held == {name for name in files if "__pycache__" not in name}
    assert {"vaebench/py.typed", "vaebench/config/config.schema.yaml", "vaebench/report/texts/ranks.rst"} <= held
