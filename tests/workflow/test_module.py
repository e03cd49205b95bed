"""The workflow used by another one: as a module, from a folder and from an address."""

import functools
import os
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from vaebench.config.yaml_files import read_configfile

from . import forks
from .conftest import ROOT, SMALL_STUDY

SNAKEFILE = """
configfile: "study.yaml"

module vaebench:
    snakefile: "{place}/workflow/Snakefile"
    config: config

use rule * from vaebench as vaebench_*

rule mine:
    default_target: True
    input: rules.vaebench_tables.input
    output: "mine.txt"
    shell: "wc -l {{input}} > {{output}}"
"""
TABLES = ("runs", "comparison", "reconstruction", "generation", "latent", "pairwise")


@pytest.fixture
def elsewhere(tmp_path, small_study):
    """A folder with a study's configuration, the packages that it would download, and no code of ours."""
    folder = tmp_path / "elsewhere"
    (folder / "data").mkdir(parents=True)
    for name in ("packages", "weights"):
        (folder / "data" / name).symlink_to(small_study.root / "data" / name)
    config = read_configfile(ROOT / "config/config.yaml")
    for more in (read_configfile(ROOT / "config/mnist.yaml"), yaml.safe_load(SMALL_STUDY)):
        merge(config, more)
    (folder / "study.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return folder


def merge(config, more):
    """Merge a configuration over another one in place, as Snakemake does."""
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            merge(config[key], value)
        else:
            config[key] = value


@pytest.fixture
def server():
    """The address of a server that has this checkout's files."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=ROOT)) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def snakemake(folder, *flags, **environment):
    return forks.snakemake(folder, "--cores", "2", *flags, XDG_CACHE_HOME=str(folder / "cache"), **environment)


def test_from_an_address_the_same_tables(elsewhere, server, small_study):
    (elsewhere / "Snakefile").write_text(SNAKEFILE.format(place=server))
    done = snakemake(elsewhere, PYTHONPATH=str(ROOT / "workflow/scripts"))  # in place of an installation
    assert done.returncode == 0, done.stdout
    assert (elsewhere / "mine.txt").is_file()
    for table in TABLES:
        path = f"results/mnist/tables/{table}.csv"
        assert (elsewhere / path).read_bytes() == (small_study.root / path).read_bytes(), table
    again = snakemake(elsewhere, "--dry-run", PYTHONPATH=str(ROOT / "workflow/scripts"))
    assert "Nothing to be done" in again.stdout
    lock = elsewhere / ".snakemake/locks/0.input.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text("")
    after_a_kill = snakemake(elsewhere, "--dry-run", PYTHONPATH=str(ROOT / "workflow/scripts"))
    assert "Its jobs may still run on other machines" in after_a_kill.stdout, "a module does not know where they run"
    assert lock.exists()


def test_from_a_folder_nothing_that_was_made_is_made_again(elsewhere, small_study):
    """Fingerprints and parameters do not depend on where the workflow is read from, nor on the names of its rules."""
    (elsewhere / "Snakefile").write_text(SNAKEFILE.format(place=ROOT))
    (elsewhere / "results").symlink_to(small_study.root / "results")
    (elsewhere / "data/mnist").symlink_to(small_study.root / "data/mnist")
    shutil.copytree(small_study.root / ".snakemake", elsewhere / ".snakemake")
    planned = snakemake(elsewhere, "--dry-run", "--nolock", "--rerun-triggers", "mtime", "params", "input")
    assert planned.returncode == 0, planned.stdout
    jobs = planned.stdout.partition("Job stats:")[2].partition("Reasons:")[0].split()
    assert [name for name in jobs if name.startswith("vaebench_")] == [], planned.stdout
    assert "mine" in jobs


NOT_INSTALLED = """
import os, sys
sys.path[:] = [folder for folder in sys.path if not os.path.isdir(os.path.join(folder, "vaebench"))]
sys.meta_path[:] = [finder for finder in sys.meta_path if "vaebench" not in getattr(finder, "__module__", "")]
"""


def test_without_the_library_it_says_what_to_install(elsewhere, server, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NOT_INSTALLED)
    (elsewhere / "Snakefile").write_text(SNAKEFILE.format(place=server))
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--dry-run"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install the same version of vaebench" in done.stdout + done.stderr
