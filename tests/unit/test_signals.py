import shlex
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
CHILD = """
import signal, sys, time
caught = []
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, lambda number, frame: caught.append(number))
print("child is ready", flush=True)
while not caught:
    time.sleep(0.01)
print(f"child got {caught[0]}", flush=True)
"""
PARENT = """
import signal, subprocess, sys
sys.path.insert(0, {scripts!r})
from vaebench.base.signals import relay_warnings
relay_warnings()
# As Snakemake does, later and for itself:
signal.signal(signal.SIGTERM, lambda number, frame: print("parent notes it", flush=True))
child = subprocess.Popen({command!r}, start_new_session=True)
child.wait()
print("parent goes on", flush=True)
"""


DIRECT = [sys.executable, "-c", CHILD]
# As bash before 5.1 runs Snakemake's command: it does not become its last program but waits for it.
UNDER_A_SHELL = ["bash", "-c", f"set -euo pipefail; {shlex.join(DIRECT)}; exit"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("command", [DIRECT, UNDER_A_SHELL], ids=["direct", "under_a_shell"])
@pytest.mark.timeout(60)
def test_a_warning_reaches_the_child_and_leaves_the_parent_s_own_handler(number, command):
    source = textwrap.dedent(PARENT).format(scripts=str(SCRIPTS), command=command)
    parent = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "child is ready\n"
    parent.send_signal(number)
    rest, _ = parent.communicate(timeout=30)
    assert f"child got {int(number)}" in rest
    assert "parent goes on" in rest
    assert ("parent notes it" in rest) == (number == signal.SIGTERM)
    assert parent.returncode == 0


def test_a_child_that_cannot_take_the_warning_yet_gets_it_when_it_can():
    """A process that does not handle SIGUSR1 dies of it: a job whose script is still being loaded."""
    loading = "import time; print('child is ready', flush=True); time.sleep(2)" + CHILD.replace(
        "child is", "child is now"
    )
    source = textwrap.dedent(PARENT).format(scripts=str(SCRIPTS), command=[sys.executable, "-c", loading])
    parent = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "child is ready\n"
    parent.send_signal(signal.SIGUSR1)
    rest, _ = parent.communicate(timeout=30)
    assert rest.splitlines() == ["child is now ready", f"child got {int(signal.SIGUSR1)}", "parent goes on"]
