"""Feature networks beside VGG16, AlexNet and Inception, and the metrics that came with them, on random weights."""

from copy import deepcopy
from itertools import product

import numpy as np
import piq
import pytest
import torch
import torchvision
from evaluation_cases import FLOAT32, SETTINGS, settings_of
from PIL import Image
from piq.perceptual import ContentLoss
from sklearn.cluster import MiniBatchKMeans
from torch import nn
from torch_fidelity.feature_extractor_clip import CLIPVisual, FeatureExtractorCLIP

from vaebench.base.errors import UserError
from vaebench.evaluation.generated import _of_all_pairs
from vaebench.evaluation.measurement import load_networks
from vaebench.metrics import distribution, prd
from vaebench.metrics.dists import CHANNELS, Dists
from vaebench.metrics.features.extractors import AntialiasedInception, PixelFeatures, bicubic, clean_inception
from vaebench.metrics.features.vision_transformers import DinoV2, DinoV2Pixels, vision_transformer
from vaebench.metrics.pairs import PairMetrics
from vaebench.metrics.prd import f_score, prd_curve, prd_scores
from vaebench.metrics.registry import METRICS
from vaebench.metrics.set_names import frechet_name, kernel_name, prd_names
from vaebench.models.feature_networks import FEATURE_NETWORKS, weights_needed

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (3, 3, 20, 28), dtype=np.uint8)


def random_weights(network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return network


def cubic_kernel(t):
    """Keys' kernel with a = -3/4, which torch's bicubic resize has."""
    t, a = abs(t), -0.75
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0


def resized_positions(grid, side):
    """Cell i of `side` lies at (i + 1/2) n / (side + 0.1) - 1/2 of n; beyond the border its value goes on."""
    n = len(grid)

    def matrix():
        rows = np.zeros((side, n))
        for i in range(side):
            place = (i + 0.5) * n / (side + 0.1) - 0.5
            for k in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
                rows[i, min(max(k, 0), n - 1)] += cubic_kernel(place - k)
        return rows

    return np.einsum("ia,jb,abd->ijd", matrix(), matrix(), grid)


def test_dinov2_is_a_pre_norm_transformer_with_scaled_branches():
    """torch's own encoder layers, the scales being multiplied into the last map of each branch."""
    network = random_weights(DinoV2(128, 2, side=70).double())
    x = torch.randn(2, 3, 42, 42, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    grid = network.pos_embed[0, 1:].detach().numpy().reshape(5, 5, 128)
    positions = torch.from_numpy(resized_positions(grid, 3).reshape(9, 128))
    patches = x.unfold(2, 14, 14).unfold(3, 14, 14).permute(0, 2, 3, 1, 4, 5).reshape(2, 9, -1)
    projection = network.patch_embed["proj"]
    tokens = patches @ projection.weight.flatten(1).T + projection.bias + positions
    first = (network.cls_token[0] + network.pos_embed[0, :1]).expand(2, 1, 128)
    tokens = torch.cat([first, tokens], 1)
    for block in network.blocks:
        layer = nn.TransformerEncoderLayer(
            128, 2, 512, 0.0, "gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True, dtype=torch.float64
        ).eval()
        scale1, scale2 = block.ls1["gamma"], block.ls2["gamma"]
        attention, projected, last = layer.self_attn, block.attn["proj"], block.mlp["fc2"]
        copies = {
            attention.in_proj_weight: block.attn["qkv"].weight,
            attention.in_proj_bias: block.attn["qkv"].bias,
            attention.out_proj.weight: scale1[:, None] * projected.weight,
            attention.out_proj.bias: scale1 * projected.bias,
            layer.linear1.weight: block.mlp["fc1"].weight,
            layer.linear1.bias: block.mlp["fc1"].bias,
            layer.linear2.weight: scale2[:, None] * last.weight,
            layer.linear2.bias: scale2 * last.bias,
        }
        norms = ((layer.norm1, block.norm1), (layer.norm2, block.norm2))
        copies |= {getattr(a, part): getattr(b, part) for a, b in norms for part in ("weight", "bias")}
        with torch.no_grad():
            for target, source in copies.items():
                target.copy_(source)
            tokens = layer(tokens)
    with torch.no_grad():
        expected = network.norm(tokens[:, 0])
        torch.testing.assert_close(network(x), expected, rtol=1e-9, atol=1e-9)


def test_dinov2_takes_the_published_names_and_shapes():
    shapes = {name: tuple(value.shape) for name, value in DinoV2(384, 12).state_dict().items()}
    block = ("norm1.weight", "norm1.bias", "attn.qkv.weight", "attn.qkv.bias", "attn.proj.weight", "attn.proj.bias")
    block += ("ls1.gamma", "norm2.weight", "norm2.bias", "mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight")
    block += ("mlp.fc2.bias", "ls2.gamma")
    outside = {"cls_token", "pos_embed", "mask_token", "patch_embed.proj.weight", "patch_embed.proj.bias"}
    outside |= {"norm.weight", "norm.bias"}
    assert set(shapes) == outside | {f"blocks.{i}.{name}" for i, name in product(range(12), block)}
    assert shapes["pos_embed"] == (1, 37 * 37 + 1, 384)
    assert shapes["patch_embed.proj.weight"] == (384, 3, 14, 14)
    assert shapes["blocks.0.attn.qkv.weight"] == (1152, 384)


def test_features_of_pixels_do_not_depend_on_the_batch_and_mark_bad_images():
    network = PixelFeatures(DinoV2Pixels(random_weights(DinoV2(64, 1, side=224))))
    images = torch.from_numpy(IMAGES).float() / 255
    features = network(images)
    assert features.shape == (3, 64)
    assert features.dtype == torch.float64
    torch.testing.assert_close(network(images[1:2])[0], features[1], rtol=1e-4, atol=1e-4)
    grey = images[:, :1]
    torch.testing.assert_close(network(grey), network(grey.expand(-1, 3, -1, -1)))
    images[1, 0, 0, 0] = torch.nan
    assert torch.isnan(network(images)).all(1).tolist() == [False, True, False]


@pytest.fixture(scope="module")
def clip_file(tmp_path_factory):
    """A TorchScript archive as OpenAI's, of a tiny network."""

    class Tiny(nn.Module):
        def __init__(self):
            super().__init__()
            self.visual = random_weights(CLIPVisual(16, 64, 1, 64, 32)).visual
            self.text_projection = nn.Parameter(torch.zeros(4, 16))

        def forward(self, x):
            return self.visual(x)

    path = tmp_path_factory.mktemp("clip") / "clip.pt"
    torch.jit.trace(Tiny(), torch.zeros(1, 3, 64, 64)).save(str(path))
    return path


def test_clip_is_torch_fidelitys(clip_file):
    ours = PixelFeatures(vision_transformer("clip", clip_file))
    theirs = FeatureExtractorCLIP("clip-vit-b-32", ["clip"], feature_extractor_weights_path=str(clip_file))
    images = torch.from_numpy(IMAGES)
    expected = theirs(images)[0].double()
    assert expected.shape == (3, 16)
    torch.testing.assert_close(ours(images.float() / 255), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["clip", "dinov2_s"])
def test_files_that_do_not_fit_are_one_line(name, tmp_path):
    wrong = tmp_path / "wrong.pt"
    torch.save({"a": torch.zeros(1)}, wrong)
    with pytest.raises(UserError, match=rf"wrong\.pt: not the weights of {name}: ") as caught:
        vision_transformer(name, wrong)
    assert "\n" not in str(caught.value)


def test_networks_are_loaded_by_name_with_their_files(clip_file):
    distances = {"features": ["clip"], "neighbours": 3, "limit": 100}
    settings = settings_of(SETTINGS | {"distribution": distances})
    assert weights_needed(settings) == ["clip"]
    found = load_networks(settings, {"clip": clip_file}, (3, 20, 28), "cpu")
    assert found.ready["clip"](torch.from_numpy(IMAGES).float() / 255).shape == (3, 16)
    clean = settings_of(SETTINGS | {"distribution": distances | {"features": ["clean_inception", "inception"]}})
    assert weights_needed(clean) == ["inception"]


def resized_as_clean_fid(image):
    """float32 (3, 299, 299): each channel by Pillow's bicubic filter as real numbers, and cut to 0 to 255."""
    channels = [Image.fromarray(c.astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC) for c in image]
    return np.clip(np.stack([np.asarray(channel) for channel in channels]), 0, 255)


@pytest.mark.parametrize("size", [(20, 28), (64, 64), (178, 218), (299, 299), (400, 310)])
def test_the_antialiased_resize_is_clean_fids(size):
    """To float32: Pillow's weights, its two passes and our sums are each rounded, our sums at each of their terms."""
    image = RANDOM.integers(0, 256, (3, *size), dtype=np.uint8)
    rows, columns = (bicubic(side, 299) for side in size)
    largest = 255 * np.prod([np.abs(weights).sum(1).max() for weights in (rows, columns)])
    roundings = 4 + sum((weights != 0).sum(1).max() for weights in (rows, columns))
    found = AntialiasedInception(nn.Identity()).resized(torch.from_numpy(image)[None])[0]
    expected = resized_as_clean_fid(image)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=roundings * 2.0**-24 * largest)
    assert min(size) == 299 or (expected == 0).any()  # where the filter overshoots


def test_clean_inception_takes_the_official_file_only(tmp_path):
    (tmp_path / "another.pth").write_bytes(b"another network")
    with pytest.raises(UserError, match=r"another\.pth: clean_inception takes the official FID Inception file"):
        clean_inception(tmp_path / "another.pth")


def test_names_of_the_antialiased_distances():
    assert frechet_name("clean_inception") == "clean_fid"
    assert frechet_name("clean_inception", "floor") == "clean_fid_floor"
    assert frechet_name("clean_inception", "r") == "clean_rfid"
    assert kernel_name("clean_inception") == "clean_kid"
    for name in ("clean_fid", "clean_fid_midpoint", "clean_rfid", "clean_kid", "fd_dinov2_l", "rfd_clip", "cmmd"):
        assert METRICS[name].suite == "generation"
    assert {"clip", "dinov2_s", "dinov2_b", "dinov2_l"} <= set(FEATURE_NETWORKS.own)


def authors_prd(eval_dist, ref_dist, angles=1001, epsilon=1e-10):
    """Sajjadi et al. 2018, equation by equation: one angle, one state after the other."""
    precisions, recalls = [], []
    for i in range(angles):
        slope = np.tan(epsilon + i * (np.pi / 2 - 2 * epsilon) / (angles - 1))
        alpha = sum(min(slope * q, p) for p, q in zip(eval_dist, ref_dist, strict=True))
        precisions.append(alpha)
        recalls.append(alpha / slope)
    return np.array(precisions), np.array(recalls)


def test_the_prd_curve_is_the_authors():
    p, q = RANDOM.dirichlet(np.ones(20)), RANDOM.dirichlet(np.ones(20))
    p[:5], q[15:] = 0, 0
    p, q = p / p.sum(), q / q.sum()
    precision, recall = authors_prd(p, q)
    ours = prd_curve(p, q)
    np.testing.assert_allclose(ours[0], precision, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(ours[1], recall, rtol=1e-6, atol=1e-12)
    for beta in (8, 1 / 8):
        scores = [(1 + beta**2) * a * b / (beta**2 * a + b + 1e-10) for a, b in zip(precision, recall, strict=True)]
        assert f_score(*ours, beta) == pytest.approx(max(scores), rel=1e-6)


@pytest.fixture
def few_clusterings(monkeypatch):
    monkeypatch.setattr(prd, "RUNS", 2)
    monkeypatch.setattr(prd, "STARTS", 2)


def test_prd_scores_are_the_authors_with_the_same_clusterings(few_clusterings):
    fake, real = RANDOM.normal(size=(150, 6)) * 0.5 + 0.5, RANDOM.normal(size=(170, 6))
    curves = []
    for seed in range(2):
        both = np.vstack([fake, real[:150]])
        labels = MiniBatchKMeans(n_clusters=20, n_init=2, random_state=seed).fit(both).labels_
        bins = [np.histogram(part, bins=20, range=[0, 20], density=True)[0] for part in (labels[:150], labels[150:])]
        curves.append(authors_prd(*bins))
    precision, recall = np.mean([c[0] for c in curves], 0), np.mean([c[1] for c in curves], 0)
    f8, f1_8 = (np.max((1 + b**2) * precision * recall / (b**2 * precision + recall + 1e-10)) for b in (8, 1 / 8))
    assert prd_scores(fake, real) == pytest.approx((f8, f1_8), rel=1e-6)
    assert f1_8 > f8  # fewer kinds than there are, each of them real


def test_prd_has_the_authors_settings():
    assert (prd.CLUSTERS, prd.RUNS, prd.STARTS, prd.ANGLES, prd.BETA) == (20, 10, 10, 1001, 8)


def test_prd_of_equal_sets_is_1_and_of_sets_apart_0(few_clusterings):
    real = RANDOM.normal(size=(60, 3))
    assert prd_scores(real, real) == pytest.approx((1, 1), abs=1e-6)
    assert prd_scores(real + 1000, real) == pytest.approx((0, 0), abs=1e-6)


def test_cmmd_is_the_mean_over_pairs():
    a, b = RANDOM.normal(size=(40, 5)), RANDOM.normal(size=(30, 5)) + 1
    u, v = (x / np.sqrt((x**2).sum(1, keepdims=True)) for x in (a, b))

    def mean(x, y):
        return np.mean([[np.exp(-((i - j) ** 2).sum() / (2 * 10**2)) for j in y] for i in x])

    expected = 1000 * (mean(u, u) + mean(v, v) - 2 * mean(u, v))
    assert distribution.cmmd(a, b) == pytest.approx(expected, rel=1e-6)
    assert distribution.cmmd(a, 3 * a) == pytest.approx(0, abs=1e-9)


def test_cmmd_and_prd_are_measured_where_they_are_wanted(few_clusterings):
    a, b = RANDOM.normal(size=(30, 4)), RANDOM.normal(size=(25, 4))
    assert set(_of_all_pairs("clip", a, b, prd=False)) == {"cmmd"}
    assert not _of_all_pairs("vgg16", a, b, prd=False)
    found = _of_all_pairs("vgg16", a, b, prd=True)
    assert tuple(found) == prd_names("vgg16")
    assert found["prd_f8_vgg16"].n == 25
    assert "20 clusters" in found["prd_f8_vgg16"].note
    a[3] = np.nan
    assert "not finite" in _of_all_pairs("clip", a, b, prd=True)["cmmd"].note


@pytest.fixture(scope="module")
def dists_files(tmp_path_factory):
    """A VGG16 of random weights as the pipeline keeps it, torchvision's with the same, and random channels' weights."""
    folder = tmp_path_factory.mktemp("dists")
    torch.manual_seed(0)
    trunk = torchvision.models.vgg16(weights=None).features.eval()
    torch.save({f"features.{name}": value for name, value in trunk.state_dict().items()}, folder / "vgg16.pt")
    weights = {name: torch.rand(1, 1475, 1, 1) for name in ("alpha", "beta")}
    torch.save(weights, folder / "dists.pt")
    return folder / "vgg16.pt", folder / "dists.pt", trunk, weights


class PiqDists(piq.DISTS):
    """piq's distance with given weights, which its own constructor would fetch."""

    def __init__(self, trunk, weights):
        alpha, beta = (weights[name].double() for name in ("alpha", "beta"))
        parts = [part for values in (alpha, beta) for part in (values / (alpha + beta).sum()).split(CHANNELS, 1)]
        options = {"replace_pooling": True, "reduction": "none", "allow_layers_weights_mismatch": True}
        ContentLoss.__init__(self, deepcopy(trunk), ["3", "8", "15", "22", "29"], parts, **options)


def test_dists_is_piqs(dists_files):
    """In float64, but for the taps of piq's pooling, which are float32: 1e-6 is asked for, and holds by far."""
    vgg16, weights_file, trunk, weights = dists_files
    x = torch.rand(2, 3, 32, 24, generator=torch.Generator().manual_seed(1))
    y = (x + 0.2 * torch.rand(2, 3, 32, 24, generator=torch.Generator().manual_seed(2))).clamp(0, 1)
    expected = PiqDists(trunk, weights)(x.double(), y.double())
    ours, exact = Dists(vgg16, weights_file), Dists(vgg16, weights_file).double()
    torch.testing.assert_close(exact(x.double(), y.double()), expected, rtol=1e-7, atol=0)
    found = ours(x, y)
    assert found.dtype == torch.float64
    # a mean of likenesses of at most 1, each of which changes by less than an activation's relative error
    torch.testing.assert_close(found, expected, rtol=0, atol=FLOAT32)
    np.testing.assert_allclose(ours(x, x).numpy(), 0, atol=1e-12)


def test_dists_refuses_small_images_and_other_weights(dists_files, tmp_path):
    vgg16, weights_file, _, _ = dists_files
    with pytest.raises(UserError, match="DISTS needs images of at least 16 x 16 pixels"):
        Dists(vgg16, weights_file)(torch.zeros(1, 1, 15, 40), torch.zeros(1, 1, 15, 40))
    with pytest.raises(UserError, match=r"vgg16\.pt: not the weights of DISTS"):
        Dists(vgg16, vgg16)
    pairs = PairMetrics((1, 12, 12), (), (), {})
    pairs.add("dists", Dists(vgg16, weights_file), (1, 12, 12))
    assert "dists" not in pairs.functions
    assert "16 x 16" in pairs.skipped["dists"]


def test_dists_needs_its_files_only_where_it_is_wanted():
    assert weights_needed(settings_of(SETTINGS)) == []
    assert weights_needed(settings_of(SETTINGS | {"dists": True})) == ["dists", "vgg16"]
    assert METRICS["dists"].suite == METRICS["sampled_dists"].suite == "reconstruction"
