"""Compare variational autoencoders under one protocol: from an image archive to tables, figures and a report.

`vaebench.open_study("results/demo")` opens a finished study in a notebook; the command `vaebench` looks at one from a
shell. The packages, each building on those before it, are described in docs/architecture.md.
"""

import importlib


def __getattr__(name: str) -> object:
    """`open_study`, imported when it is asked for: importing a module of this package must not import pandas."""
    if name == "open_study":
        return importlib.import_module("vaebench.results.opened").open_study
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
