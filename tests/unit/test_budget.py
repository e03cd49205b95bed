"""What each run was given: read from real trainings, added up over seeds, and marked where runs differ."""

import json
import math
from dataclasses import replace

import pandas as pd
import pytest
from training_cases import make_spec, run, write_data

from vaebench.models.storage import load_model
from vaebench.results.budget import ASPECTS, COLUMNS, Tuned, budget, budget_table, cells, in_words, tuning_costs

CPU = {"device": {"type": "cpu", "name": "x86_64", "cores": 2}}


def made_up(name="vae", seed=0, model="VAE", nets=None, training=None, **recorded):
    """The provenance of a training that never was."""
    spec = make_spec(model, **{"select": "last", **(training or {})})
    nets = nets or {"encoder": "compact", "decoder": "compact", "discriminator": None}
    spec = replace(spec, run=name, nets=nets).as_record()
    given = {"parameters": 1000, "epochs": 2, "steps": 6, "images_seen": 80, "seconds": 36.0, "threads": 1}
    given["precision"] = "fp32"
    return {"spec": spec, "seed": seed, "environment": CPU} | given | recorded


def table(*trainings, trials=None):
    names = dict.fromkeys((training["spec"]["run"] for training in trainings), Tuned())
    return budget_table(trainings, {**names, **(trials or {})}).set_index("run")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Real trainings on 40 images: a VAE with two seeds, and a VAEGAN that is given something else."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_data(folder, train_count=40)
    parts = {"discriminator": {"learning_rate": 2e-4, "scheduler": {"name": "StepLR", "options": {"step_size": 1}}}}
    cases = [
        (make_spec("VAE", select="last"), 0),
        (make_spec("VAE", select="last"), 1),
        (make_spec("VAEGAN", epochs=1, batch_size=20, components=parts), 0),
    ]
    return [run(spec, data, folder / f"{spec.run}{seed}", seed) for spec, seed in cases]


def test_what_real_trainings_were_given(trained, tmp_path):
    budget([paths["provenance"] for paths in trained], {"vae": Tuned(4), "vaegan": Tuned(4)}, tmp_path)
    found = pd.read_csv(tmp_path / "budget.csv").set_index("run")
    assert tuple(pd.read_csv(tmp_path / "budget.csv").columns) == COLUMNS
    vae, vaegan = found.loc["vae"], found.loc["vaegan"]
    assert (vae["n_seeds"], vaegan["n_seeds"]) == (2, 1)
    assert (vae["epochs"], vae["steps"], vae["images_seen"]) == (2, 2 * math.ceil(40 / 16), 2 * 40)
    assert (vaegan["epochs"], vaegan["steps"], vaegan["images_seen"]) == (1, 2, 40)
    for paths, row in ((trained[0], vae), (trained[2], vaegan)):
        assert row["parameters"] == sum(each.numel() for each in load_model(paths["output"]).parameters())
    assert (vae["networks"], vaegan["networks"]) == ("compact", "compact")
    assert float(vae["learning_rate"]) == 1e-3
    assert vaegan["learning_rate"] == "encoder and decoder 0.001, discriminator 0.0002"
    assert vaegan["scheduler"] == "encoder and decoder constant, discriminator StepLR(step_size=1)"
    assert (vae["epoch_kept"], vaegan["epoch_kept"]) == ("last", "lowest mse")
    seconds = [json.loads(paths["provenance"].read_text())["seconds"] for paths in trained[:2]]
    assert vae["hours"] == pytest.approx(sum(seconds) / 2 / 3600)
    assert pd.isna(vae["differs"])
    assert pd.isna(vae["note"])
    assert set(vaegan["differs"].split(", ")) == {
        "parameters", "learning_rate", "scheduler", "batch_size", "epochs", "steps", "images_seen", "epoch_kept",
    }  # fmt: skip


def test_differences_are_marked_in_every_format(trained, tmp_path):
    budget([paths["provenance"] for paths in trained[1:]], {"vae": Tuned(4), "vaegan": Tuned(4)}, tmp_path)
    lines = (tmp_path / "budget.md").read_text().splitlines()
    header, rows = next(
        (split(lines[i]), [split(line) for line in lines[i + 2 : i + 4]])
        for i, line in enumerate(lines)
        if line.startswith("| Run")
    )
    assert rows[0][header.index("Batch size")] == "16"
    assert rows[1][header.index("Batch size")] == "**20**"
    assert rows[1][header.index("Networks")] == "compact"
    assert not rows[1][header.index("Hours")].startswith("**")
    latex = (tmp_path / "budget.tex").read_text()
    assert r"\textbf{20}" in latex
    assert r"StepLR(step\_size=1)" in latex
    assert latex.count(r"\\") - 1 == len(rows)


def split(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("name", [name for name, aspect in ASPECTS.items() if aspect.compared])
def test_run_that_differs_in_one_thing_is_marked_for_that(name):
    changes = {
        "networks": {"nets": {"encoder": "resnet", "decoder": "resnet", "discriminator": None}},
        "parameters": {"parameters": 1001},
        "optimizer": {"training": {"optimizer": {"name": "AdamW", "options": {}}}},
        "learning_rate": {"training": {"learning_rate": 2e-3}},
        "scheduler": {"training": {"scheduler": {"name": "StepLR", "options": {"step_size": 3}}}},
        "batch_size": {"training": {"batch_size": 17}},
        "epochs": {"epochs": 3},
        "steps": {"steps": 7},
        "images_seen": {"images_seen": 81},
        "epoch_kept": {"training": {"select": "mse"}},
        "augmentation": {"training": {"augmentation": {"horizontal_flip": True}}},
        "precision": {"precision": "bf16"},
        "tuning_trials": {},
        "tuning_epochs": {},
        "device": {"threads": 2},
    }
    other = {"tuning_trials": Tuned(5, 2), "tuning_epochs": Tuned(4, 3)}.get(name, Tuned(4, 2))
    trials = {"a": Tuned(4, 2), "b": Tuned(4, 2), "other": other}
    found = table(made_up("a"), made_up("b"), made_up("other", **changes[name]), trials=trials)
    assert found["differs"].to_dict() == {"a": "", "b": "", "other": name}


def test_averages_warm_up_and_steps_of_a_schedule_are_said():
    cosine = {"name": "CosineAnnealingLR", "options": {}, "interval": "step"}
    given = {"ema": {"decay": 0.999}, "scheduler": cosine, "warmup": {"steps": None, "epochs": 0.5}}
    found = table(made_up("a", training=given), made_up("b", training={"warmup": {"steps": 100, "epochs": None}}))
    assert found.loc["a", "epoch_kept"] == "last, average of decay 0.999"
    assert found.loc["a", "scheduler"] == "CosineAnnealingLR by step, warm-up of 0.5 epochs"
    assert found.loc["b", "scheduler"] == "constant, warm-up of 100 steps"


def test_options_of_an_optimizer_are_a_difference():
    decayed = {"optimizer": {"name": "AdamW", "options": {"weight_decay": 0.1}}}
    plain = {"optimizer": {"name": "AdamW", "options": {}}}
    found = table(made_up("a", training=plain), made_up("b", training=plain), made_up("c", training=decayed))
    assert found.loc["c", "optimizer"] == "AdamW(weight_decay=0.1)"
    assert found.loc["c", "differs"] == "optimizer"


def test_seeds_that_ran_differently_are_averaged_and_said():
    found = table(made_up(), made_up(seed=1, epochs=5, steps=15, images_seen=200, seconds=90.0)).loc["vae"]
    assert (found["epochs"], found["steps"], found["images_seen"]) == (3.5, 10.5, 140)
    assert found["hours"] == pytest.approx(63 / 3600)
    assert found["note"] == "seeds differ: epochs 2, 5; steps 6, 15; images seen 80, 200"


def test_network_of_another_family_is_named():
    nets = {"encoder": "resnet", "decoder": "resnet", "discriminator": "convnet"}
    found = table(made_up("gan", model="VAEGAN", nets=nets))
    assert found.loc["gan", "networks"] == "encoder and decoder resnet, discriminator convnet"


def test_unknown_budgets_are_empty_with_the_reason_and_never_marked():
    imported = {"spec": made_up("far", model="VQVAE")["spec"], "parameters": 7, "environment": CPU, "source": {}}
    found = table(made_up("a"), imported, trials={"lost": Tuned(4)})
    assert found.loc["far", "parameters"] == 7
    assert found.loc["far", ["epochs", "steps", "learning_rate", "hours"]].isna().all()
    assert "not known" in found.loc["far", "note"]
    assert found.loc["lost", "note"] == "no training has finished"
    assert list(found["differs"]) == ["", "", ""]
    assert ("–", False) in cells(found.reset_index())[1][1]
    assert in_words(found.reset_index())[0].startswith("Equal for all runs that were trained here: networks compact")
    assert in_words(table(made_up("a"), made_up("b")).reset_index())[0].startswith(
        "Equal for all runs: networks compact"
    )


def test_trials_that_nobody_stated_are_no_number_and_differ_from_stated_ones():
    trials = {"a": Tuned(4), "b": Tuned(4), "new": Tuned()}
    found = table(*(made_up(name) for name in trials), trials=trials)
    assert found.loc["new", "tuning_trials"] is None
    assert found.loc["new", "differs"] == "tuning_trials"
    assert list(table(made_up("a"), made_up("b"))["differs"]) == ["", ""]


def test_a_tuning_s_record_goes_before_what_is_declared(tmp_path):
    record = {"run": "a", "trials": 20, "epochs": 5, "seconds": 7200.0, "format_version": 1}
    (tmp_path / "tuning.json").write_text(json.dumps(record))
    records = [tmp_path / "tuning.json", tmp_path / "not there yet.json"]
    tuned = tuning_costs({"a": None, "b": 20, "c": None}, records)
    assert tuned == {"a": Tuned(20, 5, 2.0), "b": Tuned(20), "c": Tuned()}
    found = table(*(made_up(name) for name in tuned), trials=tuned)
    assert found.loc["a", ["tuning_trials", "tuning_epochs", "tuning_hours"]].to_list() == [20, 5, 2.0]
    equal = table(made_up("a"), made_up("b"), trials={"a": Tuned(20, 5, 2.0), "b": Tuned(20, 5, 3.0)})
    assert list(equal["differs"]) == ["", ""], "hours are not chosen"


def test_words_survive_the_csv_file(tmp_path):
    trainings = [made_up("a"), made_up("b"), made_up("c", epochs=3, training={"learning_rate": 2e-3})]
    frame = budget_table(trainings, dict.fromkeys("abc", Tuned(4)))
    frame.to_csv(tmp_path / "budget.csv", index=False)
    told = in_words(frame)
    assert told[-1] == "c differs in learning rate, epochs."
    assert "batch size 16" in told[0]
    assert "learning rate" not in told[0]
    assert "tuning trials 4" in told[0]
    assert "tuning" not in in_words(budget_table(trainings, dict.fromkeys("abc", Tuned())))[0], "nothing is known of it"
    assert in_words(pd.read_csv(tmp_path / "budget.csv")) == told
    assert cells(pd.read_csv(tmp_path / "budget.csv")) == cells(frame)
