"""A job's log: everything it prints, a last line that says why it ended, and the log of the attempt before."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tqdm import tqdm

from vaebench.base.log import last_line, tail

SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
ENVIRONMENT = {"PYTHONPATH": str(SCRIPTS)}
SLEEPER = """
import time
from vaebench.base.log import job
with job("log/a.log"):
    print("at work", flush=True)
    for _ in range(60):
        time.sleep(0.05)
        print("still")
"""


@pytest.mark.parametrize(
    ("body", "code", "expected", "unexpected"),
    [
        ("print('done')", 0, "done", "Error"),
        ("raise UserError('the disk is full')", 1, "Error: the disk is full", "Traceback"),
        ("raise UserError('two  sources:\\n- one\\n- two')", 1, "Error: two  sources: - one - two\n", "\n-"),
        ("raise ValueError('a defect')", 1, "Traceback", "\nError: a"),
        ("import os; os.system('echo from a child >&2')", 0, "from a child", "Error"),
    ],
)
def test_job_log_gets_everything(tmp_path, body, code, expected, unexpected):
    imports = "from vaebench.base.errors import UserError\nfrom vaebench.base.log import job\n"
    script = f"{imports}with job('log/a.txt'):\n    {body}\n"
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True
    )
    log = (tmp_path / "log/a.txt").read_text()
    assert result.returncode == code
    assert expected in log
    assert unexpected not in log


def attempt(folder, text, fails=True):
    program = f"from vaebench.base.log import job\nwith job('log/a.log'):\n    print('{text}')\n"
    program += "    raise SystemExit(1)\n" if fails else ""
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=not fails, env=ENVIRONMENT)


def logs(folder):
    return {path.name: path.read_text() for path in (folder / "log").iterdir() if not path.name.startswith(".")}


@pytest.mark.parametrize("removed", [True, False])
def test_the_log_of_the_attempt_before_is_kept(tmp_path, removed):
    """Snakemake removes a log before it starts another attempt; a script that is run by hand finds it in its place."""
    for text in ("first", "second", "third"):
        if removed:
            (tmp_path / "log/a.log").unlink(missing_ok=True)
        attempt(tmp_path, text, fails=text != "third")
    assert logs(tmp_path) == {"a.log": "third\n", "a.previous.log": "second\n"}
    assert not list(tmp_path.glob("log/.*")), "after a success nothing hidden is left"


def test_a_log_without_a_second_name_is_kept_too(tmp_path):
    """As after a copy by a tool that leaves hidden files behind, or on a file system without hard links."""
    attempt(tmp_path, "first")
    (tmp_path / "log/.a.log").unlink()
    attempt(tmp_path, "second")
    assert logs(tmp_path) == {"a.log": "second\n", "a.previous.log": "first\n"}


def signalled(folder, *numbers):
    """Exit status and log of a job that gets the signals while it works."""
    process = subprocess.Popen([sys.executable, "-c", SLEEPER], cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE)
    log, end = folder / "log/a.log", time.monotonic() + 60
    while not (log.exists() and log.read_text()):
        assert time.monotonic() < end
        time.sleep(0.05)
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.2)
    return process.wait(60), log


@pytest.mark.parametrize(
    ("number", "last"),
    [
        (signal.SIGTERM, "Stopped: asked to end (SIGTERM); the same command goes on where it stopped"),
        (signal.SIGINT, "Stopped: interrupted by Ctrl-C; the same command goes on where it stopped"),
    ],
)
def test_a_job_that_is_asked_to_end_says_so_without_a_traceback(tmp_path, number, last):
    status, log = signalled(tmp_path, number)
    assert status == 128 + number
    assert last_line(log) == last
    assert "Traceback" not in log.read_text()


def test_a_job_without_state_uses_the_time_that_is_left_after_the_warning(tmp_path):
    status, log = signalled(tmp_path, signal.SIGUSR1)
    assert status == 0
    assert "Warning: the time limit is near (SIGUSR1); this step has no state to save and goes on" in log.read_text()
    assert last_line(log) == "still"


def test_each_bar_is_one_line_as_it_stood_last(tmp_path):
    log = tmp_path / "a.log"
    with log.open("w") as file:
        print("before", file=file)
        for name, count in (("first", 3), ("second", 5)):
            with tqdm(total=count, desc=name, file=file, mininterval=0) as bar:
                for _ in range(count):
                    bar.update()
        with tqdm(total=4, desc="gone", file=file, mininterval=0, leave=False) as bar:
            bar.update()
        print("after", file=file)
        bar = tqdm(total=4, desc="killed", file=file, mininterval=0)
        bar.update()
    lines = tail(log)
    assert len(lines) == 5
    assert lines[0] == "before"
    assert lines[1].startswith("first: 100%")
    assert "5/5" in lines[2]
    assert lines[3].endswith("after")
    assert "1/4" in lines[4]
    bar.disable = True  # its file is closed


def test_a_log_s_last_line(tmp_path):
    log = tmp_path / "a.log"
    assert tail(log) == []
    assert last_line(log) == "its log is empty"
    log.write_bytes(b"first\n" + b"x" * 20000 + b"\n\xff last \n\n  \n")
    assert last_line(log).endswith("last")
