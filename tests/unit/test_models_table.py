"""docs/models.md has every model."""

import csv
from pathlib import Path

from vaebench.models.lookup import MODELS
from vaebench.models.providers.quantizers.catalog import QUANTIZERS
from vaebench.report.generated_docs import chosen_columns, model_table, read_steps
from vaebench.report.model_notes import NOTES

STEPS = Path("benchmarks/results/steps.csv")


def test_every_model_and_quantiser_has_a_row_with_all_its_cells():
    rows = [line.strip("| ").split(" | ") for line in model_table(read_steps(STEPS)).splitlines()]
    assert {len(row) for row in rows[:1] + rows[2:]} <= {9, 10}, "ten cells; the last may be empty"
    shown = {row[0].replace("`", "") for row in rows[2:]}
    quantizers = {f"QuantizedAE, {name}" for name in QUANTIZERS.options if name != "hierarchical"}
    assert shown == set(MODELS) - {"QuantizedAE"} | quantizers
    assert all(row[8] for row in rows[2:]), "the cost of a step"


def test_every_note_is_of_a_model_and_every_cost_was_measured():
    assert {name.partition(":")[0] for name in NOTES} == set(MODELS)
    with open(STEPS, newline="") as file:
        found = {row["model"]: float(row["of_vae"]) for row in csv.DictReader(file)}
    assert found["VAE"] == 1
    assert set(found) == set(MODELS)


def test_the_readme_shows_some_columns_of_the_comparison():
    page = """# Headline metrics

| Run | Model | MSE ↓ | active units (dims) | coverage (alexnet) ↑ |
| --- | --- | --- | --- | --- |
| vae | VAE | 0.5 ± 0.1 | 32 | **0.3** |
| ae | AE |  | 8 | 0.2 |

What it means.
"""
    assert chosen_columns(page).splitlines() == [
        "| Run | MSE ↓ | coverage (alexnet) ↑ |",
        "| --- | --- | --- |",
        "| vae | 0.5 ± 0.1 | **0.3** |",
        "| ae |  | 0.2 |",
    ]
