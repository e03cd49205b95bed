"""Intervals, bootstrap, Holm's correction and ranks against SciPy and closed forms."""

import numpy as np
import pytest
from scipy import stats

from vaebench.statistics import bootstrap_means, holm, paired_comparison, ranks, seed_summary


def test_the_interval_is_students():
    values = np.array([0.31, 0.35, 0.29, 0.4])
    ours = seed_summary(values, 0.95)
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    assert (ours["ci_low"], ours["ci_high"]) == pytest.approx((low, high), rel=1e-10)
    assert ours["mean"] == pytest.approx(values.mean())
    assert ours["sd"] == pytest.approx(values.std(ddof=1))
    assert ours["n_seeds"] == 4


def test_one_seed_has_no_interval():
    ours = seed_summary(np.array([0.3]), 0.95)
    assert ours["mean"] == 0.3
    assert np.isnan([ours["sd"], ours["ci_low"], ours["ci_high"]]).all()


def test_the_interval_covers_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = [(s := seed_summary(random.normal(size=3), 0.9))["ci_low"] <= 0 <= s["ci_high"] for _ in range(4000)]
    assert np.mean(covered) == pytest.approx(0.9, abs=0.015)


def test_bootstrap_means_are_means_of_resamples():
    values = np.random.default_rng(1).normal(size=(40, 2))
    means = bootstrap_means(values, 5000, seed=3)
    assert means.shape == (5000, 2)
    np.testing.assert_allclose(means.mean(0), values.mean(0), atol=0.02)
    np.testing.assert_allclose(means.std(0), values.std(0) / np.sqrt(40), rtol=0.05)
    assert np.array_equal(means, bootstrap_means(values, 5000, seed=3))
    assert not np.array_equal(means, bootstrap_means(values, 5000, seed=4))


def test_columns_share_their_draws():
    values = np.random.default_rng(1).normal(size=(40, 1))
    means = bootstrap_means(np.hstack([values, values + 7]), 300, seed=0)
    np.testing.assert_allclose(means[:, 1] - means[:, 0], 7, rtol=1e-12)


def test_the_paired_interval_is_the_percentile_bootstrap():
    random = np.random.default_rng(2)
    a = random.normal(size=200)
    b = a + 0.05 + 0.2 * random.normal(size=200)
    means = bootstrap_means(np.stack([a, b], 1), 4000, seed=0)
    ours = paired_comparison((a - b).mean(), means[:, 0] - means[:, 1], 0.95)
    reference = stats.bootstrap((a - b,), np.mean, n_resamples=4000, method="percentile", rng=random)
    assert ours["ci_low"] == pytest.approx(reference.confidence_interval.low, abs=0.004)
    assert ours["ci_high"] == pytest.approx(reference.confidence_interval.high, abs=0.004)
    assert ours["p_value"] == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.02)


def test_no_difference_has_p_one_and_a_clear_one_the_smallest():
    assert paired_comparison(0.0, np.zeros(999), 0.95)["p_value"] == 1
    assert paired_comparison(1.0, np.ones(999), 0.95)["p_value"] == pytest.approx(2 / 1000)


def test_p_values_are_uniform_without_a_difference():
    random = np.random.default_rng(5)
    found = []
    for seed in range(300):
        difference = random.normal(size=60)
        resampled = bootstrap_means(difference[:, None], 300, seed)[:, 0]
        found.append(paired_comparison(difference.mean(), resampled, 0.95)["p_value"])
    assert np.mean(np.array(found) < 0.1) == pytest.approx(0.1, abs=0.05)


def test_holm_is_the_textbooks():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.9]), [1, 1])
    assert holm([]).size == 0


def test_ranks_share_ties_and_skip_what_is_absent():
    values = np.array([0.2, 0.1, np.nan, 0.2, 0.5])
    np.testing.assert_array_equal(ranks(values, higher_is_better=False), [2.5, 1, np.nan, 2.5, 4])
    np.testing.assert_array_equal(ranks(values, higher_is_better=True), [2.5, 4, np.nan, 2.5, 1])
