"""The tables: what they hold, recomputed from runs.csv with other tools, and what they refuse to claim."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vaebench.base.errors import UserError
from vaebench.base.evaluation_settings import GIVEN, TRAINED_ON
from vaebench.metrics.registry import METRICS
from vaebench.results import pairwise
from vaebench.results.statistics import StatisticsSettings
from vaebench.results.suite_files import COLUMNS, write_per_image, write_rows
from vaebench.results.table_formats import decimals, escape, heading, number
from vaebench.results.tables import RUNS_COLUMNS, SUMMARY_PARTS, Expected, runs_table, summary

SETTINGS = StatisticsSettings(confidence=0.95, baseline="vae")
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
        "training_precision": "fp32",
        "evaluation_environment": machine,
    } | changes


def write_study(folder, seeds=(0, 1, 2), levels=LEVELS, changes=None, spread=0.0005, std_error="", lost=()):
    """Metric files and per-image tables of a small study; `changes` maps (run, seed) to changes of its context.

    A run's MSE is its level, plus what is each image's and each training's own; FD is without values by image.
    `lost` holds (run, seed) of trainings whose MSE is not finite for one image.
    """
    metric_files, per_image = [], []
    for number_, (run, level) in enumerate(levels.items()):
        for seed in seeds:
            random = np.random.default_rng([number_, seed])
            mse = level + 0.002 * random.random(50) + spread * random.normal()
            mse[3] = np.nan if (run, seed) in lost else mse[3]
            home = folder / run / f"seed{seed}"
            home.mkdir(parents=True)
            rate = "" if run == "vqvae" else 10 * level
            found = "" if np.isnan(mse).any() else mse.mean()
            note = "" if found else "not a finite number for 1 of 50 images"
            frechet = 1000 * level + 1000 * spread * random.normal()
            rows = [
                ("reconstruction", "mse", found, pd.Series(mse).sem(), note),
                ("latent", "rate", rate, "", ""),
            ]
            rows += [("generation", "fd_vgg16", frechet, std_error, "")]
            for suite, metric, value, error, why in rows:
                texts = ["" if part == "" or np.isnan(part) else repr(float(part)) for part in (value, error)]
                row = ["digits", run, run[:3], seed, "test", suite, metric, *texts, 50, why]
                write_rows([dict(zip(COLUMNS, row, strict=True))], home / f"{suite}.csv")
                metric_files.append(home / f"{suite}.csv")
            told = context(run, seed, **(changes or {}).get((run, seed), {}))
            write_per_image(home / "per_image.parquet", [f"{i}.png" for i in range(50)], {"mse": mse}, told)
            per_image.append(home / "per_image.parquet")
    return metric_files, per_image


def summarise(folder, failures=(), expected=tuple(LEVELS), **options):
    metric_files, per_image = write_study(folder / "runs", **options)
    tables = folder / "tables"
    runs_table(metric_files, tables / "runs.csv")
    summary(tables / "runs.csv", per_image, tables, SETTINGS, Expected(list(expected), list(failures)))
    return tables


def test_every_table_comes_in_three_formats(tmp_path):
    tables = summarise(tmp_path)
    for name in TABLES:
        assert all((tables / f"{name}.{kind}").stat().st_size > 0 for kind in ("csv", "md", "tex"))
    assert tuple(pd.read_csv(tables / "runs.csv").columns) == RUNS_COLUMNS
    assert tuple(pd.read_csv(tables / "pairwise.csv").columns) == pairwise.COLUMNS
    columns = list(pd.read_csv(tables / "comparison.csv").columns)
    assert columns == [
        "run",
        "model",
        *(f"{m}_{part}" for m in ("mse", "rate", "fd_vgg16") for part in SUMMARY_PARTS),
        "note",
    ]


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
    assert np.isnan(comparison.loc["vqvae", "rate_mean"])
    assert comparison["rate_rank"].isna().all()


def test_tables_do_not_depend_on_the_order_of_files(tmp_path):
    metric_files, per_image = write_study(tmp_path / "runs")
    for name, step in (("a", 1), ("b", -1)):
        runs_table(metric_files, tmp_path / name / "runs.csv")
        summary(tmp_path / name / "runs.csv", per_image[::step], tmp_path / name, SETTINGS, Expected(list(LEVELS)))
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


def test_a_run_without_results_marks_no_other(tmp_path):
    """One seed of each run, and one run that failed."""
    text = (summarise(tmp_path, seeds=(0,), expected=[*LEVELS, "lost"]) / "comparison.md").read_text()
    assert "| lost |" in text
    assert "†" not in text


def test_a_run_of_one_seed_among_others_is_marked(tmp_path):
    metric_files, per_image = write_study(tmp_path / "runs", std_error=0.5)
    metric_files, per_image = (
        [path for path in paths if path.parts[-3] != "vae" or "seed0" in path.parts]
        for paths in (metric_files, per_image)
    )
    runs_table(metric_files, tmp_path / "runs.csv")
    summary(tmp_path / "runs.csv", per_image, tmp_path, SETTINGS, Expected(list(LEVELS)))
    text = (tmp_path / "comparison.md").read_text()
    rows = {line.split("|")[1].strip(" *"): line.count("†") for line in text.splitlines() if line.startswith("|")}
    assert {run: rows[run] for run in LEVELS} == {run: 2 * (run == "vae") for run in LEVELS}
    assert "† a single seed: half the interval over images or samples, for this trained model" in text
    assert r"$^\dagger$" in (tmp_path / "comparison.tex").read_text()


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_nothing_is_bold_when_nothing_is_certain(seeds, tmp_path):
    """Two runs with the same distribution of errors, whose means differ by chance."""
    levels = {"vae": 0.05, "other": 0.05}
    tables = summarise(tmp_path, levels=levels, expected=["vae", "other"], seeds=seeds, spread=0.0001, std_error=0.3)
    assert "**" not in (tables / "reconstruction.md").read_text().replace("**Note:**", "")
    pairs = pd.read_csv(tables / "pairwise.csv")
    assert set(pairs["metric"]) == {"mse", "fd_vgg16"}
    assert pairs["better"].isna().all()
    assert (pairs["p_holm"] > 0.05).all()


def test_one_seed_has_intervals_over_images_and_says_so(tmp_path):
    tables = summarise(tmp_path, seeds=(0,), std_error=0.5)
    comparison = pd.read_csv(tables / "comparison.csv").set_index("run")
    assert comparison[["mse_sd", "fd_vgg16_sd"]].isna().all().all()
    assert (comparison["mse_n_seeds"] == 1).all()
    mse = pd.read_parquet(tmp_path / "runs/vae/seed0/per_image.parquet")["mse"]
    low, high = stats.t.interval(0.95, 49, loc=mse.mean(), scale=mse.sem())
    assert tuple(comparison.loc["vae", ["mse_ci_low", "mse_ci_high"]]) == pytest.approx((low, high))
    row = comparison.loc["vae"]
    half = stats.t.ppf(0.975, 9) * 0.5  # its error is a jackknife's over ten groups
    assert row["fd_vgg16_ci_high"] - row["fd_vgg16_mean"] == pytest.approx(half)
    text = (tables / "comparison.md").read_text()
    assert "**0.02" in text
    assert "One training of each run ± half its 95 % interval over images or samples." in text
    assert "†" not in text, "what holds for every cell is said once"
    *notes, precision = json.loads((tables / "notes.json").read_text())
    assert precision == "All models were trained in float32."
    assert notes == [
        "Every run has one seed: intervals and comparisons are over images or samples and hold for these trained "
        "models only; another training may rank otherwise."
    ]


def test_one_seed_without_a_standard_error_is_not_tested(tmp_path):
    tables = summarise(tmp_path, seeds=(0,))
    comparison = pd.read_csv(tables / "comparison.csv")
    assert comparison[["fd_vgg16_ci_low", "fd_vgg16_ci_high"]].isna().all().all()
    assert comparison["fd_vgg16_rank"].tolist() == [2, 3, 1]
    assert not comparison["fd_vgg16_best"].any()
    pairs = pd.read_csv(tables / "pairwise.csv").query("metric == 'fd_vgg16'")
    assert pairs["p_value"].isna().all()
    assert (pairs["note"] == "one seed without a standard error: not tested").all()
    assert pairs["difference"].notna().all()
    assert "one seed without a standard error" in (tables / "pairwise.md").read_text()


def welch_parts(x, y):
    """The variances and degrees of freedom that a comparison adds up, from values by image and training."""
    difference = x.mean(1) - y.mean(1)
    variances = [
        x.mean(0).var(ddof=1) / x.shape[1],
        y.mean(0).var(ddof=1) / y.shape[1],
        difference.var(ddof=1) / len(x),
    ]
    return variances, [x.shape[1] - 1, y.shape[1] - 1, len(x) - 1]


def per_image_of(folder, run, seeds):
    return np.stack([pd.read_parquet(folder / f"{run}/seed{s}/per_image.parquet")["mse"] for s in seeds], axis=1)


def test_with_several_seeds_trainings_and_images_are_the_sample(tmp_path):
    tables = summarise(tmp_path, spread=0.004)
    pairs = pd.read_csv(tables / "pairwise.csv").query("metric == 'mse'").set_index(["run_a", "run_b"])
    assert len(pairs) == 3
    row = pairs.loc[("vae", "vqvae")]
    x, y = (per_image_of(tmp_path / "runs", run, range(3)) for run in ("vae", "vqvae"))
    assert row["difference"] == pytest.approx(x.mean() - y.mean())
    variances, freedoms = welch_parts(x, y)
    quantiles = [stats.t.ppf(0.975, freedom) for freedom in freedoms]
    half = np.sqrt(sum(t**2 * v for t, v in zip(quantiles, variances, strict=True)))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((x.mean() - y.mean() - half, x.mean() - y.mean() + half))
    quantiles = [stats.t.ppf(1 - row["p_value"] / 2, freedom) for freedom in freedoms]
    assert row["difference"] ** 2 == pytest.approx(sum(t**2 * v for t, v in zip(quantiles, variances, strict=True)))
    assert row["holds_for"] == "other trainings and images"
    assert row["n_images"] == 50
    assert bool(row["against_baseline"]) is True
    assert bool(pairs.loc[("beta_vae-beta4.0", "vqvae"), "against_baseline"]) is False


def test_a_difference_within_the_spread_of_trainings_is_none_however_many_images_agree(tmp_path):
    """Every image is better under one run, and another training would turn it round."""
    tables = summarise(tmp_path, levels={"a": 0.050, "b": 0.053}, expected=["a", "b"], spread=0.003)
    x, y = (per_image_of(tmp_path / "runs", run, range(3)) for run in "ab")
    assert stats.ttest_rel(x.mean(1), y.mean(1)).pvalue < 1e-6
    row = pd.read_csv(tables / "pairwise.csv").query("metric == 'mse'").iloc[0]
    assert row["p_value"] > stats.ttest_ind(x.mean(0), y.mean(0), equal_var=False).pvalue > 0.05
    assert pd.isna(row["better"])


def test_with_one_seed_it_is_the_paired_test_over_images(tmp_path):
    tables = summarise(tmp_path, seeds=(0,), levels={"vae": 0.05, "vqvae": 0.0501}, expected=["vae", "vqvae"])
    row = pd.read_csv(tables / "pairwise.csv").query("metric == 'mse'").iloc[0]
    x, y = (per_image_of(tmp_path / "runs", run, [0])[:, 0] for run in ("vae", "vqvae"))
    reference = stats.ttest_rel(x, y)
    assert row["p_value"] == pytest.approx(reference.pvalue)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(reference.confidence_interval(0.95)))
    assert row["holds_for"] == "these two trained models"
    assert "these two trained models" in (tables / "pairwise.md").read_text()


def test_one_trained_model_against_several_trainings_says_which_is_which(tmp_path):
    metric_files, per_image = write_study(tmp_path / "runs", levels={"bought": 0.05, "vae": 0.02})
    kept = [path for path in metric_files if path.parent.parent.name == "vae" or path.parent.name == "seed0"]
    images = [path for path in per_image if path.parent.parent.name == "vae" or path.parent.name == "seed0"]
    runs_table(kept, tmp_path / "runs.csv")
    summary(tmp_path / "runs.csv", images, tmp_path, SETTINGS, Expected(["bought", "vae"]))
    row = pd.read_csv(tmp_path / "pairwise.csv").query("metric == 'mse'").iloc[0]
    x, y = per_image_of(tmp_path / "runs", "bought", [0]), per_image_of(tmp_path / "runs", "vae", range(3))
    difference = x.mean(1) - y.mean(1)
    variances = [y.mean(0).var(ddof=1) / 3, difference.var(ddof=1) / 50]
    half = np.sqrt(stats.t.ppf(0.975, 2) ** 2 * variances[0] + stats.t.ppf(0.975, 49) ** 2 * variances[1])
    assert row["ci_high"] - row["difference"] == pytest.approx(half)
    assert row["holds_for"] == "this one trained model of bought, other trainings of vae"
    assert json.loads((tmp_path / "notes.json").read_text())[0].startswith("One seed each have bought: their intervals")


def test_equal_values_are_no_difference_whatever_the_rounding_of_their_means():
    """A mean over three trainings that are the same rounds otherwise than the value of one."""
    images = pd.DataFrame({"one": np.random.default_rng(0).normal(0.4, 0.01, 200)})
    three = pd.concat([images] * 3, axis=1)
    values = three.mean().to_numpy()
    runs = [
        pairwise.Trainings("three", values, np.nan, 200, three),
        pairwise.Trainings("one", values[:1], 1e-3, 200, images),
    ]
    assert three.to_numpy().mean() != images.to_numpy().mean()
    (row,) = pairwise.compare_all("ssim", runs, SETTINGS)
    assert (row["difference"], row["p_value"], row["better"]) == (0, 1, "")


def test_metrics_without_values_by_image_are_compared_over_seeds(tmp_path):
    tables = summarise(tmp_path, spread=0.002)
    values = pd.read_csv(tables / "runs.csv").query("metric == 'fd_vgg16'").groupby("run")["value"].apply(np.array)
    row = (
        pd.read_csv(tables / "pairwise.csv")
        .query("metric == 'fd_vgg16' and run_a == 'vae' and run_b == 'vqvae'")
        .iloc[0]
    )
    x, y = values["vae"], values["vqvae"]
    half = stats.t.ppf(0.975, 2) * np.sqrt(x.var(ddof=1) / 3 + y.var(ddof=1) / 3)
    assert row["ci_high"] - row["difference"] == pytest.approx(half)
    assert row["p_value"] == pytest.approx(2 * stats.t.sf(abs(row["difference"]) / (half / stats.t.ppf(0.975, 2)), 2))
    assert pd.isna(row["n_images"])
    assert row["holds_for"] == "other trainings, these held-out images"


def test_only_what_can_be_compared_is_compared(tmp_path):
    """No direction, no ranks and no pairs: rate, KL, a codebook's use and commitment, what legacy calls alike."""
    assert set(pd.read_csv(summarise(tmp_path) / "pairwise.csv")["metric"]) == {"mse", "fd_vgg16"}
    for name in ("kl", "rate", "vq_commitment", "legacy_bce", "legacy_elbo", "legacy_vq_loss", "legacy_recon_loss"):
        assert METRICS[name].higher_is_better is None
    for name in ("codebook_perplexity", "codes_used"):  # a codebook of 1000 codes has more of both than one of 256
        assert METRICS[name].higher_is_better is None


def test_only_images_that_both_saw_are_compared(tmp_path):
    metric_files, per_image = write_study(
        tmp_path / "runs", seeds=(0,), levels={"vae": 0.05, "vqvae": 0.02, "ae": 0.03}
    )
    for path, ids in ((per_image[1], slice(10, None)), (per_image[2], slice(0, 11))):
        table = pd.read_parquet(path)[ids]
        write_per_image(path, table["image"].tolist(), {"mse": table["mse"].to_numpy()}, context(path.parts[-3], 0))
    runs_table(metric_files, tmp_path / "runs.csv")
    summary(tmp_path / "runs.csv", per_image, tmp_path, SETTINGS, Expected(["vae", "vqvae", "ae"]))
    pairs = pd.read_csv(tmp_path / "pairwise.csv").query("metric == 'mse'")
    assert [(row.run_a, row.run_b, row.n_images) for row in pairs.itertuples()] == [
        ("vae", "vqvae", 40), ("vae", "ae", 11)
    ]  # fmt: skip


def test_a_seed_without_a_value_counts_nowhere(tmp_path):
    """One image without a finite value empties the mean of a training: comparison and pairwise leave that seed out."""
    tables = summarise(tmp_path, lost=[("vae", 1)])
    comparison = pd.read_csv(tables / "comparison.csv").set_index("run")
    x = per_image_of(tmp_path / "runs", "vae", [0, 2])
    assert comparison.loc["vae", "mse_n_seeds"] == 2
    assert comparison.loc["vae", "mse_mean"] == pytest.approx(x.mean())
    row = pd.read_csv(tables / "pairwise.csv").query("metric == 'mse' and run_a == 'vae' and run_b == 'vqvae'").iloc[0]
    assert (row["n_seeds_a"], row["n_seeds_b"], row["n_images"]) == (2, 3, 50)
    assert row["difference"] == pytest.approx(comparison.loc["vae", "mse_mean"] - comparison.loc["vqvae", "mse_mean"])
    told = (
        "vae has no value of mse for seed 1 (not a finite number for 1 of 50 images): means, intervals and comparisons "
        "are of the other 2 of 3 seeds."
    )
    assert comparison.loc["vae", "note"] == told
    assert told in json.loads((tables / "notes.json").read_text())
    assert told in (tables / "comparison.md").read_text()


def test_p_values_have_no_floor_in_a_large_study(tmp_path):
    """25 runs of one seed, clearly apart: 300 pairs, and a bootstrap of 2,000 could not have gone below p = 0.3."""
    levels = {f"run{number}": 0.01 + 0.01 * number for number in range(25)}
    pairs = pd.read_csv(summarise(tmp_path, levels=levels, expected=list(levels), seeds=(0,)) / "pairwise.csv")
    pairs = pairs.query("metric == 'mse'")
    assert len(pairs) == 300
    assert (pairs["p_holm"] < 1e-6).all()
    assert pairs["better"].tolist() == pairs["run_a"].tolist()


def test_of_one_pair_no_correction_is_told(tmp_path):
    levels = {"one": 0.02, "other": 0.02001}
    tables = summarise(tmp_path, levels=levels, expected=list(levels), spread=0.001, seeds=(0, 1))
    (told, _) = json.loads((tables / "notes.json").read_text())
    needed = stats.t.ppf(1 - 0.025, 1)
    assert told.startswith(
        f"With 2 seeds, a difference reaches the level 0.05 only where two runs lie {needed:.0f} standard deviations"
    )
    assert told.endswith("(column detectable of pairwise.csv).")


def test_a_correction_out_of_reach_is_told(tmp_path):
    levels = {f"run{number}": 0.02 + 0.00001 * number for number in range(6)}
    tables = summarise(tmp_path, levels=levels, expected=list(levels), spread=0.001)
    needed = stats.t.ppf(1 - 0.025 / 15, 2) * np.sqrt(2 / 3)
    notes = json.loads((tables / "notes.json").read_text())
    assert len(notes) == 2
    assert notes[0].startswith(
        "With 3 seeds, Holm's correction over 15 pairs of runs reaches the level 0.05 only where two runs lie "
        f"{needed:.0f} standard deviations of a training apart, with 4 seeds "
    )
    assert notes[0] in (tables / "pairwise.md").read_text()
    pairs = pd.read_csv(tables / "pairwise.csv")
    assert (pairs["note"] == "Holm's correction over 15 pairs hardly reaches the level with 3 seeds").all()
    row = pairs.query("metric == 'fd_vgg16'").iloc[0]
    factor = stats.t.ppf(1 - 0.025 / 15, 2) / stats.t.ppf(0.975, 2)
    assert row["detectable"] == pytest.approx(factor * (row["ci_high"] - row["difference"]))


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
    assert len(json.loads((tables / "notes.json").read_text())) == 3


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
        ({"training_precision": "bf16"}, "These results mix 2 training precisions. float32: "),
        ({"training_precision": "bf16, then fp32"}, "These results mix 2 training precisions. float32: "),
    ],
)
def test_mixtures_are_told(changes, told, tmp_path):
    tables = summarise(tmp_path, changes={("vqvae", 1): changes})
    notes = json.loads((tables / "notes.json").read_text())
    assert len(notes) == (1 if "precision" in told else 2)
    assert notes[0].startswith(told)
    assert "vqvae (seed 1)" in notes[0]
    for name in TABLES:
        assert told.partition(".")[0] in (tables / f"{name}.md").read_text()
        assert told.partition(".")[0] in (tables / f"{name}.tex").read_text()
    assert pd.read_csv(tables / "comparison.csv")["note"].str.startswith(told.partition(".")[0]).all()


@pytest.mark.parametrize(("precision", "told"), [("fp32", "float32."), ("bf16", "bfloat16 (networks; losses and ")])
def test_a_uniform_study_has_no_note_but_its_precision(precision, told, tmp_path):
    changes = {(run, seed): {"training_precision": precision} for run in LEVELS for seed in (0, 1, 2)}
    tables = summarise(tmp_path, changes=changes)
    (note,) = json.loads((tables / "notes.json").read_text())
    assert note.startswith(f"All models were trained in {told}")
    for name in TABLES:
        assert note in (tables / f"{name}.md").read_text()


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
    assert escape("10^5 | ≤") == r"10\textasciicircum{}5 \textbar{} $\le$"
    assert escape("β-VAE") == r"$\beta$-VAE"
    assert escape("λΛςΨ") == r"$\lambda$$\Lambda$$\sigma$$\Psi$"
    assert escape("Δ in µm, −1") == r"$\Delta$ in $\mu$m, $-$1"


def test_label_and_unit_of_a_plugin_s_metric_are_escaped(monkeypatch):
    odd = replace(METRICS["rate"], label="Δ of x_1", unit="%")
    monkeypatch.setattr("vaebench.results.table_formats.describe", lambda name: odd)
    assert heading("odd", "latex") == r"$\Delta$ of x\_1 (\%)"
    assert heading("odd", "markdown") == "Δ of x_1 (%)"


def test_the_registrys_units_and_arrows_head_the_columns(tmp_path):
    tables = summarise(tmp_path)
    assert "| MSE ↓ | rate (nats/image) |" in (tables / "comparison.md").read_text()
    assert r"MSE $\downarrow$ & rate (nats/image)" in (tables / "comparison.tex").read_text()
    assert METRICS["rate"].unit == "nats/image"


def test_a_conditional_model_is_said_to_leave_out_what_its_labels_cost(tmp_path):
    metric_files, per_image = write_study(tmp_path / "runs")
    for path in metric_files:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
        bounds = rows[rows["metric"] == "mse"].assign(metric="neg_elbo", value="9.5", note="4 draws an image")
        bounds.loc[bounds["run"] == "vqvae", "note"] += f"{GIVEN}class"
        write_rows([*rows.to_dict("records"), *bounds.to_dict("records")], path)
    runs_table(metric_files, tmp_path / "runs.csv")
    summary(tmp_path / "runs.csv", per_image, tmp_path, SETTINGS, Expected(list(LEVELS)))
    notes = pd.read_csv(tmp_path / "comparison.csv", keep_default_na=False).set_index("run")["note"]
    assert "vqvae is given labels: its rate and bounds leave out what these would cost" in notes["vqvae"]
    assert "labels" not in notes["vae"]
    assert sum("is given labels" in note for note in json.loads((tmp_path / "notes.json").read_text())) == 1


def test_a_metric_that_a_model_was_trained_on_is_marked(tmp_path):
    metric_files, per_image = write_study(tmp_path / "runs")
    for path in metric_files:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        judged = (frame["run"] == "vqvae") & (frame["metric"] == "fd_vgg16")
        frame.loc[judged, "note"] = f"50 generated against 50 held-out images; {TRAINED_ON}"
        write_rows(frame.to_dict("records"), path)
    runs_table(metric_files, tmp_path / "runs.csv")
    summary(tmp_path / "runs.csv", per_image, tmp_path, SETTINGS, Expected(list(LEVELS)))
    for name in ("comparison", "generation"):
        lines = (tmp_path / f"{name}.md").read_text().splitlines()
        marked = [line for line in lines if line.startswith("|") and "‡" in line]
        assert [line.split("|")[1].strip(" *") for line in marked] == ["vqvae"]
        assert marked[0].count("‡") == 1
        assert any("‡ measured by the network that the model was trained on" in line for line in lines)
    assert "‡" not in (tmp_path / "latent.md").read_text().split("|")[-2]
    notes = pd.read_csv(tmp_path / "comparison.csv", keep_default_na=False).set_index("run")["note"]
    told = "vqvae was trained on the network of some of its metrics (‡)."
    assert told in notes["vqvae"]
    assert told not in notes["vae"]
    assert told in json.loads((tmp_path / "notes.json").read_text())
    assert "‡" not in (summarise(tmp_path / "other") / "comparison.md").read_text()
