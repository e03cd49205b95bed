"""Several samplers of a run, and one that all runs share: which come first, how they are called, and their table."""

from pathlib import Path

import pandas as pd
import pytest
from fake_study import STATISTICS

from vaebench.base.errors import UserError
from vaebench.config.plan import read_config
from vaebench.config.runs import drawn_runs, expand_runs
from vaebench.metrics.registry import METRICS
from vaebench.metrics.set_names import frechet_name
from vaebench.models.run_spec import Named
from vaebench.results.sampler_table import samplers_table
from vaebench.results.suite_files import write_rows
from vaebench.results.tables import runs_table

METRIC = frechet_name("alexnet", "")
ROOT = Path(__file__).parents[2]


def drawn(tmp_path, text):
    """The samplers of each run by label, under the demo's configuration with `text` merged over it."""
    (tmp_path / "mine.yaml").write_text(text)
    config = read_config([ROOT / "config/config.yaml", ROOT / "config/demo.yaml", tmp_path / "mine.yaml"])
    runs = expand_runs(config)
    found = drawn_runs(config, runs)
    assert {run: next(iter(by.values())) for run, by in found.items()} == runs
    return {run: {label: spec.sampler for label, spec in by.items()} for run, by in found.items()}


def test_a_study_without_several_samplers_has_one_a_run(tmp_path):
    found = drawn(tmp_path, "models: {fsq: {sampler: {name: transformer, options: {width: 64, epochs: 2}}}}")
    assert found["vae"] == {"normal": Named("auto")}
    assert found["fsq"] == {"transformer-epochs2-width64": Named("transformer", {"epochs": 2, "width": 64})}
    assert {len(by) for by in found.values()} == {1}


def test_the_samplers_of_an_entry_are_those_of_each_of_its_runs(tmp_path):
    listed = "samplers: [auto, gaussian_mixture, {name: maf, options: {layers: 2}}]"
    found = drawn(tmp_path, f"models: {{beta_vae: {{{listed}, sweep: {{beta: [2.0, 3.0]}}}}}}")
    expected = {
        "normal": Named("auto"),
        "gaussian_mixture": Named("gaussian_mixture"),
        "maf-layers2": Named("maf", {"layers": 2}),
    }
    assert found["beta_vae-beta2"] == found["beta_vae-beta3"] == expected
    assert list(found["beta_vae-beta2"]) == list(expected)


def test_samplers_go_before_the_sampler_of_a_file_below(tmp_path):
    assert list(drawn(tmp_path, "models: {sigma_vae: {samplers: [maf]}}")["sigma_vae"]) == ["maf"]


def test_a_common_sampler_comes_first_and_once(tmp_path):
    found = drawn(
        tmp_path,
        """
samples: {common: {continuous: gaussian_mixture, codes: {name: transformer, options: {epochs: 2}}}}
models:
  vae: {samplers: [normal, maf]}
  ae: {model: AE, nets: {encoder: compact, decoder: compact}}
""",
    )
    assert list(found["vae"]) == ["gaussian_mixture", "normal", "maf"]
    assert list(found["ae"]) == ["gaussian_mixture"]  # which is also the one behind its `auto`
    assert next(iter(found["vqvae"])) == next(iter(found["fsq"])) == "transformer-epochs2"
    assert len(found["vqvae"]) == 2  # with the one that the demo names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: {vae: {samplers: [maf, maf]}}", "models.vae.samplers: maf is named twice"),
        ("models: {vae: {samplers: [auto, mafia]}}", "models.vae.samplers"),
        (
            "models: {vae: {samplers: [pixelcnn]}}",
            "models.vae.samplers: pixelcnn does not draw continuous, as VAE needs",
        ),
        ("models: {vqvae: {sampler: {name: maf}}}", "models.vqvae.sampler: maf does not draw codes, as VQVAE needs"),
        (
            "samples: {common: {codes: normal}}",
            "samples.common.codes: normal does not draw codes; choose from pixelcnn",
        ),
        ("samples: {common: {continuous: auto}}", "samples.common.continuous: auto does not draw continuous"),
    ],
)
def test_what_cannot_be_is_named_at_the_start(text, message, tmp_path):
    with pytest.raises(UserError, match=message):
        drawn(tmp_path, text)


def test_the_table_has_each_sampler_of_each_run(tmp_path):
    """Two seeds of two runs, one of them by two samplers: a row for each value, and a mean for each pair."""

    def values(folder, run, seed, value):
        folder.mkdir(parents=True)
        row = {"dataset": "d", "run": run, "model": "VAE", "seed": seed, "split": "test", "suite": "generation"}
        row |= {"metric": METRIC, "value": value, "std_error": 0.5, "n": 32, "note": ""}
        write_rows([row, row | {"metric": "mse", "suite": "reconstruction"}], folder / "generation.csv")
        return folder / "generation.csv"

    first = [
        values(tmp_path / f"runs/{run}/seed{seed}/metrics", run, seed, base + seed)
        for run, base in (("a", 10), ("b", 20))
        for seed in (0, 1)
    ]
    further = [values(tmp_path / f"runs/a/seed{seed}/samplers/maf", "a", seed, 30 + seed) for seed in (0, 1)]
    runs_table(first, tmp_path / "runs.csv")
    samplers_table(tmp_path / "runs.csv", further[:1], {"a": ["normal", "maf"], "b": ["normal"]}, tmp_path, STATISTICS)
    assert len(pd.read_csv(tmp_path / "samplers.csv")) == 4 + 2  # of further files all rows, which are of this suite
    samplers_table(tmp_path / "runs.csv", further, {"a": ["normal", "maf"], "b": ["normal"]}, tmp_path, STATISTICS)
    table = pd.read_csv(tmp_path / "samplers.csv")
    table = table[table["metric"] == METRIC]
    found = list(table[["run", "seed", "sampler", "compared", "value"]].itertuples(index=False, name=None))
    assert found == [
        ("a", 0, "normal", True, 10),
        ("a", 1, "normal", True, 11),
        ("a", 0, "maf", False, 30),
        ("a", 1, "maf", False, 31),
        ("b", 0, "normal", True, 20),
        ("b", 1, "normal", True, 21),
    ]
    text = (tmp_path / "samplers.md").read_text()
    rows = [line.split("|")[1:5] for line in text.splitlines() if line.startswith("| a") or line.startswith("| b")]
    assert [[cell.strip() for cell in row[:3]] for row in rows] == [
        ["a", "normal", "VAE"],
        ["a", "maf", "VAE"],
        ["b", "normal", "VAE"],
    ]
    assert [row[3].split()[0] for row in rows] == ["10.50", "30.50", "20.50"]
    assert METRICS[METRIC].headline
