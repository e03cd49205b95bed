"""The command `vaebench`: questions about a study, asked from a shell; snakemake runs the study."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable

COMMANDS = {
    "check": ("vaebench.cluster.study_check", "look at this machine and a study's plan before starting it"),
    "status": ("vaebench.cluster.status", "where every training of a study stands"),
    "efficiency": ("vaebench.cluster.efficiency", "what the jobs of a study asked for and used"),
    "results": ("vaebench.results.opened", "the comparison of a finished study"),
}


def main() -> int:
    """Run one of `COMMANDS` with the arguments behind it, and return its exit status."""
    parser = argparse.ArgumentParser(prog="vaebench", description="Look at a study of autoencoders.")
    named = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, (_, purpose) in COMMANDS.items():
        named.add_parser(name, help=purpose, add_help=False)  # the command's own parser answers --help
    command = parser.parse_known_args()[0].command
    run: Callable[[list[str]], int] = importlib.import_module(COMMANDS[command][0]).main
    try:
        status = run(sys.argv[sys.argv.index(command) + 1 :])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has enough: `vaebench results ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would report it once more at its end
        return 0
    return status
