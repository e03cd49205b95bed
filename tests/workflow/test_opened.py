"""A finished study, opened in Python: `vaebench.open_study`, the notebook and the command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import vaebench
from vaebench.base.errors import UserError

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "workflow/scripts"


@pytest.fixture
def results(small_study):
    return small_study.root / "results/mnist"


def test_an_opened_study_is_what_lies_in_its_folder(results):
    study = vaebench.open_study(results)
    assert list(study.runs) == ["vae", "beta_vae-beta2"], "the configuration's order, not the alphabet's"
    assert set(study.tables) == {path.stem for path in results.glob("tables/*.csv")}
    pd.testing.assert_frame_equal(study.tables["runs"], pd.read_csv(results / "tables/runs.csv"))
    written = np.load(results / "runs/vae/seed0/samples.npz")["data"]
    np.testing.assert_array_equal(study.samples("vae"), written)
    np.testing.assert_array_equal(study.samples("vae", count=3), written[:3])
    weights = torch.load(results / "runs/vae/seed0/final_model/model.pt", weights_only=True)["model_state_dict"]
    opened = study.model("vae").state_dict()
    assert opened.keys() == weights.keys()
    assert all(torch.equal(opened[name], weights[name]) for name in weights)
    mean = study.metrics("vae")["mse"].mean()
    runs = study.tables["runs"]
    assert runs[(runs["run"] == "vae") & (runs["metric"] == "mse")]["value"].item() == pytest.approx(mean, rel=1e-12)


def test_what_is_not_there_is_named(results, tmp_path):
    study = vaebench.open_study(results)
    with pytest.raises(UserError, match="has no run 'wae'; it has vae, beta_vae-beta2"):
        study.model("wae")
    with pytest.raises(UserError, match="vae has no seed 7; it has 0"):
        study.samples("vae", seed=7)
    with pytest.raises(KeyError, match=r"nothing\.csv is not there; there are"):
        study.tables["nothing"]
    with pytest.raises(UserError, match="holds no trainings"):
        vaebench.open_study(tmp_path)


def test_the_notebook_runs_from_top_to_bottom(results, tmp_path):
    notebook = json.loads((ROOT / "docs/notebook.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    (tmp_path / "results").mkdir()
    (tmp_path / "results/demo").symlink_to(results)
    code = "\n".join([*cells, "print(comparison.shape, codes.shape)"])
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS), "MPLBACKEND": "Agg"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("torch.Size([8, 4])")


def test_the_command_prints_the_comparison(results):
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    program = "from vaebench.command import main; raise SystemExit(main())"
    command = [sys.executable, "-c", program, "results", str(results)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    mse = vaebench.open_study(results).tables["comparison"]["mse_mean"]
    line = next(line for line in done.stdout.splitlines() if line.startswith("mse "))
    assert [float(value) for value in line.split()[1:]] == pytest.approx(list(mse), rel=5e-3)
    nowhere = subprocess.run([*command[:-1], "nowhere"], env=environment, capture_output=True, text=True)
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (1, 1)
