"""What the documentation shows works as it stands: every command, and every piece of configuration."""

import re
import shlex
import subprocess
import sys

import pytest

from vaebench.config.plan import read_config
from vaebench.config.runs import expand_runs
from vaebench.models.run_spec import MODEL_FILES

from .conftest import ROOT, fresh_clone, make
from .forks import plan

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "config/README.md"]
STUDIES = sorted((ROOT / "config").glob("*.yaml"))  # their comments show commands; config/NAME.yaml stands for them
# Not to be dry-run: Snakemake's report needs a finished study (tests/workflow/test_real_runs.py makes one).
WITHOUT_PLAN = ("--report", "--unlock")


def blocks(page, *languages):
    """The code blocks of a page in some languages, continued lines joined."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [re.sub(r"\\\n *", "", block) for language, block in found if language in languages]


def snippets(page):
    """Whatever may be a command on a page: lines of code blocks, code within sentences; of a file its comments."""
    if page in STUDIES:
        return re.findall(r"^# .*?(snakemake -.*)", page.read_text(), re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks(page, "bash", "") for line in block.splitlines()]
    return [*lines, *re.findall(r"`([^`\n]+)`", prose)]


def shown(program):
    """The distinct calls of a program with at least one argument that are shown anywhere."""
    lines = [re.sub(r"^\$ |\s+#.*", "", line) for page in PAGES + STUDIES for line in snippets(page)]
    calls = [call.strip() for line in lines for call in line.split("&&")]
    calls = [call for call in calls if re.match(rf"(\w+=\S+ )*{program} \S", call)]
    return list(dict.fromkeys(call.replace("NAME", study.stem) for call in calls for study in STUDIES))


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A fresh clone with the file of one's own that README shows."""
    folder = fresh_clone(tmp_path_factory.mktemp("clone") / "vaebench")
    (folder / "mine.yaml").write_text("".join(blocks(ROOT / "README.md", "yaml")))
    return folder


def test_commands_are_found():
    assert "make demo" in shown("make")
    assert {"snakemake -n", "snakemake --cores all --configfile config/zoo.yaml"} <= set(shown("snakemake"))


@pytest.mark.parametrize(
    "command", [call for call in shown("snakemake") if not set(shlex.split(call)) & {*WITHOUT_PLAN}]
)
def test_snakemake_plans_what_is_shown(command, clone):
    words = shlex.split(command)
    start = words.index("snakemake")
    environment, arguments = dict(word.split("=") for word in words[:start]), words[start + 1 :]
    enough = {"--cores", "--profile", "-n"} & {*arguments}
    assert enough, "Snakemake starts no job unless it is told how many cores to use"
    result = plan(clone, *arguments, **environment)
    assert result.returncode == 0, result.stdout
    assert "Traceback" not in result.stdout
    assert not (clone / "data").exists()


@pytest.mark.parametrize("command", shown("make"))
def test_make_has_what_is_shown(command, clone):
    _, target, *variables = shlex.split(command)
    result = make(clone, target, "--dry-run", **dict(word.split("=") for word in variables))
    assert result.returncode == 0, result.stdout


def test_benchmarks_have_the_options_that_are_shown():
    calls = [shlex.split(line) for page in PAGES for line in snippets(page) if re.match(r"benchmarks/\w+\.py", line)]
    assert calls
    for script, *words in calls:
        code = (ROOT / script).read_text()
        assert all(f'add_argument("{word}"' in code for word in words if word.startswith("--")), script


def test_a_measurement_on_the_demo_says_that_the_demo_comes_first(clone):
    command = [sys.executable, "benchmarks/measure_vq_scale.py", "--epochs", "4"]
    result = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    assert result.stderr.endswith("data/demo/train_data.npz is missing: make demo makes it\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_shown_configuration_is_sound(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "final_model").mkdir()
    for name in MODEL_FILES:
        (tmp_path / "final_model" / name).touch()
    for place, plugin in zip(
        re.findall(r"[Ss]aved? (?:this[^`]* )?as `(.*?)`", page.read_text()), blocks(page, "python"), strict=False
    ):
        (tmp_path / place).write_text(plugin)
    for block in blocks(page, "yaml"):
        if block.startswith(" "):  # a part of an entry
            continue
        (tmp_path / "mine.yaml").write_text(block.replace("/data/models/", f"{tmp_path}/"))
        assert expand_runs(read_config([ROOT / "config/config.yaml", tmp_path / "mine.yaml"]))
