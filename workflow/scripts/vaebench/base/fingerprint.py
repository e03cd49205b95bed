"""A fingerprint of a script's code that changes when what it does may change, and not with comments, names or layout.

Snakemake judges a script by its modification time and does not look into the modules it imports. The fingerprint covers
the script and, transitively, every module of this package that it imports, each in its canonical form (`canonical`),
which leaves out comments, docstrings, names of local variables and messages of errors.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from vaebench.base.plugin_files import without_presentation
from vaebench.base.source_facts import SourceFacts, facts_of, imported_modules

PACKAGE = Path(__file__).parents[1]
# What cannot change what is in a result, or is counted by other means: it reports on a job, checks before one, or moves
# whole files; or it chooses by name the modules that `Code` then names (`provider`, `lookup`, `choice`, `plugins`).
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
        "base.importable",
        "base.log",
        "base.plugin_files",
        "base.plugins",
        "base.provenance",
        "base.sealed",
        "cluster.preflight",
        "data.sources",
        "models.lookup",
        "models.provider",
        "models.sampler_names",
        "models.sampler_options",
        "sampling.choice",
        "training.state_folder",
        "training.tracking",
        "tuning.journal",
    )
)
CATALOG = re.compile(r"vaebench\.models\.providers\.\w+\.catalog")  # what of it decides is in `Code.facts`
CALLED_BY_STAGE = re.compile(r"vaebench\.models\.(interface|posterior|inference|providers\..+)")  # see `Code.uncalled`
MESSAGES_COUNT = "vaebench.metrics"  # here the message of an error becomes the note of an empty cell


@dataclass(frozen=True)
class Sources:
    """The folder with the package's modules, and one in which the facts of each text are kept (`facts_of`), if any."""

    package: Path = PACKAGE
    kept: Path | None = None


@dataclass(frozen=True)
class Code:
    """Code that a script runs without importing it by a statement.

    modules: dotted names in this package; files: sources outside it; facts: what decides of a table that does not count
    as a whole, as text. uncalled: names of functions in the modules `CALLED_BY_STAGE` that nothing calls in this stage
    of a run, so that they do not count; all count where there are `files`, which may call what they like.
    """

    modules: frozenset[str] = frozenset()
    files: frozenset[Path] = frozenset()
    facts: str = ""
    uncalled: frozenset[str] = frozenset()

    def joined(self, other: "Code") -> "Code":
        """The code of both."""
        facts = "\n".join(part for part in (self.facts, other.facts) if part)
        return Code(self.modules | other.modules, self.files | other.files, facts, self.uncalled | other.uncalled)

    def source_facts(self, file: Path, module: str, kept: Path | None) -> SourceFacts:
        """What counts of the file of a module of the package."""
        left_out = self.uncalled if CALLED_BY_STAGE.fullmatch(module) and not self.files else frozenset()
        return facts_of(file.read_text(), module, kept, module.startswith(MESSAGES_COUNT), left_out)


def code_fingerprint(
    script: Path | str,
    sources: Sources = Sources(),
    without: frozenset[str] = frozenset(),
    also: Code = Code(),
    shown: bool = False,
) -> str:
    """SHA-256 (64 hexadecimal digits) over the canonical syntax trees of `script` and what it imports from the package.

    Files beside a module or in the package's folder (templates, styles) count as part of it when it names them, or
    their folder, in a string. Left out are `HARMLESS` modules and those of `without` (dotted names). What
    is named by `also` counts with what it imports from the package, its files with what they import from beside them;
    unless `shown`, how they present what they add does not. Raises `SyntaxError` for code that Python cannot parse.
    """
    script, kept, also = Path(script), sources.kept, replace(also, files=with_neighbours(also.files))
    digest = hashlib.sha256(also.facts.encode())
    for text in sorted(file.read_text(encoding="utf-8") for file in also.files):
        what_runs = text if shown else without_presentation(text)
        digest.update(f"{facts_of(what_runs, '', kept, keep_messages=True).meaning}\n".encode())
    digest.update(facts_of(script.read_text(), "", kept, keep_messages=False).meaning.encode())
    for name, path in sorted(files_of(script, sources, without, also).items()):
        text = also.source_facts(path, name, kept).meaning if path.suffix == ".py" else path.read_text()
        digest.update(f"\n{name}\n{text}".encode())
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


def files_of(
    script: Path, sources: Sources = Sources(), without: frozenset[str] = frozenset(), also: Code = Code()
) -> dict[str, Path]:
    """The files of the package that decide what `script` does, by dotted name of the module or by path."""
    search = _Search(sources, HARMLESS | without, also)
    for file in (script, *also.files):
        search.follow(file)
    for module in also.modules:
        search.add(module)
    return search.found


@dataclass
class _Search:
    """The search for what a script depends on: `found` are files of the package, by the module's name or by path."""

    sources: Sources
    without: frozenset[str]
    also: Code
    found: dict[str, Path] = field(default_factory=dict)

    def follow(self, path: Path, module: str = "") -> None:
        """Add each file of the package that `path` depends on."""
        facts = self.also.source_facts(path, module, self.sources.kept)
        for name in facts.imports:
            self.add(name)
        package = self.sources.package
        for file in _data_files(facts.names, (path.parent, package)) if module else ():
            self.found[file.relative_to(package).as_posix()] = file

    def add(self, name: str) -> None:
        """Add the files of an imported `name`, and each file of the package that they depend on."""
        for dependency, file in _files_of(name, self.sources.package):
            if dependency not in self.found and dependency not in self.without and not CATALOG.fullmatch(dependency):
                self.found[dependency] = file
                self.follow(file, dependency)


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
def _data_files(names: tuple[str, ...], folders: tuple[Path, ...]) -> tuple[Path, ...]:
    """Files in the folders that are named, or whose folder is named: templates, style sheets."""
    found: list[Path] = []
    for candidate in (folder / name for name in names for folder in folders):
        if candidate.is_file() and candidate.suffix != ".py":
            found.append(candidate)
        elif candidate.is_dir() and not list(candidate.glob("*.py")):
            found += sorted(file for file in candidate.rglob("*") if file.is_file())
    return tuple(found)
