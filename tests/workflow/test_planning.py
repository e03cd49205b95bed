"""What Snakemake says before any job starts: the plan of the study, and mistakes in the configuration."""

import pytest

from .conftest import ROOT, new_project
from .forks import plan


@pytest.fixture
def project(tmp_path):
    return new_project(tmp_path / "project")


def test_the_study_is_planned_without_network(project):
    result = plan(project.root)
    assert result.returncode == 0, result.stdout
    jobs = dict(line.split() for line in result.stdout.splitlines() if len(line.split()) == 2)
    expected = {"download": 2, "weights": 2, "validate": 1, "preprocess": 1, "train": 21, "sample": 21, "evaluate": 21}
    assert {rule: int(jobs[rule]) for rule in expected} == expected
    assert not (project.root / "data").exists()


def test_labels_are_fetched_for_images_that_are_made_here(project):
    labels = "labels: {file: labels.csv, bytes: null, md5: null, source: [{path: labels.csv}]}"
    (project.root / "mine.yaml").write_text(f"dataset: {{{labels}}}")
    (project.root / "labels.csv").write_text("image,label\n")
    planned = plan(project.root, "--configfile", "config/mnist.yaml", "mine.yaml").stdout
    for message in ("Downloading labels.csv", "Writing 5,000 MNIST digits"):
        assert message in planned


def test_lists_and_maps_of_the_command_line_are_read_as_those_of_a_file(project):
    given = ["seeds=[0, 1]", "models={vae: null, beta_vae: {sweep: {beta: [2.0]}}}", "training={epochs: 3}"]
    planned = plan(project.root, "--config", *given, "--", "models").stdout
    assert "Training beta_vae-beta2, seed 1;" in planned
    assert "Training vae," not in planned


@pytest.mark.parametrize(("data", "results"), [("./data/", "results//mine"), (".", "./")])
def test_folders_may_be_written_in_any_way(project, data, results):
    """Snakemake warns of each path with `./` or `//`, of which it says that it may not find the files."""
    (project.root / "mine.yaml").write_text(f"data_dir: {data}\nresults_dir: {results}\n")
    result = plan(project.root, "--configfile", "config/config.yaml", "mine.yaml")
    assert result.returncode == 0, result.stdout
    for word in ("double '/'", "starts with './'"):
        assert word not in result.stdout


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("training: {learning_rate: 1e-3}", "training.learning_rate: '1e-3' is read as text"),
        ("models: {vae: {config: {beta: 2}}}", "models.vae.config.beta: unknown field of VAE 'beta'"),
    ],
)
def test_a_mistake_stops_before_any_job(project, settings, expected):
    (project.root / "mine.yaml").write_text(settings)
    result = project.snakemake(configfiles=("config/demo.yaml", "mine.yaml"), check=False)
    assert result.returncode == 1
    assert expected in result.stdout
    assert "Traceback" not in result.stdout
    assert not (project.root / "data").exists()
    assert not (project.root / "results").exists()


def test_a_study_that_could_not_be_measured_starts_no_job(project):
    (project.root / "mine.yaml").write_text("weights: {alexnet: {source: [{path: /nowhere/alexnet.pth}]}}")
    result = project.snakemake(configfiles=("config/demo.yaml", "mine.yaml"), check=False)
    assert result.returncode == 1
    assert "the alexnet weights could not be obtained" in result.stdout
    assert "weights.alexnet.source" in result.stdout
    assert not (project.root / "data/demo").exists()


def test_every_rule_says_what_it_needs():
    """Log, benchmark, threads and resources of each rule that does work, as a cluster's scheduler needs them."""
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in path.read_text().split("rule ")[1:]:
            name = rule.split(":")[0]
            if "script:" in rule:
                for directive in ("log:", "benchmark:", "resources:", "runtime=", "mem=", "message:"):
                    assert directive in rule, f"rule {name} of {path.name} has no {directive}"
