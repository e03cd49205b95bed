"""`make check-quality`: references and comparisons on made tables, and how often nothing at all is called a change."""

import math
from argparse import Namespace

import numpy as np
import pandas as pd
import pytest
from check_quality import FURTHER, left_out
from quality_reference import ALARM, CHECKED, compare, read, references, sentence
from scipy import stats

from vaebench.config.plan import read_config
from vaebench.config.runs import expand_runs

FAMILIES = {"vae": "VAE", "fsq": "QuantizedAE", "vaegan": "VAEGAN"}


def values(seeds=8, metrics=("mse", "rate"), runs=FAMILIES):
    """Made values: the mean of a run's metric is 10, its standard deviation over seeds about 1."""
    generator = np.random.default_rng(0)
    rows = [
        (run, FAMILIES.get(run, "New"), metric, seed, 10 + generator.normal())
        for run in runs
        for metric in metrics
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows, columns=["run", "model", "metric", "seed", "value"])


@pytest.fixture
def known():
    return references(values())


@pytest.fixture
def again():
    """The seeds of a check, as they were."""
    return values().query("seed in @CHECKED").reset_index(drop=True)


def moved_by(again, known, run, metric, spreads):
    """The check's values, one metric of one run moved by so many standard deviations over seeds."""
    chosen = (again["run"] == run) & (again["metric"] == metric)
    sd = known.set_index(["run", "metric"])["sd"][run, metric]
    return again.assign(value=again["value"] + spreads * sd * chosen)


def test_references_hold_the_check_s_mean_and_the_spread_over_all_seeds(known):
    table = values()
    for _, row in known.iterrows():
        own = table[(table["run"] == row["run"]) & (table["metric"] == row["metric"])]["value"].to_numpy()
        assert row["value"] == pytest.approx(own[:3].mean())
        assert row["sd"] == pytest.approx(own.std(ddof=1))
        quantile = stats.t.ppf(1 - ALARM / len(known) / 2, df=7)
        assert row["bound"] == pytest.approx(quantile * own.std(ddof=1) * math.sqrt(2 / 3))


def test_nothing_moved(known, again):
    result = compare(known, again)
    assert result.passed
    assert (result.equal, result.compared) == (6, 6)
    assert result.lines() == ["0 of 6 values moved; 6 are what they were."]


@pytest.mark.parametrize(("spreads", "way"), [(20, "up"), (-20, "down")])
def test_what_moved_is_named_with_family_metric_and_by_how_much(known, again, spreads, way):
    result = compare(known, moved_by(again, known, "fsq", "rate", spreads))
    assert not result.passed
    line, count = result.lines()
    bound = known["bound"].iloc[0] / known["sd"].iloc[0]
    assert line.startswith("fsq (QuantizedAE), rate: ")
    assert line.endswith(f", {way} 20 spreads (bound {bound:.2g})")
    assert count == "1 of 6 values moved; 5 are what they were."


def test_a_change_within_the_bound_is_told_and_is_none(known, again):
    result = compare(known, moved_by(again, known, "vae", "mse", 2))
    assert result.passed
    assert result.lines()[0] == "0 of 6 values moved; 5 are what they were."
    assert result.lines()[1].startswith("Nearest to its bound of the others: vae (VAE), mse: ")
    assert "up 2 spreads" in result.lines()[1]


def test_missing_and_new_families_and_metrics_are_named(known, again):
    gone = compare(known, again[(again["run"] != "vaegan") & ~((again["run"] == "vae") & (again["metric"] == "mse"))])
    assert (gone.missing, gone.new, gone.passed) == (("vae mse", "vaegan"), (), False)
    assert "vaegan: missing, quality.csv has it" in gone.lines()
    more = compare(known, pd.concat([again, values(3, runs=["wae"])]))
    assert (more.missing, more.new, more.passed) == ((), ("wae",), False)
    assert "wae: new, quality.csv does not have it" in more.lines()


def test_values_that_no_seed_moves_are_allowed_their_rounding_only():
    constant = values().assign(value=32.0)
    known = references(constant)
    again = constant.query("seed in @CHECKED")
    assert compare(known, again.assign(value=32.0 * (1 + 1e-7))).passed
    result = compare(known, again.assign(value=31.0))
    assert len(result.moved) == 6
    assert "down 1, where all seeds were equal" in sentence(result.moved.iloc[0])


def test_references_need_the_seeds_of_a_check():
    for seeds in ("seed < 1", "seed > 1"):
        with pytest.raises(ValueError, match="of every run"):
            references(values().query(seeds))


def test_other_draws_of_the_same_seeds_are_hardly_ever_called_a_change():
    """What another processor does at worst: seeds unrelated to the reference's. 4,000 simulated values."""
    generator, count = np.random.default_rng(1), 4000
    old, new = generator.normal(size=(count, 8)), generator.normal(size=(count, 3))
    for p in (0.05, 0.01):
        bound = stats.t.ppf(1 - p / 2, df=7) * old.std(axis=1, ddof=1) * math.sqrt(2 / 3)
        called = np.mean(np.abs(new.mean(axis=1) - old[:, :3].mean(axis=1)) > bound)
        assert called < p + 4 * math.sqrt(p * (1 - p) / count)


def test_the_shipped_references_are_of_the_shipped_study():
    config = read_config(["config/config.yaml", "benchmarks/quality.yaml"])
    runs, known = expand_runs(config), read("benchmarks/results/quality.csv")
    assert set(known["run"]) == set(runs)
    assert {run: str(spec.model) for run, spec in runs.items()} == dict(zip(known["run"], known["model"], strict=True))
    assert known["seeds"].between(5, len(config["seeds"])).all()
    assert set(CHECKED) < set(config["seeds"])
    assert (known["bound"] > 0).all()
    assert not known.duplicated(["run", "metric"]).any()


def families(study):
    """The models of a study, with their quantiser, and whether a discriminator trains with them."""
    runs = expand_runs(read_config(["config/config.yaml", study])).values()
    return {(str(run.model), *run.config.get("quantizer", ()), "adversarial" in run.config) for run in runs}


@pytest.mark.parametrize("study", ["config/zoo.yaml", "config/modern.yaml"])
def test_every_family_that_is_offered_has_references(study):
    adversarial_vq = ("QuantizedAE", "vq", True)  # of VQGAN, with LPIPS, which takes ten times as long as all else
    assert families(study) - {adversarial_vq} <= families("benchmarks/quality.yaml")


@pytest.mark.parametrize(
    ("given", "trained"),
    [
        ({}, {"vae", "fsq"}),
        ({"all": True}, {"vae", "fsq", *FURTHER}),
        ({"write": True}, {"vae", "fsq", *FURTHER}),
        ({"runs": ["lfq"]}, {"lfq"}),
    ],
)
def test_what_a_check_trains(given, trained):
    runs = ["vae", "fsq", *FURTHER]
    options = Namespace(**{"all": False, "write": False, "runs": [], **given})
    assert {*runs} - left_out(runs, options) == trained


def test_the_models_that_are_left_out_are_of_the_study():
    assert {*FURTHER} <= set(read("benchmarks/results/quality.csv")["run"])
