"""The staleness contract: what each kind of change runs again, and what it does not."""

import os
import time

import pytest

LIBRARY = "workflow/scripts/vaebench"
NEW_MEANING = "\n\ndef added_by_a_test():\n    return 1\n"
TABLES = {"runs_table": 1, "summary": 1, "figures": 1, "report": 1}
BUDGET = {"budget": 1}
SUMMARY = {"summary": 1, "figures": 1, "report": 1}
LOOK = {"figures": 1, "report": 1}


def runs(count):
    """Jobs of so many runs from training to metrics, and the tables."""
    return {"train": count, "sample": count, "evaluate": count} | TABLES | BUDGET


def test_nothing_is_stale_after_a_run(small_study):
    assert small_study.planned() == {}


@pytest.mark.parametrize(
    ("module", "jobs"),
    [
        ("metrics/reconstruction.py", {"evaluate": 2} | TABLES),
        ("evaluation.py", {"evaluate": 2} | TABLES),
        ("tables.py", TABLES),
        ("statistics.py", TABLES),
        ("budget.py", {"report": 1} | BUDGET),
        ("figures/comparison.py", LOOK),
        ("report/findings.py", {"report": 1}),
        ("templates/report.css", {"report": 1}),
        ("nets.py", runs(2)),
        ("models.py", runs(2)),
        ("training.py", runs(2)),
        ("sampling.py", {"sample": 2, "evaluate": 2} | TABLES),
        ("tracking.py", {}),
    ],
)
def test_edited_module(study, module, jobs):
    study.append(f"{LIBRARY}/{module}", NEW_MEANING if module.endswith(".py") else "\np { margin: 0 }\n")
    assert study.planned() == jobs


@pytest.mark.parametrize(
    ("setting", "jobs"),
    [
        ("statistics: {confidence: 0.9}", SUMMARY),
        ("samples: {count: 33}", {"sample": 2, "evaluate": 2} | TABLES),
        ("evaluation: {lpips: [vgg]}", {"evaluate": 2} | TABLES),
        ("evaluation: {limit: 20}", {"evaluate": 2} | TABLES),
        ("models: {vae: {config: {latent_dim: 5}}}", runs(1)),
        ("models: {beta_vae: {training: {epochs: 2}}}", runs(1)),
        ("seeds: [0, 1]", runs(2)),
        ("models: {more: {model: AE, nets: {encoder: compact, decoder: compact}, config: {latent_dim: 4}}}", runs(1)),
        ("models: {beta_vae: {sweep: {beta: [2.0, 8.0]}}}", runs(1)),
        ("training: {device: cpu, checkpoint_minutes: 1}", {}),
        ("models: {vae: {training: {tuning_trials: 3}}}", {"report": 1} | BUDGET),
        ("tracking: tensorboard", {}),
        ("threads: {train: 2, evaluate: 2}", {}),
        ("evaluation: {batch_size: 7}", {}),
        ("preprocessing: {batch_size: 7, device: cpu}", {}),
        ("download: {retries: 1}", {}),
    ],
)
def test_edited_setting(study, setting, jobs):
    (study.root / "change.yaml").write_text(setting)
    assert study.planned(configfiles=("config/mnist.yaml", "study.yaml", "change.yaml")) == jobs


@pytest.mark.parametrize("change", ["comment", "docstring", "formatting", "touch", "checkout", "move"])
def test_nothing_runs_again(study, tmp_path, change):
    module = f"{LIBRARY}/training.py"
    if change == "comment":
        study.append(module, "\n# A remark.\n")
        study.append("workflow/scripts/train.py", "\n# A remark.\n")
    elif change == "docstring":
        study.edit(module, '"""', '"""Another first line. ')
    elif change == "formatting":
        study.edit(module, "\n\n\ndef ", "\n\n\n\n\ndef ")
    elif change == "touch":
        later = time.time() + 10
        for path in (study.root / "workflow").rglob("*.*"):
            os.utime(path, (later, later))
    elif change == "checkout":
        for path in (study.root / "workflow").rglob("*.*"):
            if path.is_file():
                content = path.read_bytes()
                path.unlink()
                path.write_bytes(content)
    else:
        study = study.copy(tmp_path / "moved" / "elsewhere")
    assert study.planned() == {}


def test_new_preprocessing_code_with_equal_output_leaves_the_rest_alone(study):
    study.append(f"{LIBRARY}/preprocessing.py", NEW_MEANING)
    assert study.planned("data") == {"preprocess": 1}
    study.snakemake("data")
    assert study.planned() == {}


def test_new_preprocessing_with_other_output_trains_again(study):
    (study.root / "change.yaml").write_text("preprocessing: {limit: 63}")
    configfiles = ("config/mnist.yaml", "study.yaml", "change.yaml")
    assert study.planned("data", configfiles=configfiles) == {"preprocess": 1}
    study.snakemake("data", configfiles=configfiles)
    assert study.planned(configfiles=configfiles) == runs(2)
