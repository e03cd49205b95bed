"""A study that is tuned: jobs of the DAG, a choice that stands makes nothing stale, and another search space does."""

import json
import re

import pandas as pd

SETTINGS = ("config/mnist.yaml", "study.yaml", "change.yaml")
TUNED = """
models: {beta_vae: null}
tuning: {trials: 3, workers: WORKERS, search: {learning_rate: [1.0e-4, HIGHEST, log]}}
"""


def change(study, workers=2, highest="1.0e-2"):
    text = TUNED.replace("WORKERS", str(workers)).replace("HIGHEST", highest)
    (study.root / "change.yaml").write_text(text)


def test_a_tuned_study(study):
    change(study)
    planned = study.planned("models", configfiles=SETTINGS)
    assert planned == {"tune": 2, "choose": 1, "train": 1}
    assert study.ran("models", configfiles=SETTINGS) == planned
    assert study.planned("models", configfiles=SETTINGS) == {}

    folder = study.root / "results/mnist/tuning/vae"
    choice = json.loads((folder / "choice.json").read_text())["values"]
    trials = pd.read_csv(folder / "trials.csv")
    best = trials.loc[trials["value"].idxmin()]
    assert list(trials["trial"]) == [0, 1, 2]
    assert choice == {"training.learning_rate": best["training.learning_rate"]}
    provenance = json.loads((study.root / "results/mnist/runs/vae/seed0/provenance.json").read_text())
    assert provenance["tuned"] == choice
    assert provenance["spec"]["training"]["learning_rate"] == choice["training.learning_rate"]
    assert not (folder / "trials").exists()

    study.snakemake("results/mnist/tables/budget.csv", configfiles=SETTINGS)
    budget = pd.read_csv(study.root / "results/mnist/tables/budget.csv").set_index("run")
    assert (budget.loc["vae", "tuning_trials"], budget.loc["vae", "tuning_epochs"]) == (3, 1)

    change(study, workers=1)
    assert study.ran("models", configfiles=SETTINGS) == {"choose": 1}, "the choice stands: nothing is trained"
    assert study.planned("models", configfiles=SETTINGS) == {}
    change(study, workers=1, highest="2.0e-2")
    assert study.planned("models", configfiles=SETTINGS) == {"tune": 1, "choose": 1, "train": 1}


def test_the_jobs_of_a_tuning_have_training_and_validation_images_alone(study):
    change(study)
    graph = study.snakemake("results/mnist/tuning/vae/worker1.json", configfiles=SETTINGS, flags=["--filegraph"]).stdout
    (tune,) = [node for node in graph.split("</table>") if re.search(r"<b><font[^>]*>tune</font>", node)]
    inputs = set(re.findall(r"data/mnist/(\w+)_data", tune))
    assert inputs == {"train", "eval"}
