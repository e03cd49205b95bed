"""profiles/slurm: merged without loss, understood by the executor plugin, and asking for what docs/cluster.md says."""

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
GPU_RULES = ("preprocess", "train", "sample", "evaluate")


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
    assert [moved["set-resources"][rule]["gpu_model"] for rule in GPU_RULES] == ["h100"] * 4


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
