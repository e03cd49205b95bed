"""A fingerprint of a script's code that changes when, and only when, what it does may change.

Snakemake judges a script by its modification time and does not look into the modules it imports. The fingerprint covers
the script and, transitively, every module of this package that it imports, each in its canonical form (`canonical`), so
that only a change of meaning makes a result stale.
"""

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from vaebench.base.canonical import canonical
from vaebench.base.plugin_files import without_presentation

PACKAGE = Path(__file__).parents[1]
# What reports on a job, or moves whole files: neither can change what is in a result.
HARMLESS = frozenset(
    f"vaebench.{name}"
    for name in (
        "base.digests",
        "base.disk",
        "base.durable",
        "base.errors",
        "base.failures",
        "base.files",
        "base.formats",
        "base.log",
        "base.plugin_files",
        "base.plugins",
        "cluster.preflight",
        "base.provenance",
        "data.sources",
        "models.provider",
        "models.lookup",
        "models.sampler_names",
        "sampling.choice",
        "training.state_folder",
        "training.tracking",
    )
)
CATALOG = re.compile(r"vaebench\.models\.providers\.\w+\.catalog")  # what of it decides is in `Code.facts`
SHOWN = "vaebench.metrics"  # here the message of an error becomes the note of an empty cell
RELATIVE_NAME = re.compile(r"\w[\w-]*([./][\w-]+)*")


@dataclass(frozen=True)
class Code:
    """Code that a script runs without naming it in an import statement.

    modules: dotted names in this package; files: sources outside it; facts: what decides of a table that does not count
    as a whole, as text.
    """

    modules: frozenset[str] = frozenset()
    files: frozenset[Path] = frozenset()
    facts: str = ""

    def joined(self, other: "Code") -> "Code":
        """Both together."""
        facts = "\n".join(part for part in (self.facts, other.facts) if part)
        return Code(self.modules | other.modules, self.files | other.files, facts)


def code_fingerprint(
    script: Path | str,
    package: Path | str = PACKAGE,
    without: frozenset[str] = frozenset(),
    also: Code = Code(),
    shown: bool = False,
) -> str:
    """SHA-256 (64 hexadecimal digits) over the canonical syntax trees of `script` and what it imports from `package`.

    Files beside a module or in the package's folder (templates, styles) count as part of it when it names them, or
    their folder, in a string. Left out are `HARMLESS` modules and those of `without` (dotted names). What
    is named by `also` counts with what it imports from `package`, its files with what they import from beside them;
    unless `shown`, how they present what they add does not. Raises `SyntaxError` for code that Python cannot parse.
    """
    script, package, also = Path(script), Path(package), replace(also, files=with_neighbours(also.files))
    found = files_of(script, package, without, also)
    digest = hashlib.sha256(also.facts.encode())
    for text in sorted(file.read_text(encoding="utf-8") for file in also.files):
        digest.update(f"{canonical(text if shown else without_presentation(text), keep_messages=True)}\n".encode())
    digest.update(canonical(script.read_text()).encode())
    for name, path in sorted(found.items()):
        text = path.read_text()
        content = canonical(text, name.startswith(SHOWN)) if path.suffix == ".py" else text
        digest.update(f"\n{name}\n{content}".encode())
    return digest.hexdigest()


def with_neighbours(files: Iterable[Path]) -> frozenset[Path]:
    """The files and what they import, transitively, from their own folder or from the package that they belong to."""
    found: set[Path] = set()
    left = [file.absolute() for file in files]
    while left:
        file = left.pop()
        if file not in found:
            found.add(file)
            left += _neighbours(file)
    return frozenset(found)


def _neighbours(file: Path) -> Iterator[Path]:
    """What one file imports from its own folder and package; of an installed module only what is of its package."""
    root = file.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    module = file.relative_to(root).with_suffix("").parts
    installed = bool({"site-packages", "dist-packages"} & set(root.parts))
    for name in imported_modules(file.read_text(encoding="utf-8"), ".".join(module)):
        steps = name.split(".")
        if not steps[0] or (installed and steps[0] != module[0]):
            continue
        for folder in {root, file.parent}:
            stem = folder.joinpath(*steps)
            yield from filter(Path.is_file, (stem / "__init__.py", stem.with_name(f"{stem.name}.py")))


@cache
def imported_modules(source: str, module: str = "") -> tuple[str, ...]:
    """The dotted names a source imports, at any depth; `module` is its own name, which relative imports start from."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parent = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parent, *([node.module] if node.module else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(names)


def files_of(
    script: Path, package: Path = PACKAGE, without: frozenset[str] = frozenset(), also: Code = Code()
) -> dict[str, Path]:
    """The files of the package that decide what `script` does, by dotted name of the module or by path."""
    found: dict[str, Path] = {}
    for file in (script, *also.files):
        _collect(file, package, HARMLESS | without, found)
    for module in also.modules:
        _add(module, package, HARMLESS | without, found)
    return found


def _collect(path: Path, package: Path, without: frozenset[str], found: dict[str, Path], module: str = "") -> None:
    """Add to `found` each file of the package that `path` depends on."""
    source = path.read_text()
    for name in imported_modules(source, module):
        _add(name, package, without, found)
    for file in _data_files(source, (path.parent, package)) if module else ():
        found[file.relative_to(package).as_posix()] = file


def _add(name: str, package: Path, without: frozenset[str], found: dict[str, Path]) -> None:
    """Add to `found` the files of an imported `name`, and each file of the package that they depend on."""
    for dependency, file in _files_of(name, package):
        if dependency not in found and dependency not in without and not CATALOG.fullmatch(dependency):
            found[dependency] = file
            _collect(file, package, without, found, dependency)


@cache
def _files_of(name: str, package: Path) -> tuple[tuple[str, Path], ...]:
    """The files that importing the dotted `name` runs: the package's `__init__` files on the way, and the module."""
    parts = name.split(".")
    if parts[0] != package.name:
        return ()
    found = []
    for depth in range(1, len(parts) + 1):
        stem = package.joinpath(*parts[1:depth])
        for file in (stem / "__init__.py", stem.with_suffix(".py") if depth > 1 else None):
            if file is not None and file.is_file():
                found.append((".".join(parts[:depth]), file))
    return tuple(found)


@cache
def _data_files(source: str, folders: tuple[Path, ...]) -> tuple[Path, ...]:
    """Files in the folders that a module names in strings, or whose folder it names: templates, style sheets."""
    found: list[Path] = []
    for candidate in (folder / name for name in _names_in_strings(source) for folder in folders):
        if candidate.is_file() and candidate.suffix != ".py":
            found.append(candidate)
        elif candidate.is_dir() and not list(candidate.glob("*.py")):
            found += sorted(file for file in candidate.rglob("*") if file.is_file())
    return tuple(found)


@cache
def _names_in_strings(source: str) -> tuple[str, ...]:
    """The string constants that could be the name of a file or folder beside the module."""
    constants = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return tuple(text for text in constants if isinstance(text, str) and RELATIVE_NAME.fullmatch(text))
