"""profiles/slurm: merged without loss, understood by the executor plugin, and asking for what docs/cluster.md says."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from snakemake.profiles import ProfileConfigFileParser
from snakemake_executor_plugin_slurm import ExecutorSettings
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string
from snakemake_executor_plugin_slurm.validation import validate_slurm_extra

PROFILES = Path(__file__).parents[2] / "profiles"
GUIDE = PROFILES.parent / "docs/cluster.md"
OUR_MESSAGES = (
    "no NVIDIA driver on this machine",
    "the time limit is near (SIGUSR1)",
    "since memory ran out",
    "it needed more memory than",
    "no space left on the disk",
    "a worker process was killed",
)
GPU_RULES = ("preprocess", "tune", "train", "sample", "evaluate")


class Resources(dict):
    __getattr__ = dict.get


@pytest.fixture(scope="module")
def profile():
    return yaml.safe_load((PROFILES / "slurm" / "config.yaml").read_text())


def submission(profile, rule, attempt=1, **changes):
    """The sbatch options for a job of the rule."""
    given = profile["default-resources"] | profile["set-resources"][rule] | changes
    expressions = ("mem_mb", "runtime", "slurm_extra")
    resources = Resources(
        {
            name: eval(str(value), {"attempt": attempt}) if name in expressions else value
            for name, value in given.items()
        }
    )
    job = SimpleNamespace(resources=resources, threads=4)
    validate_slurm_extra(job)
    names = {"run_uuid": "u", "slurm_logfile": "l", "comment_str": "c", "account": "", "workdir": None}
    params = names | {"partition": f"-p {resources.slurm_partition}"}
    settings = ExecutorSettings(requeue=profile["slurm-requeue"])
    return get_submit_command(job, params, settings) + set_gres_string(job)


def test_profiles_share_no_key(profile):
    default = yaml.safe_load((PROFILES / "default" / "config.yaml").read_text())
    assert not set(default) & set(profile), "the default profile would win and drop the other's whole entry"


def test_no_comma_in_an_expression(profile):
    """Snakemake splits resources at commas, inside parentheses too."""
    with open(PROFILES / "slurm" / "config.yaml") as file:
        parsed = ProfileConfigFileParser().parse(file)
    assert not [entry for entry in parsed["set-resources"] + parsed["default-resources"] if "," in entry]


@pytest.mark.parametrize("rule", GPU_RULES)
def test_gpu_rules(profile, rule):
    assert profile["set-resources"][rule]["gpu"] == 1
    line = submission(profile, rule)
    assert line.endswith(" --gpus=a100:1")
    assert "--requeue" in line
    assert "--signal=USR1@180" in line
    assert "--ntasks" not in line


def test_memory_and_time_grow_with_the_attempt(profile):
    assert "-t 480 --mem 16000 " in submission(profile, "train")
    assert "-t 960 --mem 32000 " in submission(profile, "train", attempt=2)
    assert submission(profile, "train", attempt=5) == submission(profile, "train", attempt=2), "and then stop growing"


def test_gpu_model_is_named_once():
    text = (PROFILES / "slurm" / "config.yaml").read_text()
    assert text.count("a100") == 1
    moved = yaml.safe_load(text.replace("a100", "h100"))
    assert [moved["set-resources"][rule]["gpu_model"] for rule in GPU_RULES] == ["h100"] * 5


def test_documented_forms_for_other_clusters(profile):
    rule = profile["set-resources"]["train"]
    plain = {**profile, "set-resources": {"train": {name: rule[name] for name in ("mem_mb", "runtime")}}}
    assert submission(plain, "train", gpu=0, gres="gpu:a100:1").endswith(" --gres=gpu:a100:1")
    by_feature = submission(plain, "train", gpu=1, constraint="a100-sxm4-80gb")
    assert "-C a100-sxm4-80gb" in by_feature
    assert by_feature.endswith(" --gpus=1")
    extra = "'--gpus-per-node=a100-sxm4-80gb:1 --signal=USR1@180'"
    assert "--gpus-per-node=a100-sxm4-80gb:1 --signal" in submission(plain, "train", gpu=0, slurm_extra=extra)


def test_the_plugin_s_traps_are_avoided(profile):
    assert profile["slurm-status-command"] == "squeue"
    assert profile["slurm-requeue"] is True
    assert "slurm-array-jobs" not in profile
    # Under three times this, MinJobAge makes the plugin go back to sacct; 300 s is SLURM's default.
    assert 3 * profile["slurm-init-seconds-before-status-checks"] < 300
    assert profile["group-components"] == {"judge": 1}


def test_a_training_is_judged_by_one_job(profile):
    assert profile["groups"] == {"sample": "judge", "evaluate": "judge"}


def test_the_guide_tells_the_times_and_the_memory_that_the_profile_asks_for(profile):
    """What must be held against a partition's limits before the first job is sent."""

    def asked(rule, name, attempt):
        return eval(str(profile["set-resources"][rule][name]), {"attempt": attempt})

    guide = GUIDE.read_text()
    times = {rule: [asked(rule, "runtime", attempt) for attempt in (1, 2)] for rule in profile["set-resources"]}
    judge = [times["sample"][index] + times["evaluate"][index] for index in (0, 1)]
    from_ssh = guide.split("## From ssh to tables")[1].split("\n## ")[0]
    said = " ".join(from_ssh.split())
    assert f"second attempt, {times['train'][1]} minutes ({times['train'][0]} + {times['train'][0]})" in said
    assert f"the sum of the two, {judge[0]} minutes, then {judge[1]}" in said
    others = {tuple(times[rule]) for rule in ("validate", "preprocess")}
    assert others == {(60, 120)}
    assert "the others for 60, then 120" in said
    rows = dict(re.findall(r"^\| `?(\w+)`?[^|]* \| (\d+, \d+ GB, \d+ h)", guide, re.MULTILINE))
    for rule, (first, _) in (times | {"judge": judge}).items():
        memory = asked("sample" if rule == "judge" else rule, "mem_mb", 1)
        assert rows[rule].split(", ")[1:] == [f"{memory // 1000} GB", f"{first // 60} h"]


def test_commands_of_the_guide_do_without_variables_that_may_be_empty():
    """`sacctmgr ... user=$USER` lists everybody's accounts where USER is not set, as in containers and cron."""
    for text in (GUIDE.read_text(), (PROFILES / "slurm/config.yaml").read_text()):
        assert "$USER" not in text


@pytest.mark.parametrize("words", ["Invalid GPU model format", "memory ran out", "needed more memory", "no space left"])
def test_the_guide_has_a_row_for_each_failure(words):
    table = GUIDE.read_text().split("## Troubleshooting by message")[1].split("\n## ")[0]
    assert [line for line in table.splitlines() if line.startswith("| `") and words in line]


def test_messages_of_ours_in_the_guide_are_what_the_code_says():
    source = "".join(path.read_text() for path in (PROFILES.parent / "workflow/scripts").rglob("*.py"))
    for words in OUR_MESSAGES:
        assert words in GUIDE.read_text()
        assert words in source
