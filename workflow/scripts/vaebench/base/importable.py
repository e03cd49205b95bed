"""Classes by their dotted paths: whether one leads to a class, found out by reading files, and the class itself.

Reading is for the Snakefile: importing a network would load PyTorch first.
"""

import ast
import os
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vaebench.base.errors import UserError
from vaebench.base.own_code import remember


def why_not_importable(path: str) -> str | None:
    """Why `package.module.Class` cannot be imported in a job; None when it can, as far as reading tells."""
    module, _, name = path.rpartition(".")
    try:
        file = source_file(module)
    except UserError as reason:
        return str(reason)
    if file is None:
        return None  # only importing it would tell
    try:
        names = list(_names(ast.parse(file.read_bytes())))
    except SyntaxError as error:
        return f"{file}, line {error.lineno}: {error.msg}"
    if name in names or "*" in names or "__getattr__" in names:
        return None
    close = get_close_matches(name, names, n=1)
    return f"{file} has no {name}" + (f"; did you mean {close[0]}?" if close else "")


def is_installed(package: str) -> bool:
    """Whether a package can be imported; a folder of its name, as wandb makes one, is no package."""
    found = find_spec(package)
    return found is not None and found.origin is not None


def import_class(path: str, what: str) -> Any:
    """What the dotted path `package.module.Class` leads to, which is to be a `what`; `UserError` where that fails."""
    module, _, name = path.rpartition(".")
    remember(module)
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"the {what} {path} cannot be imported ({error}); give package.module.Class with the package on PYTHONPATH"
        ) from error
    remember(getattr(found, "__module__", module))  # where its package takes it from
    return found


def source_file(module: str) -> Path | None:
    """The source of a module, found without importing it; None for a compiled one, or a package without __init__.py.

    A job searches what this process searches, less the folder it runs in, unless that is on PYTHONPATH. Raises
    `UserError` for a module that a job would not find.
    """
    parts = module.split(".")
    spec: ModuleSpec | None = None
    for depth in range(1, len(parts) + 1):
        whole = ".".join(parts[:depth])
        if spec is not None and spec.submodule_search_locations is None:
            raise UserError(f"{spec.name} is a module and holds no {whole}")
        spec = _find(whole, spec)
        if spec is None and depth == 1:
            given = os.environ.get("PYTHONPATH") or "not set"
            raise UserError(f"there is no module {whole}; the folder that holds it must be on PYTHONPATH ({given})")
        if spec is None:
            raise UserError(f"there is no module {whole}")
    if spec is None or not spec.has_location or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def _find(name: str, package: ModuleSpec | None) -> ModuleSpec | None:
    """The module `name`, at top level or in a package; packages on the way are not executed."""
    for finder in sys.meta_path:
        if package is not None:
            folders: list[str] | None = list(package.submodule_search_locations or ())
        else:
            folders = _search_path() if finder is PathFinder else None
        spec = finder.find_spec(name, folders)
        if spec is not None:
            return spec
    return None


def _search_path() -> list[str]:
    named = {os.path.abspath(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder}
    here = os.getcwd()
    return [folder for folder in sys.path if os.path.abspath(folder) != here or here in named]


def _names(node: ast.AST) -> Iterator[str]:
    """The names that a module binds when it is imported, `*` for those of a star import."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield child.name
        elif isinstance(child, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in child.names)
        else:
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                yield child.id
            yield from _names(child)
