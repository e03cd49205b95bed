"""Distances between sets against torch-fidelity, torchmetrics and plain loops."""

import numpy as np
import pytest
import torch
from scipy import linalg
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from vaebench.metrics import distribution
from vaebench.metrics.extractors import inception_extractor

RANDOM = np.random.default_rng(0)
REAL = RANDOM.normal(size=(300, 16)) @ RANDOM.normal(size=(16, 16))
FAKE = 0.8 * RANDOM.normal(size=(220, 16)) @ RANDOM.normal(size=(16, 16)) + 0.5


def test_frechet_distance_is_torch_fidelitys_and_torchmetrics():
    ours = distribution.frechet_distance(FAKE, REAL)
    statistics = [fid_features_to_statistics(torch.from_numpy(features)) for features in (FAKE, REAL)]
    fidelity = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert ours == pytest.approx(fidelity, rel=1e-6)
    moments = [(torch.from_numpy(f.mean(0)), torch.from_numpy(np.cov(f.T))) for f in (FAKE, REAL)]
    assert ours == pytest.approx(_compute_fid(*moments[0], *moments[1]).item(), rel=1e-6)


def test_frechet_distance_between_gaussians_has_its_closed_form():
    """Two sets whose moments are known: shifted by 3, and scaled by 2."""
    assert distribution.frechet_distance(REAL + 3, REAL) == pytest.approx(9 * 16, rel=1e-9)
    centred = REAL - REAL.mean(0)
    assert distribution.frechet_distance(2 * centred, centred) == pytest.approx(np.trace(np.cov(REAL.T)), rel=1e-9)


def test_frechet_distance_with_fewer_images_than_features():
    a, b = RANDOM.normal(size=(12, 40)), RANDOM.normal(size=(9, 40))
    root = linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert distribution.frechet_distance(a, b) == pytest.approx(expected, rel=1e-4)
    assert distribution.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_kernel_distance_is_torch_fidelitys():
    """Both draw 100 subsets with the same seed."""
    size = len(FAKE)
    features = torch.from_numpy(FAKE), torch.from_numpy(REAL)
    expected = kid_features_to_metric(*features, kid_subset_size=size, verbose=False)
    ours = distribution.kernel_distance(FAKE, REAL)
    assert ours == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-6)


def test_kernel_distance_of_whole_sets_is_torchmetrics():
    fake = torch.from_numpy(FAKE)
    real = torch.from_numpy(REAL[: len(FAKE)])
    ours = distribution.kernel_distance(FAKE, REAL[: len(FAKE)])
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
    ours = distribution.manifold_metrics(fake, real, k)
    for name, expected in plain_manifold_metrics(fake, real, k).items():
        assert ours[name] == pytest.approx(expected, abs=1e-12), name


def test_precision_and_recall_are_torch_fidelitys():
    expected = prc_features_to_metric(
        torch.from_numpy(FAKE), torch.from_numpy(REAL), prc_neighborhood=3, prc_batch_size=1000, verbose=False
    )
    ours = distribution.manifold_metrics(FAKE, REAL, 3)
    for name in ("precision", "recall"):
        assert ours[name] == pytest.approx(expected[name], abs=1e-6)


def test_blocks_do_not_change_the_result(monkeypatch):
    whole = distribution.manifold_metrics(FAKE, REAL, 4)
    monkeypatch.setattr(distribution, "BLOCK", 37)
    assert distribution.manifold_metrics(FAKE, REAL, 4) == whole


def test_equal_sets_cover_themselves():
    same = distribution.manifold_metrics(REAL, REAL, 3)
    assert (same["precision"], same["recall"], same["coverage"]) == (1, 1, 1)
    constant = np.ones((20, 5))
    assert distribution.manifold_metrics(constant, constant, 3)["precision"] == 1
    assert distribution.frechet_distance(constant, constant) == 0
    assert distribution.kernel_distance(constant, constant) == pytest.approx(0, abs=1e-12)


def test_sets_far_apart_share_nothing():
    apart = distribution.manifold_metrics(FAKE + 1e4, REAL, 3)
    assert (apart["precision"], apart["recall"], apart["density"], apart["coverage"]) == (0, 0, 0, 0)


def test_nearest_distance_finds_copies_and_is_exact():
    train = RANDOM.integers(0, 256, (60, 3, 8, 8), dtype=np.uint8)
    queries = np.concatenate([train[[7, 41]], RANDOM.integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)])
    ours = distribution.nearest_distances(queries, np.array_split(train, 7))
    difference = queries[:, None].astype(float) - train[None]
    expected = np.sqrt((difference**2).mean((2, 3, 4))).min(1) / 255
    assert ours[0] == ours[1] == 0
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_inception_features_are_torch_fidelitys(tmp_path):
    """The real weights cannot be had here; random ones in a file prove the path, and a wrong file is refused."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    from vaebench.errors import UserError
    from vaebench.metrics.extractors import inception_features

    wrong = tmp_path / "wrong.pth"
    torch.save({"a": torch.zeros(1)}, wrong)
    with pytest.raises(UserError, match="not the FID Inception weights"):
        inception_extractor(wrong)
    weights = tmp_path / "inception.pth"
    write_random_inception(FeatureExtractorInceptionV3, weights)
    images = RANDOM.integers(0, 256, (2, 3, 40, 40), dtype=np.uint8)
    network = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=str(weights)).eval()
    with torch.no_grad():
        expected = network(torch.from_numpy(images))[0].numpy()
    ours = inception_features(inception_extractor(weights), images, batch_size=1, device="cpu")
    # float32, up to 3,456 terms a sum, 48 layers (see evaluation_cases.FLOAT32)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-3 * np.abs(expected).max())


def write_random_inception(network_class, path):
    """A state dictionary of the right names and shapes, from the class's own construction with loading left out."""
    captured = {}

    class Unloaded(network_class):
        def load_state_dict(self, state, *args, **kwargs):
            captured.update(self.state_dict())

    torch.save({}, path)
    try:
        Unloaded("x", ["2048"], feature_extractor_weights_path=str(path))
    finally:
        generator = torch.Generator().manual_seed(0)
        for name, tensor in captured.items():
            if tensor.is_floating_point() and "running_var" not in name:
                captured[name] = 0.05 * torch.randn(tensor.shape, generator=generator)
        torch.save(captured, path)
