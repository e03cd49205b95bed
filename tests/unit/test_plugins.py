import subprocess
import sys
from pathlib import Path

import pytest

from vaebench.base.errors import UserError
from vaebench.base.fingerprint import Code, code_fingerprint, with_neighbours
from vaebench.base.plugin_files import Registry, added, files_that_add, read_plugin, use_plugins

MAE = """
import torch
from vaebench.base.plugins import metric


@metric("mae", label="MAE", formula="mean of |x - y|", higher_is_better=False, headline=True)
def mae(x, y):
    return (x - y).abs().flatten(1).mean(1)
"""


@pytest.fixture(autouse=True)
def none_in_use_afterwards():
    yield
    use_plugins(())


@pytest.fixture
def write(tmp_path):
    """Writes a plugin; gives its path as a configuration has it."""

    def write(text, name="mine.py"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_what_a_file_adds_is_read_and_not_executed(write):
    (entry,) = read_plugin(write("raise SystemExit('executed')\n" + MAE))
    assert (entry.kind, entry.name, entry.attribute, entry.line) == ("metric", "mae", "mae", 7)
    assert entry.options["headline"] is True
    assert entry.options["of"] == "pairs", "defaults are filled in"


@pytest.mark.parametrize(
    "imports",
    [
        "from vaebench.base.plugins import table as shows\n@shows('a', title='A')",
        "from vaebench.base import plugins as p\n@p.table('a', title='A')",
        "import vaebench.base.plugins\n@vaebench.base.plugins.table('a', title='A')",
    ],
)
def test_decorators_are_known_by_any_name(write, imports):
    (entry,) = read_plugin(write(f"{imports}\ndef a(study): ...\n"))
    assert (entry.kind, entry.name, entry.options["title"]) == ("table", "a", "A")
    assert callable(entry.load())


def test_an_entry_is_loaded_once_from_its_file(write):
    plugin = write("COUNT = []\n" + MAE + "\nCOUNT.append(1)\n")
    first, second = read_plugin(plugin)[0].load(), read_plugin(plugin)[0].load()
    assert first is second


def test_a_module_on_the_path_is_a_plugin(tmp_path, monkeypatch):
    package = tmp_path / "lab_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "errors.py").write_text(MAE)
    monkeypatch.syspath_prepend(tmp_path)
    use_plugins(["lab_of_a_test.errors"])
    (entry,) = added("metric")
    assert entry.file == package / "errors.py"
    assert entry.load().__module__ == "lab_of_a_test.errors"


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("def f(:\n", "mine.py, line 1: "),
        ("x = 1\n", "mine.py: adds nothing: mark a function with one of metric, "),
        ("from vaebench.base.plugins import table\n@table\ndef a(s): ...\n", "line 2: @table: it needs a name"),
        ("from vaebench.base.plugins import table\n@table('a')\ndef a(s): ...\n", "line 2: @table: missing a required"),
        (
            "from vaebench.base.plugins import table\n@table('a', title='A', colour=1)\ndef a(s): ...\n",
            "line 2: @table: got an unexpected keyword argument 'colour'",
        ),
        (
            "from vaebench.base.plugins import table\nT = 'A'\n@table('a', title=T)\ndef a(s): ...\n",
            "line 3: @table: its arguments must be written out",
        ),
        (
            "from vaebench.base.plugins import table\n@table('a', title=1)\ndef a(s): ...\n",
            "line 2: @table: title: 1 is not of the type str",
        ),
        (
            "from vaebench.base.plugins import table\n@table('../a', title='A')\ndef a(s): ...\n",
            "line 2: @table: '../a': a name has lower-case letters",
        ),
        (MAE.replace("headline=True", "head=True"), "line 6: @metric: got an unexpected keyword argument 'head'"),
        (MAE.replace("headline=True", "headline=1"), "line 6: @metric: headline: 1 is not of the type bool"),
        (MAE.replace("headline=True", "unit=None"), "line 6: @metric: unit: None is not of the type str"),
        (MAE.replace("headline=True", "notation={}"), "line 6: @metric: got an unexpected keyword argument 'notation'"),
        (MAE + MAE, "line 14: .*mine.py, line 6 adds the metric 'mae' already"),
    ],
)
def test_mistakes_have_a_file_and_a_line(write, text, mistake):
    with pytest.raises(UserError, match=mistake):
        use_plugins([write(text)])


def test_every_mistake_is_told(write):
    with pytest.raises(UserError) as caught:
        use_plugins([write("x = 1\n", "a.py"), "nowhere/b.py", "no_such_module_of_a_test"])
    first, second, third = str(caught.value).splitlines()
    assert "a.py: adds nothing" in first
    assert second == "nowhere/b.py: cannot be read: No such file or directory"
    assert third.startswith("no_such_module_of_a_test: there is no module no_such_module_of_a_test; the folder")


def test_what_an_import_raises_is_one_line(write):
    (entry,) = read_plugin(write("1 / 0\n" + MAE))
    with pytest.raises(UserError, match=r"mine.py: cannot be imported: ZeroDivisionError: division by zero$"):
        entry.load()


def test_a_registry_holds_its_own_entries_and_those_of_the_plugins(write):
    registry = Registry({"mse": 1}, ["metric"], lambda found: {entry.name: entry.line for entry in found})
    assert dict(registry) == {"mse": 1}
    use_plugins([write(MAE)])
    assert dict(registry) == {"mse": 1, "mae": 6}
    use_plugins([write(MAE.replace('"mae"', '"mse"'), "other.py")])
    with pytest.raises(UserError, match=r"other.py, line 6: there is a metric 'mse' already; choose another name"):
        registry["mse"]
    use_plugins(())
    assert len(registry) == 1


def test_files_are_found_by_what_they_add(write):
    figure = "from vaebench.base.plugins import figure\n@figure('f', title='F')\ndef f(study): ...\n"
    use_plugins([write(MAE), write(figure, "other.py")])
    assert {file.name for file in files_that_add("metric")} == {"mine.py"}
    assert {file.name for file in files_that_add("figure", ["f", "g"])} == {"other.py"}
    assert files_that_add("figure", ["g"]) == frozenset()


@pytest.mark.parametrize(
    ("old", "new", "computes", "shows"),
    [
        ("mean(1)", "sum(1)", True, True),
        ('label="MAE"', 'label="L1"', False, True),
        ("higher_is_better=False", "higher_is_better=None", False, True),
        ("headline=True", "headline=False", False, True),
        ("import torch", "import torch  # a remark", False, False),
        ('"mae"', '"l1"', True, True),
    ],
)
def test_what_a_plugin_means_is_in_the_fingerprint(write, tmp_path, old, new, computes, shows):
    script = tmp_path / "script.py"
    script.write_text("print(1)\n")
    former, changed = (
        frozenset({Path(write(text, name))}) for text, name in ((MAE, "a.py"), (MAE.replace(old, new), "b.py"))
    )
    for shown, differs in ((False, computes), (True, shows)):
        first, second = (code_fingerprint(script, also=Code(files=files), shown=shown) for files in (former, changed))
        assert (first != second) == differs
    assert code_fingerprint(script, also=Code(files=former)) != code_fingerprint(script)


@pytest.mark.parametrize("place", ["", "site-packages/"])
def test_what_a_plugin_imports_from_its_own_package_counts(tmp_path, place):
    lab = tmp_path / f"{place}lab"
    (lab / "deep").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "deep/__init__.py": "",
        "deep/errors.py": "import other\nfrom lab import scale\nfrom . import parts\n" + MAE,
        "deep/parts.py": "HALF = 2\n",
        "scale.py": "from lab.unit import ONE\n",
        "unit.py": "ONE = 1\n",
        "unused.py": "ZERO = 0\n",
        "../other.py": "OTHER = 0\n",
    }.items():
        (lab / name).write_text(text)
    found = {path.relative_to(lab.parent).as_posix() for path in with_neighbours([lab / "deep/errors.py"])}
    own = {
        "lab/__init__.py",
        "lab/deep/__init__.py",
        "lab/deep/errors.py",
        "lab/deep/parts.py",
        "lab/scale.py",
        "lab/unit.py",
    }
    assert found - own == (set() if place else {"other.py"}), "what else is installed does not count"
    assert own - found <= {"lab/__init__.py", "lab/deep/__init__.py"}, "which are run, but are empty"
    (tmp_path / "script.py").write_text("print(1)\n")
    before = code_fingerprint(tmp_path / "script.py", also=Code(files=frozenset({lab / "deep/errors.py"})))
    (lab / "unit.py").write_text("ONE = 2\n")
    assert code_fingerprint(tmp_path / "script.py", also=Code(files=frozenset({lab / "deep/errors.py"}))) != before


def test_reading_plugins_loads_nothing_heavy():
    command = "import sys, vaebench.base.plugin_files; print('torch' in sys.modules or 'numpy' in sys.modules)"
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "workflow/scripts")}
    result = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, env=environment, check=True
    )
    assert result.stdout == "False\n"
