"""Plans of Snakemake, without network, from a process that has imported it: the import takes longer than most plans."""

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace


def plan(folder, *arguments, **environment):
    """Run `snakemake` with --dry-run in a folder: `.returncode`, and its output and errors together in `.stdout`."""
    server = _started()
    with tempfile.NamedTemporaryFile("r") as output:
        order = {"folder": str(folder), "output": output.name, "arguments": arguments}
        server.stdin.write(json.dumps(order | {"environment": os.environ | environment}) + "\n")
        server.stdin.flush()
        return SimpleNamespace(returncode=int(server.stdout.readline()), stdout=output.read())


def without_network(command):
    """The command in a network namespace of its own, where the machine lets us make one."""
    alone = ["unshare", "-rn"]
    possible = shutil.which("unshare") and subprocess.run([*alone, "true"], capture_output=True).returncode == 0
    return [*alone, *command] if possible else command


@functools.cache
def _started():
    """The process that plans for these tests; it ends with them, when its standard input is closed."""
    command = without_network([sys.executable, str(Path(__file__))])
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _serve():
    """Answer each line of JSON with an exit status: the command's, in a fork of this process."""
    from snakemake.cli import main

    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child:
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
            continue
        os.environ.clear()
        os.environ.update(order["environment"])
        os.chdir(order["folder"])
        sys.path[:1] = [order["folder"], *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        output = os.open(order["output"], os.O_WRONLY)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["snakemake", *order["arguments"]]
        sys.exit(main())


if __name__ == "__main__":
    _serve()
