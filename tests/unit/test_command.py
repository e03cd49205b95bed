"""The command `vaebench` as a shell starts it."""

import os
import subprocess
import sys
from pathlib import Path

from fake_study import DEMO, build_study

SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
COMMAND = (sys.executable, "-c", "from vaebench.command import main; raise SystemExit(main())")


def test_a_reader_that_has_enough_is_no_error(tmp_path):
    """As in `vaebench results results/demo | head -1`."""
    results = build_study(tmp_path, DEMO[:1], shape=(3, 16, 16))["results"]
    read, write = os.pipe()
    os.close(read)
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run(
        [*COMMAND, "results", str(results)], stdout=write, stderr=subprocess.PIPE, text=True, env=environment
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
