"""Who works in a folder, and what becomes of jobs whose starter is gone: with real processes that are killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from processes import wait_for

import vaebench
from vaebench.base.orphans import ending_with_starter
from vaebench.base.presence import enter, sign

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(vaebench.__file__).parents[1])}
HOLDER = """
import sys, time
from pathlib import Path
from vaebench.base.presence import enter, sign
descriptor, _ = enter(Path(sys.argv[1]))
sign(descriptor, "local")
print("there", flush=True)
time.sleep(60)
"""
JOB = """
import signal, sys, time
from vaebench.base.log import job
with job("job.log"):
    print("at work")
    time.sleep(60)
"""
STARTER = "import subprocess, sys; subprocess.run(sys.argv[1:])"


def holder(path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, path], env=ENVIRONMENT, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"there\n"
    return process


def test_a_process_is_present_until_it_is_killed(tmp_path):
    path = tmp_path / "sub/presence"
    processes = [holder(path), holder(path)]
    for process in processes:
        descriptor, last = enter(path)
        os.close(descriptor)
        assert last is None
        process.kill()
        process.wait()
    descriptor, last = enter(path)
    assert last.startswith(f"local process {processes[1].pid} on {os.uname().nodename}, since 20")
    sign(descriptor, "slurm")
    os.close(descriptor)
    _, last = enter(path)
    assert last.startswith(f"slurm process {os.getpid()} on ")


def test_children_do_not_hold_it_for_their_parent(tmp_path):
    descriptor, _ = enter(tmp_path / "presence")
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    os.close(descriptor)
    descriptor, last = enter(tmp_path / "presence")
    assert last == ""
    os.close(descriptor)
    child.kill()
    child.wait()


def test_where_nothing_can_be_locked_nobody_is_known(tmp_path, monkeypatch):
    assert enter(Path("/proc/vaebench/presence")) == (None, None)

    def refuse(descriptor, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("vaebench.base.presence.fcntl.flock", refuse)
    assert enter(tmp_path / "presence") == (None, None)


@pytest.mark.parametrize("between", [[], ["bash", "-c", '"$@"; exit $?', "bash"]], ids=["direct", "through a shell"])
def test_a_job_ends_when_its_starter_is_killed(tmp_path, between):
    job = [*between, sys.executable, "-c", JOB]
    starter = subprocess.Popen([sys.executable, "-c", STARTER, *job], cwd=tmp_path, env=ENVIRONMENT)
    log = tmp_path / "job.log"
    wait_for(lambda: log.exists() and "at work" in log.read_text())
    (child,) = (each for each in psutil.Process(starter.pid).children(recursive=True) if each.name() != "bash")
    time.sleep(0.8)
    assert child.is_running(), "while its starter lives it works"
    starter.kill()
    starter.wait()
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert log.read_text().splitlines()[-1].startswith("Stopped: asked to end (SIGTERM)")


def test_outside_the_block_nothing_is_watched(monkeypatch):
    monkeypatch.setattr("vaebench.base.orphans.LOOK_AGAIN", 0.01)
    monkeypatch.setattr("vaebench.base.orphans._has_ended", lambda process: True)
    with pytest.raises(InterruptedError):
        within_block()
    former = signal.signal(signal.SIGTERM, lambda number, frame: pytest.fail("it was asked to end"))
    with ending_with_starter():
        pass
    time.sleep(0.05)
    signal.signal(signal.SIGTERM, former)


def within_block():
    def stop(number, frame):
        raise InterruptedError

    former = signal.signal(signal.SIGTERM, stop)
    try:
        with ending_with_starter():
            time.sleep(5)
    finally:
        signal.signal(signal.SIGTERM, former)
