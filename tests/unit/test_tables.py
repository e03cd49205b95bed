"""The tables: what they hold, recomputed from runs.csv with other tools, and what they refuse to claim."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vaebench.errors import UserError
from vaebench.metrics.registry import METRICS
from vaebench.results import COLUMNS, write_per_image
from vaebench.table_formats import decimals, escape, number
from vaebench.tables import PAIRWISE_COLUMNS, SUMMARY_PARTS, pairwise, runs_table, summary

SETTINGS = {"confidence": 0.95, "bootstrap": 400, "baseline": "vae", "seed": 0}
TABLES = ("comparison", "reconstruction", "generation", "latent", "pairwise")
LEVELS = {"vae": 0.05, "beta_vae-beta4.0": 0.06, "vqvae": 0.02}


def context(run, seed, **changes):
    machine = {"packages": {"torch": "2.15.0"}, "device": {"name": "cpu"}}
    return {
        "run": run,
        "seed": seed,
        "split": "test",
        "images": 50,
        "data": {"train": "a" * 64, "test": "b" * 64},
        "protocol": "standard",
        "training_environment": machine,
        "evaluation_environment": machine,
    } | changes


def write_study(folder, seeds=(0, 1, 2), levels=LEVELS, changes=None):
    """Metric files and per-image tables of a small study; `changes` maps (run, seed) to changes of its context."""
    metric_files, per_image = [], []
    for number_, (run, level) in enumerate(levels.items()):
        for seed in seeds:
            random = np.random.default_rng([number_, seed])
            mse = level + 0.002 * random.random(50) + 0.0005 * seed
            home = folder / run / f"seed{seed}"
            home.mkdir(parents=True)
            kl = np.nan if run == "vqvae" else 10 * level
            rows = [("reconstruction", "mse", mse.mean(), "False"), ("latent", "kl", kl, "")]
            for suite, metric, value, better in rows:
                frame = pd.DataFrame(
                    [["digits", run, run[:3], seed, "test", suite, metric, value, "", 50, "", better, ""]],
                    columns=list(COLUMNS),
                )
                frame.to_csv(home / f"{suite}.csv", index=False)
                metric_files.append(home / f"{suite}.csv")
            told = context(run, seed, **(changes or {}).get((run, seed), {}))
            write_per_image(home / "per_image.parquet", [f"{i}.png" for i in range(50)], {"mse": mse}, told)
            per_image.append(home / "per_image.parquet")
    return metric_files, per_image


def summarise(folder, failures=(), expected=tuple(LEVELS), **options):
    metric_files, per_image = write_study(folder / "runs", **options)
    tables = folder / "tables"
    runs_table(metric_files, tables / "runs.csv")
    summary(tables / "runs.csv", per_image, tables, SETTINGS, list(failures), list(expected))
    return tables


def test_every_table_comes_in_three_formats(tmp_path):
    tables = summarise(tmp_path)
    for name in TABLES:
        assert all((tables / f"{name}.{kind}").stat().st_size > 0 for kind in ("csv", "md", "tex"))
    assert tuple(pd.read_csv(tables / "runs.csv").columns) == COLUMNS
    assert tuple(pd.read_csv(tables / "pairwise.csv").columns) == PAIRWISE_COLUMNS
    columns = list(pd.read_csv(tables / "comparison.csv").columns)
    assert columns == ["run", "model", *(f"{m}_{part}" for m in ("mse", "kl") for part in SUMMARY_PARTS), "note"]


def test_the_comparison_follows_from_runs_csv(tmp_path):
    tables = summarise(tmp_path)
    comparison = pd.read_csv(tables / "comparison.csv").set_index("run")
    runs = pd.read_csv(tables / "runs.csv")
    assert list(comparison.index) == list(LEVELS)
    for run in LEVELS:
        values = runs[(runs["run"] == run) & (runs["metric"] == "mse")]["value"]
        low, high = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
        row = comparison.loc[run]
        assert row["mse_mean"] == pytest.approx(values.mean())
        assert (row["mse_ci_low"], row["mse_ci_high"]) == pytest.approx((low, high))
        assert row["mse_n_seeds"] == 3
    assert comparison["mse_rank"].tolist() == [2, 3, 1]
    assert np.isnan(comparison.loc["vqvae", "kl_mean"])
    assert comparison["kl_rank"].isna().all()


def test_tables_do_not_depend_on_the_order_of_files(tmp_path):
    metric_files, per_image = write_study(tmp_path / "runs")
    for name, step in (("a", 1), ("b", -1)):
        runs_table(metric_files, tmp_path / name / "runs.csv")
        summary(tmp_path / name / "runs.csv", per_image[::step], tmp_path / name, SETTINGS, [], list(LEVELS))
    for table in TABLES:
        for kind in ("csv", "md", "tex"):
            assert (tmp_path / f"a/{table}.{kind}").read_bytes() == (tmp_path / f"b/{table}.{kind}").read_bytes()


def test_the_best_is_bold_where_the_intervals_part(tmp_path):
    tables = summarise(tmp_path)
    rows = {
        line.split("|")[1].strip(): line for line in (tables / "comparison.md").read_text().splitlines() if "|" in line
    }
    assert "**" in rows["vqvae"]
    assert "**" not in rows["vae"] + rows["beta_vae-beta4.0"]
    assert r"\textbf{0.02" in (tables / "comparison.tex").read_text()


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_nothing_is_bold_when_nothing_is_certain(seeds, tmp_path):
    """Two runs with the same distribution of errors, whose means differ by chance."""
    tables = summarise(tmp_path, levels={"vae": 0.05, "other": 0.05}, expected=["vae", "other"], seeds=seeds)
    assert "**" not in (tables / "reconstruction.md").read_text().replace("**Note", "")
    pairs = pd.read_csv(tables / "pairwise.csv")
    assert pairs["better"].isna().all()
    assert (pairs["p_holm"] > 0.05).all()


def test_one_seed_has_empty_intervals_and_the_images_decide(tmp_path):
    tables = summarise(tmp_path, seeds=(0,))
    comparison = pd.read_csv(tables / "comparison.csv")
    assert comparison[["mse_sd", "mse_ci_low", "mse_ci_high"]].isna().all().all()
    assert (comparison["mse_n_seeds"] == 1).all()
    text = (tables / "comparison.md").read_text()
    assert "**0.02" in text
    assert "±" not in text.split("Mean over seeds")[0]


def test_pairwise_is_the_mean_difference_over_images(tmp_path):
    metric_files, per_image = write_study(tmp_path / "runs")
    tables = tmp_path / "tables"
    runs_table(metric_files, tables / "runs.csv")
    summary(tables / "runs.csv", per_image, tables, SETTINGS, [], list(LEVELS))
    pairs = pd.read_csv(tables / "pairwise.csv").set_index(["run_a", "run_b"])
    assert len(pairs) == 3
    means = {
        run: np.mean(
            [pd.read_parquet(tmp_path / f"runs/{run}/seed{s}/per_image.parquet")["mse"] for s in range(3)], axis=0
        )
        for run in LEVELS
    }
    difference = means["vae"] - means["vqvae"]
    row = pairs.loc[("vae", "vqvae")]
    assert row["difference"] == pytest.approx(difference.mean())
    reference = stats.bootstrap(
        (difference,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0)
    )
    assert row["ci_low"] == pytest.approx(reference.confidence_interval.low, abs=1e-4)
    assert row["ci_high"] == pytest.approx(reference.confidence_interval.high, abs=1e-4)
    assert row["better"] == "vqvae"
    assert row["n_images"] == 50
    assert bool(row["against_baseline"]) is True
    assert bool(pairs.loc[("beta_vae-beta4.0", "vqvae"), "against_baseline"]) is False


def test_only_images_that_both_saw_are_compared(tmp_path):
    _, per_image = write_study(tmp_path / "runs", seeds=(0,), levels={"vae": 0.05, "vqvae": 0.02})
    table = pd.read_parquet(per_image[1])
    write_per_image(
        per_image[1], table["image"][10:].tolist(), {"mse": table["mse"][10:].to_numpy()}, context("vqvae", 0)
    )
    contexts = [context("vae", 0), context("vqvae", 0)]
    assert pairwise(per_image, contexts, ["vae", "vqvae"], SETTINGS)["n_images"].tolist() == [40]


def test_failed_and_missing_runs_are_listed_and_the_rest_is_made(tmp_path):
    failures = [{"run": "vaegan", "seed": 1, "stage": "training", "reason": "loss became NaN at step 70"}]
    tables = summarise(tmp_path, failures, [*LEVELS, "vaegan", "iwae"])
    comparison = pd.read_csv(tables / "comparison.csv").set_index("run")
    assert comparison.loc["vaegan", "note"] == "vaegan (seed 1) failed in training: loss became NaN at step 70"
    assert comparison.loc["iwae", "note"] == "iwae has no result."
    assert np.isnan(comparison.loc["vaegan", "mse_mean"])
    assert comparison.loc["vae", "mse_mean"] > 0
    for kind in ("md", "tex"):
        assert "loss became NaN at step 70" in (tables / f"comparison.{kind}").read_text()
    assert len(json.loads((tables / "notes.json").read_text())) == 2


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"protocol": "legacy"}, "These results mix 2 protocols. standard: "),
        (
            {"data": {"train": "c" * 64, "test": "b" * 64}},
            "These results mix 2 data sets. test bbbbbbbb, ",
        ),
        ({"images": 7}, "These results mix 2 held-out splits."),
        (
            {"training_environment": {"packages": {"torch": "2.11.0"}, "device": {"name": "NVIDIA A100"}}},
            "These results mix 2 training environments.",
        ),
        ({"evaluation_environment": {"packages": {"torch": "2.11.0"}}}, "These results mix 2 evaluation environments."),
    ],
)
def test_mixtures_are_told(changes, told, tmp_path):
    tables = summarise(tmp_path, changes={("vqvae", 1): changes})
    notes = json.loads((tables / "notes.json").read_text())
    assert len(notes) == 1
    assert notes[0].startswith(told)
    assert "vqvae (seed 1)" in notes[0]
    for name in TABLES:
        assert told.partition(".")[0] in (tables / f"{name}.md").read_text()
        assert told.partition(".")[0] in (tables / f"{name}.tex").read_text()
    assert pd.read_csv(tables / "comparison.csv")["note"].str.startswith(told.partition(".")[0]).all()


def test_a_uniform_study_has_no_notes(tmp_path):
    assert json.loads((summarise(tmp_path) / "notes.json").read_text()) == []


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"x\.csv: not a metrics file: it has no column 'dataset'"):
        runs_table([tmp_path / "x.csv"], tmp_path / "runs.csv")
    assert not (tmp_path / "runs.csv").exists()


def test_numbers_keep_four_digits_of_the_largest():
    assert decimals(pd.Series([0.0266, 0.9])) == 4
    assert decimals(pd.Series([0.0266, 0.001])) == 5
    assert decimals(pd.Series([178.2, 3.0])) == 1
    assert decimals(pd.Series([123456.0])) == 0
    assert decimals(pd.Series([np.nan, 0.0])) == 0
    assert number(0.02664, np.nan, 5, "markdown") == "0.02664"
    assert number(-0.5, 0.25, 2, "latex") == r"$-$0.50 $\pm$ 0.25"
    assert number(np.nan, np.nan, 2, "markdown") == ""


def test_latex_is_escaped():
    assert escape("beta_vae 95 % & ±") == r"beta\_vae 95 \% \& $\pm$"


def test_the_registrys_units_and_arrows_head_the_columns(tmp_path):
    tables = summarise(tmp_path)
    assert "| MSE ↓ | KL (nats/image) |" in (tables / "comparison.md").read_text()
    assert r"MSE $\downarrow$ & KL (nats/image)" in (tables / "comparison.tex").read_text()
    assert METRICS["kl"].unit == "nats/image"
