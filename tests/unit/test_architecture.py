"""The shape of the library: what import-linter (`make lint`) does not look at."""

import ast
from collections import Counter
from pathlib import Path

LIBRARY = Path(__file__).parents[2] / "workflow/scripts/vaebench"
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
