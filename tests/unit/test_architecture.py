"""The shape of the library: what import-linter (`make lint`) does not look at."""

import ast
import re
from collections import Counter
from graphlib import TopologicalSorter
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "workflow/scripts/vaebench"
MODULES = [path for path in LIBRARY.rglob("*.py") if path.name != "__init__.py"]


def test_no_module_name_occurs_twice():
    """But in the packages of providers, which are laid out alike."""
    names = Counter(path.stem for path in MODULES if path.parents[1].name != "providers")
    assert [name for name, count in names.items() if count > 1] == []


def test_init_files_hold_no_code():
    """An import of one module must not run others: the fingerprint of each rule's code covers what it imports."""
    for path in LIBRARY.rglob("*/__init__.py"):
        assert all(isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body), path


def test_the_library_does_not_know_snakemake():
    for path in MODULES:
        imported = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        names = [alias.name for node in imported for alias in node.names] + [
            getattr(n, "module", "") or "" for n in imported
        ]
        assert not [name for name in names if name.split(".")[0] == "snakemake"], path


def test_no_modules_import_each_other():
    """Imports within functions count as well: a circle is no better where it is closed late."""
    modules = {".".join(path.relative_to(LIBRARY.parent).with_suffix("").parts) for path in MODULES}
    imports = {}
    for path in MODULES:
        found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        named = {name for node in found for name in (node.module, *(f"{node.module}.{a.name}" for a in node.names))}
        imports[".".join(path.relative_to(LIBRARY.parent).with_suffix("").parts)] = named & modules
    assert len(tuple(TopologicalSorter(imports).static_order())) == len(modules)  # raises CycleError


def test_the_files_that_the_page_names_are_there():
    """A name without a folder lies in the folder that was named before it in its line."""
    for line in (ROOT / "docs/architecture.md").read_text().splitlines():
        folder = LIBRARY
        for name in re.findall(r"`([\w/.*-]+(?:/|\.py|\.md|\.yaml|\.rst|\.toml))`", line):
            found = [path for base in (ROOT, LIBRARY, folder) for path in base.glob(name)]
            assert found or name.endswith("/"), f"{name} in: {line}"
            if found:
                folder = found[0] if found[0].is_dir() else found[0].parent


@pytest.mark.parametrize(
    "path", [*ROOT.glob("benchmarks/*.py"), *ROOT.glob("workflow/scripts/*.py")], ids=lambda path: path.name
)
def test_what_scripts_import_from_the_library_exists(path):
    """Also what they import within functions: mypy sees the library alone, and a measurement runs once a release."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "vaebench":
            module = import_module(node.module)
            for name in (alias.name for alias in node.names):
                is_module = hasattr(module, "__path__") and find_spec(f"{node.module}.{name}")
                assert hasattr(module, name) or is_module, f"{node.module} has no {name}"


RULES = [ROOT / "workflow/Snakefile", *sorted((ROOT / "workflow/rules").glob("*.smk"))]


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_what_rules_import_from_the_library_exists(path):
    """Also what they import within functions, some of which run on a cluster alone."""
    imports = re.findall(r"^ *from (vaebench[\w.]*) import (\([^)]*\)|[^\n]*)", path.read_text(), re.MULTILINE)
    for module, names in imports:
        for name in re.findall(r"\w+", re.sub(r" as \w+|#.*", "", names)):
            assert hasattr(import_module(module), name), f"{module} has no {name}"
