import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
LOCK = (ROOT / "requirements.lock").read_text()


def locked(python):
    """Name and version of each package of the lock for one version of Python on Linux."""
    environment = {"python_full_version": f"{python}.0", "python_version": python, "sys_platform": "linux"}
    versions = {}
    for line in LOCK.splitlines():
        match = re.match(r"([a-z0-9-]+)==([^ ;\\]+)(?: ; ([^\\]*))?", line)
        if match and (not match[3] or Marker(match[3].strip()).evaluate(environment)):
            versions[match[1]] = match[2]
    return versions


def test_conda_environment_has_the_locked_version_of_every_dependency():
    python = next(entry.removeprefix("python=") for entry in CONDA if str(entry).startswith("python="))
    pip = next(entry["pip"] for entry in CONDA if isinstance(entry, dict))
    pinned = {(r := Requirement(entry)).name: (str(r.specifier), r.extras) for entry in pip}
    wanted = {(r := Requirement(entry)).name: r.extras for entry in PROJECT["dependencies"]}
    versions = locked(python)
    assert pinned == {name: (f"=={versions[name]}", extras) for name, extras in wanted.items()}


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_lock_satisfies_the_project_on_every_supported_python(python):
    versions = locked(python)
    for entry in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["tracking"]:
        requirement = Requirement(entry)
        assert versions[requirement.name] in requirement.specifier


def test_lock_has_hashes_and_no_addresses():
    entries = [line for line in LOCK.splitlines() if re.match(r"[a-z0-9-]+==", line)]
    assert entries
    assert all(line.rstrip().endswith("\\") for line in entries)
    assert "://" not in LOCK
    assert "index" not in LOCK


def test_makefile_installs_the_locked_uv():
    assert f"UV_VERSION := {locked('3.11')['uv']}" in (ROOT / "Makefile").read_text()
