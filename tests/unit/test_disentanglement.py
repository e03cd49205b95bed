"""Disentanglement scores on synthetic codes whose scores are known, and against other ways to the same numbers."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score

from vaebench.metrics.disentanglement import (
    NAMES,
    Codes,
    boosted_importances,
    concentration,
    disentanglement,
    factor_vae_score,
    mutual_information,
    mutual_information_gap,
    separated_predictability,
    shuffled_split,
)

SIZES = (4, 3, 5)  # values of each factor


def independent_factors(count, sizes=SIZES, seed=0):
    """Factors (n, F) whose values are drawn independently, each as often as the others."""
    random = np.random.default_rng(seed)
    return np.stack([random.integers(0, size, count) for size in sizes], axis=1)


def frame(factors):
    return pd.DataFrame(factors, columns=[f"factor{i}" for i in range(factors.shape[1])])


def values_of(latents, factors, seed=0):
    return {name: found.value for name, found in disentanglement(latents, frame(factors), seed).items()}


@pytest.fixture(scope="module")
def factors():
    return independent_factors(3000)


@pytest.fixture(scope="module")
def perfect(factors):
    """One dimension per factor, its value with a little noise, in another order than the factors."""
    noise = np.random.default_rng(1).normal(scale=0.05, size=factors.shape)
    return (factors + noise)[:, [2, 0, 1]]


@pytest.fixture(scope="module")
def of_a_perfect_code(perfect, factors):
    return values_of(perfect, factors)


def test_a_perfect_code_has_full_scores(of_a_perfect_code):
    assert of_a_perfect_code["dci_disentanglement"] >= 0.95
    assert of_a_perfect_code["dci_completeness"] >= 0.95
    assert of_a_perfect_code["dci_informativeness"] >= 0.99
    assert of_a_perfect_code["factor_vae_score"] == 1
    # I(z; factor) is the factor's whole entropy; of an independent dimension it is at most (bins - 1)(values - 1) / 2n
    # nats in expectation, 19 * 4 / 6000 = 0.013 of ln 3 = 1.1.
    assert of_a_perfect_code["mig"] == pytest.approx(1, abs=0.03)


def test_a_code_without_the_factors_has_none(factors):
    """D and C of 8 dimensions of noise: the trees share their importance among all of them."""
    found = values_of(np.random.default_rng(2).normal(size=(len(factors), 8)), factors)
    assert found["dci_disentanglement"] < 0.1
    assert found["dci_completeness"] < 0.1
    assert found["mig"] < 0.02
    chance = np.mean([1 / size for size in SIZES])
    assert found["dci_informativeness"] == pytest.approx(chance, abs=4 * math.sqrt(0.25 / 1000 / len(SIZES)))


def test_a_dimension_given_twice_costs_completeness_only(perfect, factors):
    """Importance is shared among two equal dimensions of six: C = 1 - ln 2 / ln 6, while each still serves one factor.

    The trees choose between two equal splits at random, so that the shares are halves but for their number, 100 trees
    or more: a deviation of 0.2 of a half changes the entropy by 0.02 of ln 2.
    """
    found = values_of(np.concatenate([perfect, perfect], axis=1), factors)
    assert found["dci_disentanglement"] >= 0.95
    assert found["dci_completeness"] == pytest.approx(1 - math.log(2) / math.log(6), abs=0.05)
    assert found["mig"] == pytest.approx(0, abs=1e-12)
    assert found["sap"] == pytest.approx(0, abs=1e-12)


def test_a_rotated_code_is_informative_and_not_disentangled(perfect, factors, of_a_perfect_code):
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    found = values_of((perfect - perfect.mean(0)) / perfect.std(0) @ rotation, factors)
    for name in ("mig", "sap", "dci_disentanglement", "dci_completeness"):
        assert found[name] < of_a_perfect_code[name] - 0.1, name
    assert found["dci_informativeness"] > 0.8


def test_sap_of_two_values_is_the_distance_from_chance():
    """Each dimension tells one factor of two equally frequent values for certain, and nothing of the others."""
    factors = independent_factors(6000, (2, 2, 2))
    latents = 2.0 * factors - 1 + np.random.default_rng(1).normal(scale=0.1, size=factors.shape)
    fitted, scored = shuffled_split(len(factors), 0)
    codes = Codes(latents[fitted], factors[fitted], latents[scored], factors[scored])
    # The second best of three is the better of two accuracies at chance, each with deviation √(0.25 / scored).
    assert separated_predictability(codes, 0) == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / len(scored)))


def test_sap_classifies_as_a_linear_svm_with_balanced_classes_does():
    """The squared hinge loss with C = 0.01, minimised by another optimiser, leads to the same accuracies."""
    random = np.random.default_rng(3)
    factor = (random.random(900) < 0.3).astype(int)
    latents = factor[:, None] * [1.0, 0.4] + random.normal(size=(900, 2))
    codes = Codes(latents[:600], factor[:600, None], latents[600:], factor[600:, None])
    signs = 2 * factor[:600] - 1
    weights = np.where(signs > 0, 300 / (signs > 0).sum(), 300 / (signs < 0).sum())
    accuracies = []
    for z, scored in zip(latents[:600].T, latents[600:].T, strict=True):

        def loss(parameters, z=z):
            margin = np.maximum(0, 1 - signs * (parameters[0] * z + parameters[1]))
            return 0.5 * np.square(parameters).sum() + 0.01 * (weights * margin**2).sum()

        slope, offset = minimize(loss, np.zeros(2), options={"gtol": 1e-8}).x
        accuracies.append(np.mean((slope * scored + offset > 0) == factor[600:]))
    # An image within the optimisers' tolerance of the boundary may fall on either side.
    assert separated_predictability(codes, 0) == pytest.approx(abs(accuracies[0] - accuracies[1]), abs=1.01 / 300)


def test_importance_follows_what_the_trees_use_and_threads_do_not_change_it(factors, perfect):
    codes = Codes(perfect[:600], factors[:600], perfect[600:900], factors[600:900])
    importances, accuracy = boosted_importances(codes, 0)
    assert importances.argmax(0).tolist() == [1, 2, 0]
    np.testing.assert_allclose(importances.sum(0), 1)
    assert accuracy > 0.98
    again, _ = boosted_importances(codes, 0, threads=2)
    assert np.array_equal(importances, again)


def test_concentration_is_one_minus_the_entropy_of_the_shares():
    assert concentration(np.eye(3), axis=1) == pytest.approx(1)
    assert concentration(np.ones((4, 3)), axis=1) == pytest.approx(0, abs=1e-12)
    assert concentration(np.zeros((4, 3)), axis=0) == pytest.approx(0, abs=1e-12)
    assert math.isnan(concentration(np.ones((4, 1)), axis=1))
    importances = np.random.default_rng(0).dirichlet(np.ones(6), size=4).T
    by_hand = [1 - entropy(row / row.sum()) / math.log(4) for row in importances]
    assert concentration(importances, axis=1) == pytest.approx(np.dot(by_hand, importances.sum(1)) / 4)
    by_hand = [1 - entropy(column) / math.log(6) for column in importances.T]
    assert concentration(importances, axis=0) == pytest.approx(np.mean(by_hand))


def test_mutual_information_is_sklearns_and_the_gap_has_its_closed_form(factors):
    a, b = factors[:, 0], (factors[:, 0] + factors[:, 1]) % 4
    assert mutual_information(a, b) == pytest.approx(mutual_info_score(a, b))
    assert mutual_information_gap(np.stack([a, a], 1).astype(float), a[:, None]) == pytest.approx(0, abs=1e-12)
    constant = np.stack([a, np.zeros_like(a)], 1).astype(float)
    assert mutual_information_gap(constant, a[:, None]) == pytest.approx(1)


def votes_of(latents, factors):
    fitted, scored = shuffled_split(len(factors), 0)
    return factor_vae_score(Codes(latents[fitted], factors[fitted], latents[scored], factors[scored]), 0)


def test_factors_that_cannot_be_told_apart_get_half_of_the_votes():
    """Two factors in one dimension: the vote names the dimension, and either factor was held as often.

    The 5,000 votes are independent: four standard deviations are 4 √(0.25 / 5000).
    """
    factor = independent_factors(9000, (4,))
    twice = np.concatenate([factor, factor], axis=1)
    latents = np.concatenate([factor + 0.0, np.random.default_rng(1).normal(size=(9000, 1))], axis=1)
    assert votes_of(latents, twice) == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / 5000))


def test_half_a_right_angle_between_factors_and_dimensions_leaves_the_vote_to_chance():
    """z = (a + b, a - b) and noise: whichever factor is held, both dimensions vary as much.

    The images come in fours that are each other's reflection, so that this holds in every group of equal values, and
    each vote is a fair coin.
    """
    factors = independent_factors(1500, (4, 4))
    noise = np.random.default_rng(1).normal(size=factors.shape)
    a, b = (2 * factors - 3).T
    images = [(a, b * sign, noise[:, order]) for sign in (1, -1) for order in ([0, 1], [1, 0])]
    latents = np.concatenate([np.stack([x + y, x - y], axis=1) + n for x, y, n in images])
    labels = np.concatenate([np.stack([x, y], axis=1) for x, y, _ in images])
    score = factor_vae_score(Codes(latents, labels, latents, labels), 0)
    assert score == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / 5000))


def test_dimensions_without_variance_have_no_vote(perfect, factors):
    still = 0.01 * np.random.default_rng(1).normal(size=(len(factors), 2))
    assert votes_of(np.concatenate([still, perfect], axis=1), factors) == 1
    assert votes_of(still, factors) == 0


def test_the_split_is_shuffled_so_that_sorted_images_do_not_matter():
    factors = independent_factors(1200)
    order = np.lexsort(factors.T)
    latents = factors + np.random.default_rng(1).normal(scale=0.05, size=factors.shape)
    found = values_of(latents[order], factors[order])
    assert found["dci_informativeness"] > 0.97
    fitted, scored = shuffled_split(20_000, 3)
    assert (len(fitted), len(scored)) == (10_000, 5_000)
    assert len({*fitted, *scored}) == 15_000
    assert [len(part) for part in shuffled_split(10, 0)] == [7, 3]


def test_what_cannot_be_computed_is_empty_with_a_reason(factors, perfect):
    few, latents = factors[:300], perfect[:300]
    broken = latents.copy()
    broken[7, 1] = np.nan
    found = disentanglement(broken, frame(few), 0)
    assert {value.note for value in found.values()} == {"the latents of 1 of 300 images are not finite"}
    assert all(math.isnan(value.value) for value in found.values())
    found = disentanglement(latents, frame(few[:, :1]), 0)
    assert [name for name in NAMES if math.isnan(found[name].value)] == ["dci_disentanglement", "factor_vae_score"]
    assert found["dci_disentanglement"].note == "needs two factors"
    found = disentanglement(latents[:, :1], frame(few[:, :2]), 0)
    assert [name for name in NAMES if math.isnan(found[name].value)][:3] == ["mig", "sap", "dci_completeness"]
    found = disentanglement(latents, frame(few[:, :2]), 0)
    assert "value that 64 images" in found["factor_vae_score"].note
    found = disentanglement(latents, frame(np.ones_like(few)), 0)
    assert {value.note for value in found.values()} == {"no factor varies"}
    found = disentanglement(latents[:2], frame(few[:2]), 0)
    assert {value.note for value in found.values()} == {"too few images"}


def test_a_factor_that_does_not_vary_among_the_fitted_images_is_left_out_and_named(factors, perfect):
    table = frame(factors[:300]).assign(rare=0)
    _, scored = shuffled_split(300, 0)
    table.loc[scored[0], "rare"] = 1
    found = disentanglement(perfect[:300], table, 0)
    without = disentanglement(perfect[:300], table.drop(columns="rare"), 0)
    assert found["dci_informativeness"].value == without["dci_informativeness"].value
    assert found["mig"].note == "without rare, which does not vary"


def test_a_factor_that_cannot_be_held_fixed_is_named():
    """Of 600 images a value among 20 is shared by some 30: too few for a vote, so that the score is of the others."""
    generator = np.random.default_rng(8)
    table = pd.DataFrame({"shape": generator.integers(2, size=600), "size": generator.integers(2, size=600)})
    many = table.assign(colour=generator.integers(20, size=600))
    latents = table.to_numpy() + generator.normal(0, 0.1, (600, 2))
    found = disentanglement(latents, many, 0)
    assert found["factor_vae_score"].note == "without colour: each value is shared by fewer than 64 images of one part"
    assert found["factor_vae_score"].value == disentanglement(latents, table, 0)["factor_vae_score"].value
    assert found["mig"].note == found["dci_completeness"].note == ""
