"""What stops `make install` before it installs anything: each obstacle is one line, and nothing is left behind."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from vaebench.installation.prerequisites import broken_interpreter, obstacles

ROOT = Path(__file__).parents[2]
MEMORY = Path("/dev/shm")  # a file system of its own on most machines


def project(folder):
    """What `make install` reads, in a folder of its own."""
    shutil.copytree(ROOT / "workflow/scripts/vaebench", folder / "workflow/scripts/vaebench")
    for name in ("Makefile", "requirements.lock", "requirements-cuda12.lock"):
        shutil.copy2(ROOT / name, folder / name)
    return folder


def make_install(folder, environment=os.environ, *arguments):
    """The exit status and the lines of `make install` in a folder, as from a shell also where `make test` runs this."""
    of_make = ("MAKE", "MFLAGS")  # and what was named on its command line: make test PYTHON=python3.12
    environment = {name: value for name, value in environment.items() if not name.startswith(of_make)}
    environment.pop("PYTHON", None)
    command = ["make", "install", *arguments]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    said = [line for line in (result.stdout + result.stderr).splitlines() if not line.startswith("make: ")]
    return result.returncode, said


def path_with(fault, folder):
    """An environment whose python3 runs the code `fault` before anything else."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"import shutil, sys, sysconfig, types\n{fault}\n")
    (folder / "python3").write_text(f'#!/bin/sh\nPYTHONPATH="{folder}:$PYTHONPATH" exec "{sys.executable}" "$@"\n')
    (folder / "python3").chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "UV_CACHE_DIR": str(folder)}


def free(size, below="/"):
    """Code that has `size` bytes free at the folders whose path begins with `below`, and plenty elsewhere."""
    return (
        "shutil.disk_usage = lambda folder: types.SimpleNamespace("
        f"free={size} if str(folder.resolve()).startswith('{below}') else 1e12)"
    )


@pytest.mark.parametrize(
    ("fault", "name", "words"),
    [
        ("sys.modules['ensurepip'] = None", "study", rf"apt install python3\.{sys.version_info[1]}-venv"),
        ("sys.modules['venv'] = None", "study", "venv or ensurepip is missing"),
        ("sys.version_info = (3, 15, 0)", "study", r"Python 3\.15 is not supported"),
        (
            "sys.version_info = (3, 14, 0); sysconfig.get_config_var = lambda name: 'no-compiler'",
            "study",
            r"apt install gcc libc6-dev python3\.14-dev",
        ),
        (free(7.9e9), "study", r"7\.9 GB are free at .*, the installation takes up to 8 GB"),
        ("", "my study", "the path .*/my study/.venv/bin/python has ' ' in it"),
        ("", "o'brien", """the path .*/o'brien/.venv/bin/python has "'" in it"""),
    ],
)
def test_an_obstacle_is_one_line_before_anything_is_installed(fault, name, words, tmp_path):
    folder = project(tmp_path / name)
    before = sorted(folder.iterdir())
    environment = path_with(f"{free(1e12)}\n{fault}", tmp_path / "bin")
    status, said = make_install(folder, environment)
    assert status == 2
    assert len(said) == 1, said
    assert re.search(words, said[0])
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(("python", "words"), [("", "none found on PATH"), ("python1", "python1 is none")])
def test_no_python_is_one_line(python, words, tmp_path):
    """Also one that cannot read what a newer one can, such as Python 2."""
    (tmp_path / "python1").write_text("#!/bin/sh\necho 'SyntaxError: invalid syntax' >&2\nexit 1\n")
    (tmp_path / "python1").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    status, said = make_install(project(tmp_path / "study"), environment, f"PYTHON={python}")
    assert status == 2
    assert said == [f"vaebench needs Python 3.11 or newer: {words}"]


@pytest.mark.skipif(not os.access(MEMORY, os.W_OK), reason="needs a second file system")
def test_uvs_cache_on_a_small_disk_is_one_line(tmp_path):
    if MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system")
    environment = path_with(free(1e9, below=MEMORY), tmp_path / "bin") | {"UV_CACHE_DIR": f"{MEMORY}/{uuid4()}/cache"}
    _, said = make_install(project(tmp_path / "study"), environment)
    assert len(said) == 1, said
    assert re.search(r"1\.0 GB are free at /dev/shm, .* set UV_CACHE_DIR to a folder on a larger disk", said[0])


def test_what_is_installed_already_needs_no_space(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1.5e9}))
    (tmp_path / ".venv").mkdir()
    with open(tmp_path / ".venv/torch.so", "wb") as file:
        file.truncate(6_400_000_000)
    assert len(list(obstacles(tmp_path))) == 1
    with open(tmp_path / ".venv/torch.so", "wb") as file:
        file.truncate(6_600_000_000)
    assert list(obstacles(tmp_path)) == []


def test_paths_of_letters_in_any_script_will_do():
    assert broken_interpreter("/home/zoë/データ/v1.2-b_c/.venv/bin/python") is None


def test_an_environment_at_an_unquotable_path_starts_no_job(tmp_path):
    (tmp_path / "my environment").symlink_to(sys.prefix)
    command = [
        tmp_path / "my environment/bin/python",
        "-m",
        "snakemake",
        "--dry-run",
        "--snakefile",
        ROOT / "Snakefile",
    ]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    assert "my environment/bin/python has ' ' in it" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
