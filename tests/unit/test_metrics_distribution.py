"""Distances between sets against torch-fidelity, torchmetrics and plain loops."""

import numpy as np
import pytest
import torch
from evaluation_cases import write_random_inception
from scipy import linalg
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from vaebench.base.errors import UserError
from vaebench.base.files import sha256_of
from vaebench.metrics import distribution
from vaebench.metrics.features import extractors
from vaebench.metrics.features.extractors import AntialiasedInception, PixelFeatures, inception, inception_name

RANDOM = np.random.default_rng(0)
REAL = RANDOM.normal(size=(300, 16)) @ RANDOM.normal(size=(16, 16))
FAKE = 0.8 * RANDOM.normal(size=(220, 16)) @ RANDOM.normal(size=(16, 16)) + 0.5


def test_frechet_distance_is_torch_fidelitys_and_torchmetrics():
    ours = distribution.frechet_distance(FAKE, REAL)[0]
    statistics = [fid_features_to_statistics(torch.from_numpy(features)) for features in (FAKE, REAL)]
    fidelity = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert ours == pytest.approx(fidelity, rel=1e-6)
    moments = [(torch.from_numpy(f.mean(0)), torch.from_numpy(np.cov(f.T))) for f in (FAKE, REAL)]
    assert ours == pytest.approx(_compute_fid(*moments[0], *moments[1]).item(), rel=1e-6)


def test_frechet_distance_between_gaussians_has_its_closed_form():
    """Two sets whose moments are known: shifted by 3, and scaled by 2."""
    assert distribution.frechet_distance(REAL + 3, REAL)[0] == pytest.approx(9 * 16, rel=1e-9)
    centred = REAL - REAL.mean(0)
    assert distribution.frechet_distance(2 * centred, centred)[0] == pytest.approx(np.trace(np.cov(REAL.T)), rel=1e-9)


def test_frechet_distance_with_fewer_images_than_features():
    """The product of the covariances has 8 eigenvalues that are not 0; the others are rounding, as are their roots."""
    a, b = RANDOM.normal(size=(12, 40)), RANDOM.normal(size=(9, 40))
    roots = np.sort(np.sqrt(linalg.eigvals(np.cov(a.T) @ np.cov(b.T)).real.clip(0)))
    assert roots[-8] > 1e4 * roots[-9]
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T)) - 2 * roots[-8:].sum()
    assert distribution.frechet_distance(a, b)[0] == pytest.approx(expected, rel=1e-9)
    assert distribution.frechet_distance(a, a)[0] == pytest.approx(0, abs=1e-9)


def test_kernel_distance_is_torch_fidelitys():
    """Both draw 100 subsets with the same seed."""
    size = len(FAKE)
    features = torch.from_numpy(FAKE), torch.from_numpy(REAL)
    expected = kid_features_to_metric(*features, kid_subset_size=size, verbose=False)
    ours = distribution.kernel_distance(FAKE, REAL)[0]
    assert ours == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-6)


def test_kernel_distance_of_whole_sets_is_torchmetrics():
    fake = torch.from_numpy(FAKE)
    real = torch.from_numpy(REAL[: len(FAKE)])
    ours = distribution.kernel_distance(FAKE, REAL[: len(FAKE)])[0]
    assert ours == pytest.approx(poly_mmd(real, fake).item(), rel=1e-6)


def plain_manifold_metrics(fake, real, k):
    """The definitions, pair by pair."""

    def distance(a, b):
        return float(np.sqrt(((a - b) ** 2).sum()))

    def radius(points, i):
        return sorted(distance(points[i], points[j]) for j in range(len(points)) if j != i)[k - 1]

    radii_real, radii_fake = [radius(real, i) for i in range(len(real))], [radius(fake, i) for i in range(len(fake))]
    inside = [[distance(f, r) <= radii_real[j] for j, r in enumerate(real)] for f in fake]
    return {
        "precision": np.mean([any(row) for row in inside]),
        "recall": np.mean([any(distance(r, f) <= radii_fake[i] for i, f in enumerate(fake)) for r in real]),
        "density": np.mean([sum(row) for row in inside]) / k,
        "coverage": np.mean([any(inside[i][j] for i in range(len(fake))) for j in range(len(real))]),
    }


@pytest.mark.parametrize("k", [1, 5])
def test_precision_recall_density_coverage_are_their_definitions(k):
    fake, real = FAKE[:50, :3], REAL[:70, :3]
    ours = values_of(distribution.manifold_metrics(fake, real, k))
    for name, expected in plain_manifold_metrics(fake, real, k).items():
        assert ours[name] == pytest.approx(expected, abs=1e-12), name


def test_precision_and_recall_are_torch_fidelitys():
    expected = prc_features_to_metric(
        torch.from_numpy(FAKE), torch.from_numpy(REAL), prc_neighborhood=3, prc_batch_size=1000, verbose=False
    )
    ours = values_of(distribution.manifold_metrics(FAKE, REAL, 3))
    for name in ("precision", "recall"):
        assert ours[name] == pytest.approx(expected[name], abs=1e-6)


def values_of(measured):
    return {name: value for name, (value, _) in measured.items()}


def test_blocks_do_not_change_the_result(monkeypatch):
    whole = distribution.manifold_metrics(FAKE, REAL, 4)
    monkeypatch.setattr(distribution, "BLOCK", 37)
    assert distribution.manifold_metrics(FAKE, REAL, 4) == whole


def test_equal_sets_cover_themselves():
    same = values_of(distribution.manifold_metrics(REAL, REAL, 3))
    assert (same["precision"], same["recall"], same["coverage"]) == (1, 1, 1)
    constant = np.ones((20, 5))
    assert values_of(distribution.manifold_metrics(constant, constant, 3))["precision"] == 1
    assert distribution.frechet_distance(constant, constant) == (0, 0)
    assert distribution.kernel_distance(constant, constant)[0] == pytest.approx(0, abs=1e-12)


def test_sets_far_apart_share_nothing():
    measured = distribution.manifold_metrics(FAKE + 1e4, REAL, 3)
    assert all(np.isnan(error) for _, error in measured.values())  # 0 of 220 does not tell how far it may be from 0
    apart = values_of(measured)
    assert (apart["precision"], apart["recall"], apart["density"], apart["coverage"]) == (0, 0, 0, 0)


def test_nearest_distance_finds_copies_and_is_exact():
    train = RANDOM.integers(0, 256, (60, 3, 8, 8), dtype=np.uint8)
    queries = np.concatenate([train[[7, 41]], RANDOM.integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)])
    ours = distribution.nearest_distances(queries, np.array_split(train, 7))
    difference = queries[:, None].astype(float) - train[None]
    expected = np.sqrt((difference**2).mean((2, 3, 4))).min(1) / 255
    assert ours[0] == ours[1] == 0
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


@pytest.mark.parametrize("order", [1, -1])
def test_nearest_distance_is_exact_in_whatever_order_the_images_come(order):
    """From near to far, where later blocks are not looked at closely, and from far to near; two are almost alike."""
    query = RANDOM.integers(0, 256, (1, 3, 16, 16))
    steps = np.repeat(np.arange(1, 31), 2)[:, None, None, None]
    train = (query + np.where(query < 128, steps, -steps)).astype(np.uint8)
    train[1, 0, 0, 0] += 1 if query[0, 0, 0, 0] >= 128 else -1  # a little nearer than the first
    expected = np.sqrt(((train - query) ** 2.0).mean((1, 2, 3)).min()) / 255
    found = distribution.nearest_distances(query.astype(np.uint8), np.array_split(train[::order], 30))
    np.testing.assert_allclose(found, [expected], rtol=1e-15)


def without(rows, group):
    return np.delete(rows, np.arange(len(rows))[group], axis=0)


def test_errors_are_those_of_leaving_groups_out():
    """Each statistic computed anew without each tenth of the generated images."""
    k, groups = 3, [slice(i, None, 10) for i in range(10)]
    parts = {
        "frechet": [distribution.frechet_distance(without(FAKE, g), REAL)[0] for g in groups],
        "paired": [distribution.frechet_distance(without(FAKE, g), without(REAL[:220], g))[0] for g in groups],
        "kernel": [poly_mmd_of(without(FAKE, g), REAL) for g in groups],
        "recall": [values_of(distribution.manifold_metrics(without(FAKE, g), REAL, k))["recall"] for g in groups],
        "coverage": [values_of(distribution.manifold_metrics(without(FAKE, g), REAL, k))["coverage"] for g in groups],
    }
    expected = {name: np.sqrt(9 / 10 * np.square(v - np.mean(v)).sum()) for name, v in parts.items()}
    manifold = distribution.manifold_metrics(FAKE, REAL, k)
    assert distribution.frechet_distance(FAKE, REAL)[1] == pytest.approx(expected["frechet"], rel=1e-6)
    paired = distribution.frechet_distance(FAKE, REAL[:220], paired=True)[1]
    assert paired == pytest.approx(expected["paired"], rel=1e-6)
    assert distribution._mmd_error(FAKE, REAL) == pytest.approx(expected["kernel"], rel=1e-6)
    for name in ("recall", "coverage"):
        assert manifold[name][1] == pytest.approx(expected[name], rel=1e-9), name


def poly_mmd_of(fake, real):
    """The unbiased estimate over all images, which need not be equally many."""

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a):
        return (kernel(a, a).sum() - np.trace(kernel(a, a))) / (len(a) * (len(a) - 1))

    return within(fake) + within(real) - 2 * kernel(fake, real).mean()


def test_errors_are_the_spread_over_sets_of_generated_images():
    """60 sets from one model: the spread of each value is known to 1 / sqrt(2 * 60) = 9 %, the mean error to less.

    Without a group the balls are larger, which the jackknife takes for spread: its errors of shares are too large.
    """
    random = np.random.default_rng(5)
    mixing = random.normal(size=(8, 8))
    real = random.normal(size=(400, 8)) @ mixing
    found = []
    for _ in range(60):
        fake = 0.7 * random.normal(size=(200, 8)) @ mixing + 0.3
        manifold = distribution.manifold_metrics(fake, real, 3)
        found.append([distribution.frechet_distance(fake, real), distribution.kernel_distance(fake, real)])
        found[-1] += [manifold[name] for name in ("precision", "density", "recall", "coverage")]
    values, errors = np.moveaxis(np.nan_to_num(np.array(found)), 2, 0)  # a precision of 1 has no error of its own
    ratio = np.sqrt(np.square(errors).mean(0)) / values.std(0, ddof=1)
    assert (ratio > 1 - 3 * 0.09).all(), ratio
    assert (ratio < [*[1 + 3 * 0.09] * 4, 1.8, 1.8]).all(), ratio


def test_a_model_that_gives_one_image_has_no_error_made_of_rounding():
    """Equal values have a mean that may differ from them in its last digit: 1e-17 would be taken for an error."""
    real = np.random.default_rng(0).normal(size=(50, 8))
    one_image = np.repeat(real[:1] + 0.01, 50, axis=0)
    measured = distribution.manifold_metrics(one_image, real, 3)
    assert 0 < measured["coverage"][0] < 1
    assert np.isnan([error for _, error in measured.values()]).all()
    assert distribution.frechet_distance(one_image, real)[1] == 0


def test_few_images_have_values_and_no_error():
    for count in (2, 3):
        value, error = distribution.frechet_distance(FAKE[:count], REAL[:5])
        assert np.isfinite(value)
        assert np.isnan(error)
        assert np.isnan(distribution.kernel_distance(FAKE[:count], REAL[:5])[1])
    manifold = distribution.manifold_metrics(FAKE[:4], REAL[:20], 3)
    assert all(np.isfinite(value) for value, _ in manifold.values())
    assert np.isnan(manifold["recall"][1])


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """torch-fidelity's Inception, and its file: of random weights, as the real ones are not available here."""
    weights = tmp_path_factory.mktemp("inception") / "inception.pth"
    write_random_inception(FeatureExtractorInceptionV3, weights)
    return FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=str(weights)).eval(), weights


def test_inception_features_are_torch_fidelitys(theirs, tmp_path):
    wrong = tmp_path / "wrong.pth"
    torch.save({"a": torch.zeros(1)}, wrong)
    with pytest.raises(UserError, match="not the FID Inception weights"):
        inception(wrong)
    network, weights = theirs
    images = torch.from_numpy(RANDOM.integers(0, 256, (2, 3, 40, 40), dtype=np.uint8))
    with torch.no_grad():
        expected = network(images)[0].double()
    ours = PixelFeatures(inception(weights))
    assert torch.equal(ours(images.float() / 255), expected)
    damaged = images.float() / 255
    damaged[1, 0, 0, 0] = torch.nan
    assert torch.isnan(ours(damaged)).all(1).tolist() == [False, True]


def test_clean_inception_is_torch_fidelitys_where_nothing_is_resized(theirs):
    network, _ = theirs
    images = torch.from_numpy(RANDOM.integers(0, 256, (1, 3, 299, 299), dtype=np.uint8))
    with torch.no_grad():
        assert torch.equal(AntialiasedInception(network)(images)[0], network(images)[0])


def test_only_the_official_file_is_called_inception(tmp_path, monkeypatch):
    """Its checksum begins with the digits that its publishers put into its name."""
    digits = URL_INCEPTION_V3.rpartition("-")[2].removesuffix(".pth")
    assert extractors.OFFICIAL_SHA256.startswith(digits)
    file = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    file.write_bytes(b"another network under the official name")
    assert inception_name(file) == "custom_inception"
    monkeypatch.setattr(extractors, "OFFICIAL_SHA256", sha256_of(file))
    assert inception_name(file) == "inception"
