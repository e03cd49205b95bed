"""Snakemake from a process that has imported it: its imports take as long as most of what it is asked for here."""

import atexit
import functools
import gc
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

# What Snakemake imports only while it reads a workflow.
LATER = ("jsonschema", "nbformat", "requests", "smart_open", "snakemake.storage", "yte")


def snakemake(folder, *arguments, network=True, **environment):
    """Run `snakemake` in a folder: `.returncode`, and its output and errors together in `.stdout`."""
    server = _started(network)
    with tempfile.NamedTemporaryFile("r") as output:
        order = {"folder": str(folder), "output": output.name, "arguments": arguments}
        server.stdin.write(json.dumps(order | {"environment": os.environ | environment}) + "\n")
        server.stdin.flush()
        return SimpleNamespace(returncode=int(server.stdout.readline()), stdout=output.read())


def plan(folder, *arguments, **environment):
    """A dry run, without network."""
    return snakemake(folder, "--dry-run", *arguments, network=False, **environment)


def without_network(command):
    """The command in a network namespace of its own, where the machine lets us make one."""
    alone = ["unshare", "-rn"]
    possible = shutil.which("unshare") and subprocess.run([*alone, "true"], capture_output=True).returncode == 0
    return [*alone, *command] if possible else command


@functools.cache
def _started(network):
    """The process that is forked for these tests; it ends with them."""
    command = [sys.executable, str(Path(__file__))]
    command = command if network else without_network(command)
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.communicate)  # closes its standard input
    return server


def _serve():
    """Answer each line of JSON with an exit status: the command's, in a fork of this process."""
    from snakemake.cli import get_argument_parser, main

    get_argument_parser()  # finds the plugins
    for name in LATER:
        importlib.import_module(name)
    gc.freeze()  # what there is by now, no child needs to look through
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
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        output = os.open(order["output"], os.O_WRONLY)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["snakemake", *order["arguments"]]
        sys.exit(main())


if __name__ == "__main__":
    _serve()
