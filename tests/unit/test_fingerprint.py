from pathlib import Path

import pytest

from vaebench.fingerprint import canonical, code_fingerprint, imported_modules

SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"


@pytest.fixture
def project(tmp_path):
    """A script that imports one module of a package, which imports another and reads a template."""
    package = tmp_path / "vaebench"
    package.mkdir()
    (package / "__init__.py").write_text('"""A package."""\n')
    (package / "low.py").write_text("def low(x):\n    return x + 1\n")
    (package / "high.py").write_text(
        'from vaebench.low import low\n\nTEMPLATE = "page.html"\n\ndef high(x):\n    return low(x)\n'
    )
    (package / "other.py").write_text("VALUE = 1\n")
    (package / "log.py").write_text("def job(): ...\n")
    (package / "page.html").write_text("<p>")
    script = tmp_path / "script.py"
    script.write_text("from vaebench.high import high\nfrom vaebench.log import job\n\nhigh(1)\n")
    return script, package


def fingerprint(project):
    return code_fingerprint(*project)


@pytest.mark.parametrize(
    ("file", "old", "new", "stale"),
    [
        ("low.py", "x + 1", "x + 2", True),
        ("high.py", "return low(x)", "return low(x) * 2", True),
        ("../script.py", "high(1)", "high(2)", True),
        ("page.html", "<p>", "<div>", True),
        ("other.py", "1", "2", False),
        ("log.py", "...", "pass", False),
        ("low.py", "    return x + 1", "    # why\n    return (x +\n        1)", False),
        ("low.py", "def low(x):\n", 'def low(x):\n    """Say what."""\n', False),
        ("__init__.py", "A package", "The package", False),
    ],
)
def test_changes_only_with_meaning(project, file, old, new, stale):
    before = fingerprint(project)
    path = project[1] / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert (fingerprint(project) != before) == stale


def test_imports_inside_functions_and_relative_ones_count(project):
    script, package = project
    (package / "other.py").write_text("def f():\n    from . import low\n    return low\n")
    script.write_text("def main():\n    import vaebench.other\n")
    before = fingerprint(project)
    (package / "low.py").write_text("def low(x):\n    return x - 1\n")
    assert fingerprint(project) != before
    assert imported_modules("from .low import low", "vaebench.other") == ("vaebench.low", "vaebench.low.low")


def test_only_names_and_constants_of_code_remain():
    assert canonical('"""Doc."""\nx=1  # one') == canonical("x = 1")
    assert canonical("x = 1") != canonical("x = 2")
    assert canonical("def f():\n    'doc'\n    return 1") == canonical("def f():\n    return 1")
    assert canonical("x = None") != canonical("x = 0")


def test_training_does_not_depend_on_metrics_tables_or_figures():
    """The order of the modules: what is measured or drawn cannot make a training stale."""
    reached, queue = set(), [SCRIPTS / "train.py"]
    while queue:
        for name in imported_modules(queue.pop().read_text()):
            path = SCRIPTS.joinpath(*name.split(".")).with_suffix(".py")
            if path.is_file() and path not in reached:
                reached.add(path)
                queue.append(path)
    names = {path.relative_to(SCRIPTS / "vaebench").as_posix() for path in reached}
    assert "training.py" in names
    assert not [name for name in names if name.startswith(("metrics", "figures"))]
    assert not names & {"evaluation.py", "sampling.py", "showcase.py", "statistics.py", "tables.py", "report.py"}
