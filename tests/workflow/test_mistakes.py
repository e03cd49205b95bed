"""What the person who starts a study says: mistakes are found before anything is done, and settings are obeyed."""

import shutil

import pytest

from vaebench.base.files import sha256_of

OWN = """
models:
  vae: null
  beta_vae: null
  own: {model: VAE, nets: {encoder: mynets.MyEncoder, decoder: compact}, config: {latent_dim: 3}}
statistics: {baseline: null}
"""
NETWORK = """
import torch
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseEncoder


class MyEncoder(BaseEncoder):
    def __init__(self, config):
        super().__init__()
        self.mean = torch.nn.Linear(784, config.latent_dim)
        self.log_variance = torch.nn.Linear(784, config.latent_dim)

    def forward(self, x):
        return ModelOutput(embedding=self.mean(x.flatten(1)), log_covariance=self.log_variance(x.flatten(1)))
"""


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"mine.yaml": "seeds: [0\nmodels: {}\n"}, "error: mine.yaml, line 2: "),
        ({}, "error: mine.yaml: there is no such configuration file"),
        ({"config/config.yaml": "seeds:\n\t- 0\n", "mine.yaml": "seeds: [1]\n"}, "error: config/config.yaml, line 2: "),
    ],
)
def test_a_configuration_file_that_cannot_be_read_is_one_line(small_study, tmp_path, files, line):
    project = small_study.copy(tmp_path / "project")
    for name, text in files.items():
        (project.root / name).write_text(text)
    result = project.snakemake(flags=["--dry-run"], configfiles=("config/mnist.yaml", "mine.yaml"), check=False)
    assert result.returncode == 1
    lines = [text for text in result.stdout.splitlines() if not text.startswith("Using ")]
    assert len(lines) == 1
    assert lines[0].startswith(line)


def test_a_network_that_cannot_be_imported_costs_no_model(study, monkeypatch):
    """Snakemake deletes what a job is to make, so that this must be known before the first job starts."""
    monkeypatch.setenv("PYTHONPATH", str(study.root))
    configfiles = ("config/mnist.yaml", "study.yaml", "own.yaml")
    (study.root / "mynets.py").write_text(NETWORK)
    (study.root / "own.yaml").write_text(OWN)
    study.snakemake("models", configfiles=configfiles)
    model = study.root / "results/mnist/runs/own/seed0/final_model/model.pt"
    before = sha256_of(model)
    study.edit("own.yaml", "latent_dim: 3", "latent_dim: 4")
    assert study.planned("models", configfiles=configfiles) == {"train": 1}
    study.edit("mynets.py", "import torch", "import torch\nimport a_package_that_is_not_there")
    result = study.snakemake("models", configfiles=configfiles, check=False)
    assert result.returncode == 1
    assert "own: mynets.MyEncoder: UserError: the network mynets.MyEncoder cannot be imported" in result.stdout
    assert sha256_of(model) == before
    (study.root / "mynets.py").unlink()
    result = study.snakemake("models", configfiles=configfiles, flags=["--dry-run"], check=False)
    assert "models.own.nets.encoder: mynets.MyEncoder: there is no module mynets" in result.stdout
    assert sha256_of(model) == before


def test_a_pretrained_model_that_is_gone_costs_no_model(study):
    """The one that was imported stays in use, and is not deleted for one that cannot be imported."""
    configfiles = ("config/mnist.yaml", "study.yaml", "own.yaml")
    saved = study.root / "saved"
    shutil.copytree(study.root / "results/mnist/runs/vae/seed0/final_model", saved)
    own = "models: {vae: null, beta_vae: null, own: {pretrained: {path: saved}}}\nstatistics: {baseline: null}\n"
    (study.root / "own.yaml").write_text(own)
    study.snakemake("models", configfiles=configfiles)
    model = study.root / "results/mnist/runs/own/seed0/final_model/model.pt"
    before = sha256_of(model)
    shutil.rmtree(saved)
    assert study.planned("models", configfiles=configfiles) == {}
    study.edit("own.yaml", "path: saved", "path: ./saved")
    result = study.snakemake("models", configfiles=configfiles, check=False)
    assert result.returncode == 1
    assert "own: pretrained.path: there is no folder saved" in result.stdout
    assert sha256_of(model) == before


def test_every_job_of_a_run_computes_where_its_training_does(small_study):
    """The small study trains vae on the CPU by its own setting, the others wherever there is a GPU."""
    logs = small_study.root / "results/mnist/logs"
    for run, device in (("vae", "cpu"), ("beta_vae-beta2", "auto")):
        for job in ("train", "sample", "evaluate"):
            assert f"device {device}" in (logs / job / run / "seed0.log").read_text().splitlines()[0], (run, job)
