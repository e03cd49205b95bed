"""Real runs of Snakemake in which jobs fail in every way, with the project's handler and the adapters' log in place."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from .conftest import ROOT

SCRIPTS = ROOT / "workflow/scripts"
# Small stand-ins for the rules; what a failing job does is what its name says.
SAVED = "the state is saved, and the training goes on from there"
SNAKEFILE = """
import sys
from pathlib import Path
sys.path.insert(0, {scripts!r})
from snakemake_logger_plugin_vaebench import show_progress
terminal = show_progress(workflow, Path("benchmarks"))

onerror:
    print("stopped" if terminal.stopped else "failed: " + " | ".join(terminal.failures(without=())))

rule all:
    input: expand("out/{{way}}", way=config["ways"].split(","))
    message: "Everything is there"

rule work:
    output: "out/{{way}}"
    log: "logs/{{way}}.log"
    message: "Working: {{wildcards.way}}"
    script: "work.py"
"""
WORK = """
import os, resource, signal, sys, time
from pathlib import Path
from vaebench.base.errors import UserError
from vaebench.base.interruption import Interruption
from vaebench.base.log import job

with job(snakemake.log[0]):
    way, out, first = snakemake.wildcards.way, Path(snakemake.output[0]), not Path("tried").exists()
    print("at work,", "first" if first else "again")
    Path("tried").touch()
    if way == "mistake":
        raise UserError("mend this")
    if way == "defect":
        raise KeyError("mu")
    if way == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if way == "disk":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        out.write_text("x" * 10**6)
    if way == "log":
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        out.write_text("x" * 10**6)
    if way == "memory":
        resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9))
        bytearray(10**10)
    if way == "saved" and first:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGUSR1)
            while not interruption.asked:
                time.sleep(0.01)
            raise interruption.end({saved!r})
    if way == "long":
        with Interruption() as interruption:
            for _ in range(1200):
                time.sleep(0.05)
                if interruption.asked:
                    raise interruption.end("the state is saved")
    if way == "stubborn":
        time.sleep(60)
    if way == "silent":
        os._exit(3)
    out.touch()
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(scripts=str(SCRIPTS)))
    (tmp_path / "work.py").write_text(WORK.replace("{saved!r}", repr(SAVED)))
    return tmp_path


def start(project, *ways, flags=(), before=()):
    """Snakemake at work on jobs that end in these ways, in a process group of its own, as a terminal has it."""
    command = [sys.executable, "-m", "snakemake", "--cores", "4", "--keep-going", "--show-failed-logs", *flags]
    command = [*before, *command, "--config", f"ways={','.join(ways)}"]
    # Python finds the library by PYTHONPATH, as it does beside the real scripts, where it lies in their folder.
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    return subprocess.Popen(
        command,
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(project, *ways, flags=(), before=()):
    """Exit status and output of a run; `before` comes first in the command."""
    process = start(project, *ways, flags=flags, before=before)
    try:
        output, _ = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, output


def test_each_failure_is_told_by_its_job_s_last_line(project):
    expected = {
        "mistake": "Error: mend this",
        "defect": "Error: KeyError: 'mu' (not expected: please report it with its log)",
        "killed": "Error: killed",
        "disk": "Error: no space left on the disk (free: ",
        "log": "Error: no space left on the disk (free: ",
        "memory": "Error: out of memory (",
        "silent": "Error: ended with status 3 without saying why",
    }
    status, output = run(project, *expected, "fine")
    assert status == 1
    blocks = re.split(r"^\w{3} \d\d:\d\d:\d\d  ", output, flags=re.MULTILINE)
    failed = {block.split("Working: ")[1].split(",")[0]: block for block in blocks if block.startswith("failed ")}
    assert failed.keys() == expected.keys()
    for way, words in expected.items():
        lines = failed[way].rstrip().splitlines()
        reasons = [line for line in lines if line.startswith("Error: ")]
        assert reasons[0].startswith(words)
        assert lines[lines.index(reasons[0]) :] == reasons or way == list(failed)[-1]
    assert "message: None" not in output
    assert "Select jobs" not in output
    assert "1 of 8    Working: fine: done in" in output
    assert "failed: Working: " in output
    (log,) = (project / ".snakemake/log").glob("*.log")
    assert "message: None" not in log.read_text()
    assert "Select jobs to execute" in log.read_text(), "the rest is in the log"


def test_a_saved_job_goes_on_by_itself_and_its_first_log_is_kept(project):
    status, output = run(project, "saved", flags=["--retries", "1"])
    assert status == 0, output
    told = [line[14:] for line in output.splitlines() if "Working: saved" in line]
    assert told[:4] == [
        "started   Working: saved",
        f"stopped   Working: saved: the time limit is near (SIGUSR1); {SAVED}",
        "again     Working: saved: goes on by itself, attempt 2",
        "started   Working: saved",
    ]
    assert told[4].startswith("1 of 1    Working: saved: done in ")
    assert "at work, again" in (project / "logs/saved.log").read_text()
    before = (project / "logs/saved.previous.log").read_text().splitlines()
    assert before[0] == "at work, first"
    assert before[-1].startswith("Stopped: the time limit is near (SIGUSR1)")


def test_a_killed_job_s_log_is_kept_with_the_reason_when_it_is_tried_again(project):
    status, _ = run(project, "killed", flags=["--retries", "1"])
    assert status == 1
    for name in ("killed.log", "killed.previous.log"):
        assert (project / "logs" / name).read_text().splitlines()[-1].startswith("Error: killed, ")


def interrupt(project, ways, number, times=1):
    """Send a signal to the whole process group once all jobs are at work; exit status, output, and how long it took."""
    process = start(project, *ways)
    try:
        end = time.monotonic() + 60
        while not all((project / f"logs/{way}.log").exists() for way in ways):
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(1)
        began = time.monotonic()
        for _ in range(times):
            os.killpg(process.pid, number)
            time.sleep(0.2)
        output, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, output, time.monotonic() - began


def test_ctrl_c_ends_at_once_and_is_no_failure(project):
    status, output, seconds = interrupt(project, ["long", "stubborn"], signal.SIGINT)
    assert status == 1
    assert seconds < 10
    assert "Ctrl-C    ending the jobs" in output
    assert "Working: long: interrupted by Ctrl-C; the state is saved" in output
    assert re.findall(r"^.{14}stopped   Working: (\w+)", output, re.MULTILINE) in (
        ["long", "stubborn"],
        ["stubborn", "long"],
    )
    assert re.search("^stopped$", output, re.MULTILINE), "what onerror prints"
    assert "failed" not in output
    assert "did not complete" not in output
    assert "Error" not in output


def test_a_disk_that_is_full_for_snakemake_s_own_files_is_one_line(project):
    """A limit on the size of files, which children inherit, stands for the full disk."""
    limited = ["sh", "-c", 'ulimit -f 4 && exec "$@"', "sh"]
    status, output = run(project, *(f"job{number}" for number in range(40)), before=limited)
    assert status == 1
    lines = output.splitlines()
    assert any(line.startswith("Error: no space left on the disk (free: ") for line in lines)
    assert "Logging error" not in output
    assert "Traceback" not in output


def test_verbose_brings_back_all_that_snakemake_says(project):
    status, output = run(project, "fine", flags=["--verbose"])
    assert status == 0
    assert "Select jobs to execute" in output


@pytest.mark.parametrize("quiet", ["rules", "progress", "all"])
def test_a_failure_is_counted_and_told_however_quiet_it_shall_be(project, quiet):
    status, output = run(project, "fine", "killed", flags=["--quiet", quiet])
    assert status == 1
    assert ("started" in output) == (quiet == "progress")
    assert ("1 of 2" in output) == (quiet == "rules")
    assert ("\nError: killed" in output) == (quiet != "all")
    assert "failed: Working: killed: Error: killed" in output, "the last word is the hook's"


def test_the_plan_is_snakemake_s_own(project):
    status, output = run(project, "fine", flags=["-n"])
    assert status == 0
    assert "Job stats:" in output
    assert "This was a dry-run" in output


def test_as_an_installed_plugin(project):
    status, output = run(project, "fine", "killed", flags=["--logger", "vaebench"])
    assert status == 1
    assert "1 of 2    Working: fine: done in" in output
    assert "Error: killed" in output
    assert "Select jobs" not in output
    assert "failed: Working: killed: Error: killed" in output
