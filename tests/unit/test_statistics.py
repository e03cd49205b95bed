"""Intervals, p-values, Holm's correction and ranks against SciPy and closed forms."""

import math

import numpy as np
import pytest
from scipy import stats

from vaebench.results.statistics import (
    Component,
    detectable_deviations,
    half_width,
    holm,
    p_value,
    ranks,
    seed_summary,
    variance_of_mean,
)


def test_the_interval_is_students():
    values = np.array([0.31, 0.35, 0.29, 0.4])
    ours = seed_summary(values, 0.95)
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    assert (ours["ci_low"], ours["ci_high"]) == pytest.approx((low, high), rel=1e-10)
    assert ours["mean"] == pytest.approx(values.mean())
    assert ours["sd"] == pytest.approx(values.std(ddof=1))
    assert ours["n_seeds"] == 4


def test_one_seed_has_the_interval_of_its_standard_error():
    images = np.random.default_rng(0).normal(size=30)
    ours = seed_summary(images.mean(keepdims=True), 0.9, stats.sem(images), 29)
    low, high = stats.t.interval(0.9, 29, loc=images.mean(), scale=stats.sem(images))
    assert (ours["ci_low"], ours["ci_high"]) == pytest.approx((low, high), rel=1e-10)
    assert math.isnan(ours["sd"])
    assert ours["n_seeds"] == 1


def test_one_seed_without_a_standard_error_has_no_interval():
    ours = seed_summary(np.array([0.3]), 0.95)
    assert ours["mean"] == 0.3
    assert np.isnan([ours["sd"], ours["ci_low"], ours["ci_high"]]).all()


def test_the_interval_covers_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = [(s := seed_summary(random.normal(size=3), 0.9))["ci_low"] <= 0 <= s["ci_high"] for _ in range(4000)]
    assert np.mean(covered) == pytest.approx(0.9, abs=0.015)


@pytest.mark.parametrize("shift", [0.05, 0.5, 5, 500])
def test_one_component_is_students_test(shift):
    random = np.random.default_rng(1)
    differences = random.normal(size=12) + shift
    reference = stats.ttest_1samp(differences, 0)
    part = variance_of_mean(differences)
    assert p_value(differences.mean(), [part]) == pytest.approx(reference.pvalue, rel=1e-9)
    interval = reference.confidence_interval(0.95)
    assert half_width([part], 0.05) == pytest.approx((interval.high - interval.low) / 2, rel=1e-10)


@pytest.mark.parametrize("difference", [1e-6, 0.3, 1, 10, 1e4, 1e12])
def test_the_p_value_is_the_level_whose_interval_ends_at_zero(difference):
    parts = [Component(0.02, 2), Component(0.5, 1), Component(1e-3, 199)]
    p = p_value(difference, parts)
    assert half_width(parts, p) == pytest.approx(difference, rel=1e-6)
    assert p_value(-difference, parts) == p


def test_two_components_are_never_surer_than_the_one_with_fewer_degrees_of_freedom():
    """Banerjee's quantile lies between Student's of the components, and is theirs where they agree."""
    for freedoms in ((2, 2), (2, 9), (1, 199)):
        parts = [Component(0.3, freedoms[0]), Component(0.7, freedoms[1])]
        found = p_value(4.0, parts)
        low, high = sorted(2 * stats.t.sf(4.0, freedom) for freedom in freedoms)
        assert low * (1 - 1e-9) <= found <= high * (1 + 1e-9)


def test_p_values_have_no_floor():
    parts = [Component(1e-6, 2), Component(1e-6, 2)]
    assert 0 < p_value(1e9, parts) < 1e-20
    assert 0 < p_value(1e9, parts[:1]) < 1e-20
    assert p_value(1e200, parts) > 0


def test_no_difference_has_p_one_and_no_variance_has_no_test():
    assert p_value(0.0, [Component(1.0, 3)]) == 1
    assert p_value(0.0, [Component(0.0, 3)]) == 1
    assert math.isnan(p_value(0.1, [Component(0.0, 3)]))


def test_equal_values_have_no_variance_whatever_the_rounding_of_their_mean():
    values = np.full(3, 0.925)
    assert values.var(ddof=1) > 0
    assert variance_of_mean(values).variance == 0
    assert variance_of_mean(np.array([0.1 + 0.2, 0.3, 0.3])).variance == 0


def test_holm_is_the_textbooks():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.9]), [1, 1])
    assert holm([]).size == 0


def test_holm_counts_only_what_was_tested():
    np.testing.assert_allclose(holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])


def test_detectable_deviations_are_students_quantile():
    assert detectable_deviations(3, 1, 0.05) == pytest.approx(stats.t.ppf(0.975, 2) * math.sqrt(2 / 3))
    assert detectable_deviations(5, 10, 0.05) == pytest.approx(stats.t.ppf(1 - 0.0025, 4) * math.sqrt(2 / 5))


def test_ranks_share_ties_and_skip_what_is_absent():
    values = np.array([0.2, 0.1, np.nan, 0.2, 0.5])
    np.testing.assert_array_equal(ranks(values, higher_is_better=False), [2.5, 1, np.nan, 2.5, 4])
    np.testing.assert_array_equal(ranks(values, higher_is_better=True), [2.5, 4, np.nan, 2.5, 1])


def test_the_rounding_of_a_sum_breaks_no_tie():
    assert 0.1 + 0.2 != 0.3
    np.testing.assert_array_equal(ranks([0.1 + 0.2, 0.3, 0.3001], higher_is_better=False), [1.5, 1.5, 3])


def test_a_value_without_another_has_no_rank():
    assert np.isnan(ranks([0.3, np.nan], higher_is_better=False)).all()
