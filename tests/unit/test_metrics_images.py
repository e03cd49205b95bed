"""Per-image metrics against piq, lpips, torchmetrics, scikit-image and closed forms, and with hard images."""

import lpips
import numpy as np
import piq
import pytest
import torch
from evaluation_cases import FLOAT32
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image.ssim import _ssim_update

from vaebench.base.errors import UserError
from vaebench.metrics import reconstruction
from vaebench.metrics.pairs import PairMetrics
from vaebench.metrics.perceptual import Perceptual, pooled
from vaebench.metrics.registry import METRICS
from vaebench.models.terms.lpips import LAYOUTS

GENERATOR = torch.Generator().manual_seed(0)
X = torch.rand(5, 3, 64, 64, generator=GENERATOR)
Y = (X + 0.2 * torch.randn(X.shape, generator=GENERATOR)).clamp(0, 1)


def reference_lpips(net: str, weights) -> lpips.LPIPS:
    """The lpips package's own network with its trunk's convolutions filled in order."""
    model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    state = torch.load(weights[LAYOUTS[net].weights], weights_only=True)
    convolutions = [module for module in model.net.modules() if isinstance(module, torch.nn.Conv2d)]
    indices = [i for stage in LAYOUTS[net].stages for i in stage]
    for convolution, i in zip(convolutions, indices, strict=True):
        convolution.load_state_dict({part: state[f"features.{i}.{part}"] for part in ("weight", "bias")})
    return model


def test_mse_and_bce_are_their_formulas_in_float64():
    x, y = X.double().numpy(), Y.double().numpy()
    p = y.clip(1e-7, 1 - 1e-7)
    np.testing.assert_allclose(reconstruction.mse(X, Y), ((x - y) ** 2).mean((1, 2, 3)), rtol=1e-6)
    expected = -(x * np.log(p) + (1 - x) * np.log(1 - p)).mean((1, 2, 3))
    np.testing.assert_allclose(reconstruction.bce(X, Y), expected, rtol=1e-12)


def test_psnr_is_scikit_images_per_image_and_capped_for_equal_images():
    pairs = zip(X.double().numpy(), Y.double().numpy(), strict=True)
    expected = [peak_signal_noise_ratio(x, y, data_range=1.0) for x, y in pairs]
    np.testing.assert_allclose(reconstruction.psnr(X.double(), Y.double()), expected, rtol=1e-9)
    assert reconstruction.psnr(X, X).tolist() == [pytest.approx(100)] * 5
    nearly = X.double() + 1e-4
    assert reconstruction.psnr(X.double(), nearly).min().item() == pytest.approx(80, abs=1e-6)


@pytest.mark.parametrize(("side", "scales"), [(28, 2), (64, 3), (96, 4), (176, 5)])
def test_ms_ssim_is_its_definition_from_other_libraries(side, scales):
    """Contrast and structure of the finer scales by torchmetrics, SSIM of the coarsest by scikit-image, per channel."""
    x = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    y = (x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(2))).clamp(0, 1)
    assert len(reconstruction.scales_of((side, side + 7))) == scales
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333][:scales])
    weights /= weights.sum()
    expected = np.zeros(2)
    for image, channel in np.ndindex(2, 3):
        a, b = (whole[image, channel][None, None].double() for whole in (x, y))
        product = 1.0
        for weight in weights[:-1]:
            contrast = _ssim_update(b, a, data_range=1.0, return_contrast_sensitivity=True)[1]
            product *= contrast.item() ** weight
            a, b = (torch.nn.functional.avg_pool2d(part, 2) for part in (a, b))
        options = {"data_range": 1.0, "gaussian_weights": True, "use_sample_covariance": False, "full": True}
        whole = structural_similarity(a[0, 0].numpy(), b[0, 0].numpy(), **options)[1]
        expected[image] += product * whole[5:-5, 5:-5].mean() ** weights[-1] / 3
    np.testing.assert_allclose(reconstruction.ms_ssim(x.double(), y.double()), expected, rtol=1e-6)
    np.testing.assert_allclose(reconstruction.ms_ssim(x, y), expected, rtol=FLOAT32)
    assert reconstruction.ms_ssim(x, x).min().item() == pytest.approx(1, abs=1e-6)


def test_ms_ssim_tells_its_scales():
    assert reconstruction.scales_note((64, 64)) == (
        "3 scales (sides 64, 32, 16), weights 0.0448, 0.2856, 0.3001 scaled to sum 1"
    )
    assert reconstruction.scales_of((62, 45)) == [45, 23, 12]  # as piq halves them: none is below the window's 11
    assert reconstruction.scales_note((200, 161)) == "the five scales of Wang et al. 2003"
    assert PairMetrics((3, 64, 64), [], [], {}).notes["ms_ssim"].startswith("3 scales")
    assert [len(reconstruction.scales_of((side, 999))) for side in (20, 21, 40, 41, 160, 161)] == [1, 2, 2, 3, 4, 5]
    tiny = PairMetrics((3, 20, 64), [], [], {})
    assert tiny.skipped["ms_ssim"] == "MS-SSIM needs images of at least 21 x 21 pixels"
    assert tiny.notes == {}


def test_ssim_averages_large_images_down_as_the_registry_says():
    """383 pixels are taken as they are, 384 are halved: round(383 / 256) = 1, round(384 / 256) = 2."""
    for side, factor in ((383, 1), (384, 2)):
        x = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(1))
        y = (x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(2))).clamp(0, 1)
        shrunk = [torch.nn.functional.avg_pool2d(image, factor) for image in (x, y)]
        expected = piq.ssim(*shrunk, data_range=1.0, downsample=False, reduction="none")
        torch.testing.assert_close(reconstruction.ssim(x, y), expected.double(), atol=1e-6, rtol=0)
    assert "384 pixels or more are first averaged down" in METRICS["ssim"].formula


def test_bce_is_finite_at_the_ends():
    black, white = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    assert reconstruction.bce(white, black).item() == pytest.approx(-np.log(1e-7), rel=1e-9)
    assert reconstruction.bce(white, white).item() == pytest.approx(-np.log1p(-1e-7), rel=1e-6)


@pytest.mark.parametrize("name", ["ssim", "gmsd"])
def test_ssim_and_gmsd_are_piqs(name):
    ours, theirs = getattr(reconstruction, name), getattr(piq, name)
    for x, y in ((X, Y), (X.double(), Y.double())):
        expected = theirs(x, y, data_range=1.0, reduction="none").double()
        torch.testing.assert_close(ours(x, y), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(ours(X, Y), ours(X.double(), Y.double()), rtol=FLOAT32, atol=0)


def test_ssim_is_scikit_images_where_the_window_fits():
    options = {"channel_axis": 0, "data_range": 1.0, "gaussian_weights": True, "use_sample_covariance": False}
    x, y = X.double(), Y.double()
    ours = reconstruction.ssim(x, y)
    for i in range(len(x)):
        values = structural_similarity(x[i].numpy(), y[i].numpy(), full=True, **options)[1]
        assert ours[i].item() == pytest.approx(values[:, 5:-5, 5:-5].mean(), rel=1e-9)


@pytest.mark.parametrize("net", ["alex", "vgg"])
@torch.no_grad()
def test_lpips_is_the_packages(net, perceptual_weights):
    """In float64; and what the metric gives, which is float32, is near to that."""
    ours = Perceptual(net, perceptual_weights[LAYOUTS[net].weights])
    rounded = ours.distance(ours.features(X[:3]), ours.features(Y[:3]))
    ours.double()
    x, y = X[:3].double(), Y[:3].double()
    expected = reference_lpips(net, perceptual_weights).double()(2 * x - 1, 2 * y - 1).flatten()
    torch.testing.assert_close(ours.distance(ours.features(x), ours.features(y)), expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(rounded, expected, rtol=FLOAT32, atol=0)


def test_lpips_gives_the_published_value(perceptual_weights):
    """torchmetrics' LPIPS documentation prints 0.3494 for these two random images."""
    random = np.random.RandomState(123)
    x, y = (torch.from_numpy(random.rand(10, 3, 100, 100)).float() for _ in range(2))
    trunk = Perceptual("vgg", perceptual_weights["vgg16"])
    parts = [trunk.distance(trunk.features(a), trunk.features(b)) for a, b in zip(x.split(2), y.split(2), strict=True)]
    assert torch.cat(parts).mean().item() == pytest.approx(0.3494, abs=2e-4)


def test_lpips_is_zero_for_equal_images_and_symmetric(perceptual_weights):
    trunk = Perceptual("alex", perceptual_weights["alexnet"])
    x, y = trunk.features(X), trunk.features(Y)
    assert torch.equal(trunk.distance(x, x), torch.zeros(5, dtype=torch.float64))
    torch.testing.assert_close(trunk.distance(x, y), trunk.distance(y, x), rtol=1e-12, atol=0)


def test_grey_images_count_as_three_equal_channels(perceptual_weights):
    trunk = Perceptual("vgg", perceptual_weights["vgg16"])
    grey = X[:2, :1, :28, :28]
    for one, three in zip(trunk.features(grey), trunk.features(grey.repeat(1, 3, 1, 1)), strict=True):
        assert torch.equal(one, three)


def test_missing_and_wrong_weights_are_named(tmp_path, perceptual_weights):
    with pytest.raises(UserError, match=r"vgg16\.pt: the vgg16 weights are missing"):
        Perceptual("vgg", tmp_path / "vgg16.pt")
    with pytest.raises(UserError, match="not a torchvision vgg16: features"):
        Perceptual("vgg", perceptual_weights["alexnet"])


def compare(x, y, weights, lpips_nets=("alex",), features=("alexnet",)):
    return PairMetrics(x.shape[1:], lpips_nets, features, weights)(x, y)


def test_one_pass_gives_distances_and_features(perceptual_weights):
    compared = compare(X, Y, perceptual_weights)
    trunk = Perceptual("alex", perceptual_weights["alexnet"])
    assert set(compared.values) == {"mse", "bce", "psnr", "ssim", "ms_ssim", "gmsd", "lpips_alex"}
    assert all(value.shape == (5,) and value.dtype == torch.float64 for value in compared.values.values())
    torch.testing.assert_close(compared.features_x["alexnet"], pooled(trunk.features(X)), atol=1e-5, rtol=FLOAT32)
    assert compared.features_y == {}
    metrics = PairMetrics(X.shape[1:], (), ("alexnet",), perceptual_weights)
    both = metrics(X, Y, features_y=True)
    torch.testing.assert_close(both.features_y["alexnet"], pooled(trunk.features(Y)), atol=1e-5, rtol=FLOAT32)
    torch.testing.assert_close(metrics.features_of(Y)["alexnet"], both.features_y["alexnet"], atol=1e-5, rtol=FLOAT32)


def test_features_come_without_lpips(perceptual_weights):
    compared = compare(X, Y, perceptual_weights, lpips_nets=(), features=("alexnet",))
    assert "lpips_alex" not in compared.values
    assert compared.features_x["alexnet"].shape == (5, 256)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        pytest.param(torch.full((2, 3, 64, 64), 0.5), torch.full((2, 3, 64, 64), 0.5), id="constant and identical"),
        pytest.param(torch.zeros(2, 3, 64, 64), torch.ones(2, 3, 64, 64), id="black against white"),
        pytest.param(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64), id="one black image"),
        pytest.param(torch.rand(2, 1, 64, 64), torch.rand(2, 1, 64, 64), id="grey"),
        pytest.param(torch.rand(2, 3, 50, 71), torch.rand(2, 3, 50, 71), id="odd and not square"),
    ],
)
def test_hard_images_give_finite_values(x, y, perceptual_weights):
    compared = compare(x, y, perceptual_weights)
    assert all(torch.isfinite(value).all() for value in compared.values.values())
    if torch.equal(x, y):
        assert compared.values["mse"].max() == 0
        assert compared.values["ssim"].min() == pytest.approx(1, abs=1e-6)


def test_a_value_that_is_not_finite_spoils_its_own_image_only(perceptual_weights):
    damaged = Y.clone()
    damaged[2, 0, 0, 0] = torch.nan
    damaged[4, 1, 5, 5] = torch.inf
    whole, partly = compare(X, Y, perceptual_weights).values, compare(X, damaged, perceptual_weights).values
    for name in whole:
        assert torch.isnan(partly[name]).tolist() == [False, False, True, False, True]
        torch.testing.assert_close(partly[name][[0, 1, 3]], whole[name][[0, 1, 3]], atol=1e-5, rtol=FLOAT32)
    features = PairMetrics(X.shape[1:], (), ("alexnet",), perceptual_weights)(X, damaged, features_y=True)
    assert torch.isfinite(features.features_x["alexnet"]).all()
    assert torch.isnan(features.features_y["alexnet"]).all(1).tolist() == [False, False, True, False, True]


def test_what_an_image_is_too_small_for_is_told(perceptual_weights):
    metrics = PairMetrics((1, 28, 28), ["alex", "vgg"], ["alexnet"], perceptual_weights)
    assert metrics.lpips == ["vgg"]
    assert metrics.skipped["lpips_alex"] == "alexnet needs images of at least 31 x 31 pixels"
    tiny = PairMetrics((1, 8, 8), [], [], {})
    assert tiny.skipped["ssim"] == "SSIM needs images of at least 11 x 11 pixels"


@pytest.mark.parametrize("size", [1, 2, 5])
def test_values_do_not_depend_on_the_batches(size, perceptual_weights):
    metrics = PairMetrics((3, 64, 64), ["alex"], ["alexnet"], perceptual_weights)
    whole = metrics(X, Y)
    parts = [metrics(a, b) for a, b in zip(X.split(size), Y.split(size), strict=True)]
    for name, values in whole.values.items():
        torch.testing.assert_close(torch.cat([part.values[name] for part in parts]), values, atol=1e-6, rtol=FLOAT32)
