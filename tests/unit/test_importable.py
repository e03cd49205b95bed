"""Networks by dotted path, found without being imported."""

import os
import sys

import pytest

from vaebench.base.importable import why_not_importable

LOUD = "raise RuntimeError('it was imported')\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder on PYTHONPATH, as a process started with it would have it."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def write(folder, **modules):
    for name, text in modules.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_what_is_there_is_found_and_not_executed(folder):
    write(
        folder,
        nets=f"class Encoder: ...\nMade = make()\ntry:\n    from elsewhere import Moved as Other\nexcept ImportError:\n"
        f"    class Late: ...\n{LOUD}",
    )
    for name in ("Encoder", "Made", "Other", "Late"):
        assert why_not_importable(f"nets.{name}") is None, name
    (folder / "pack").mkdir()
    (folder / "pack" / "__init__.py").write_text(LOUD)
    write(folder / "pack", inner="class Encoder: ...\n")
    assert why_not_importable("pack.inner.Encoder") is None
    (folder / "loose").mkdir()
    write(folder / "loose", inner="class Encoder: ...\n")
    assert why_not_importable("loose.inner.Encoder") is None, "a package without __init__.py"
    assert why_not_importable("pythae.models.nn.benchmarks.mnist.Encoder_Conv_VAE_MNIST") is None


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nowhere.Encoder", "there is no module nowhere; the folder that holds it must be on PYTHONPATH ("),
        ("nets.Encodr", "nets.py has no Encodr; did you mean Encoder?"),
        ("nets.inner", "nets.py has no inner"),
        ("nets.deep.Encoder", "nets is a module and holds no nets.deep"),
        ("pack.inner.Encoder", "there is no module pack.inner"),
        ("broken.Encoder", "broken.py, line 2: "),
    ],
)
def test_what_is_not_there_is_named(folder, path, reason):
    write(folder, nets="class Encoder:\n    inner = 1\n", broken="x = 1\nclass Encoder\n")
    (folder / "pack").mkdir(exist_ok=True)
    (folder / "pack" / "__init__.py").touch()
    assert reason in why_not_importable(path)


def test_names_that_are_made_at_run_time_are_believed(folder):
    write(folder, star="from other import *\n", lazy="def __getattr__(name):\n    return object\n")
    assert why_not_importable("star.Encoder") is None
    assert why_not_importable("lazy.Encoder") is None


def test_the_folder_of_the_study_counts_only_when_jobs_see_it_too(tmp_path, monkeypatch):
    """`python -m` and an interactive Python look there, a job's script does not."""
    write(tmp_path, mine="class Encoder: ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(sys, "path", ["", os.getcwd(), *sys.path])
    assert "PYTHONPATH (not set)" in why_not_importable("mine.Encoder")
    monkeypatch.setenv("PYTHONPATH", ".")
    assert why_not_importable("mine.Encoder") is None
