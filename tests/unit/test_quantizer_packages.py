"""Every quantiser of the package: its layer in a plain loop, codes and vectors, resuming, and what is counted of it."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from evaluation_cases import SAMPLES, SETTINGS, evaluate, result_paths, sample, smooth_images
from evaluation_cases import write_data as write_splits
from run_specs import run_spec
from scipy.special import logsumexp
from test_resume import assert_equal, in_a_process, result, train_and_kill
from training_cases import digits, run, write_data
from vector_quantize_pytorch import LFQ, ResidualVQ, SimVQ, VectorQuantize

from vaebench.base.errors import UserError
from vaebench.models.building import build_model
from vaebench.models.catalog import grid_size
from vaebench.models.inference import encode
from vaebench.models.interface import Moment
from vaebench.models.lookup import MODELS, code_of_run
from vaebench.models.networks.compact import GridDecoder, GridEncoder
from vaebench.models.state import load_weights
from vaebench.models.storage import load_model
from vaebench.sampling.choice import find_sampler
from vaebench.training.checkpoint import seed_everything
from vaebench.training.minibatches import Minibatches

SHAPE, CHANNELS, GRID = (1, 32, 32), 6, 8 * 8
QUANTIZERS = {
    "fsq": {"fsq": {"levels": [5, 4, 3]}},
    "vq": {"vq": {"codebook_size": 16}},
    "vq without k-means": {"vq": {"codebook_size": 16, "kmeans": False, "through": "rotation", "restart_below": 0.0}},
    "vq of length 1": {"vq": {"codebook_size": 16, "normalised": True, "entropy": 0.1, "restart_below": 0.0}},
    "vq by gradients": {"vq": {"codebook_size": 16, "update": "gradient", "restart_below": 2.0}},
    "residual_vq": {"residual_vq": {"codebook_size": 8, "depth": 3}},
    "simvq": {"simvq": {"codebook_size": 16}},
    "lfq": {"lfq": {"codebook_size": 32}},
    "bsq": {"bsq": {"codebook_size": 32}},
}
X = torch.from_numpy(digits(8)).float() / 255


def spec(quantizer, **training):
    fields = {"latent_dim": CHANNELS, "quantizer": QUANTIZERS[quantizer] if isinstance(quantizer, str) else quantizer}
    return run_spec("QuantizedAE", config=fields, training={"select": "last"} | training)


def built(quantizer):
    """A model whose codebook has seen some batches."""
    torch.manual_seed(0)
    model = build_model(spec(quantizer), SHAPE)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        model.losses(X, Moment(1, 8)).terms["loss"].backward()
        optimizer.step()
    return model.eval()


def packages_layer(name):
    """The package's layer with the options of a case, written out, and what its loss is multiplied with."""
    off = {"sync_codebook": False, "sync_kmeans": False}
    vq = {"decay": 0.99, "commitment_weight": 0.25, "kmeans_init": True, "rotation_trick": False, **off}
    image = {"dim": CHANNELS, "codebook_size": 16, "accept_image_fmap": True}
    layers = {
        "vq": lambda: VectorQuantize(**image, threshold_ema_dead_code=1.0, **vq),
        "vq without k-means": lambda: VectorQuantize(**image, **vq | {"kmeans_init": False, "rotation_trick": True}),
        "vq by gradients": lambda: VectorQuantize(
            **image, threshold_ema_dead_code=2.0, learnable_codebook=True, ema_update=False, **vq
        ),
        "vq of length 1": lambda: VectorQuantize(
            **image, use_cosine_sim=True, codebook_diversity_loss_weight=0.1 / CHANNELS, **vq
        ),
        "residual_vq": lambda: ResidualVQ(
            dim=CHANNELS, codebook_size=8, num_quantizers=3, threshold_ema_dead_code=1.0, **vq
        ),
        "simvq": lambda: SimVQ(dim=CHANNELS, codebook_size=16, channel_first=True, rotation_trick=False),
        "lfq": lambda: LFQ(dim=CHANNELS, codebook_size=32, entropy_loss_weight=0.1, commitment_loss_weight=1.0),
        "bsq": lambda: LFQ(dim=CHANNELS, codebook_size=32, entropy_loss_weight=0.1, spherical=True),
    }
    return layers[name](), GRID if name in ("lfq", "bsq") else GRID * CHANNELS


class PlainAutoencoder(torch.nn.Module):
    """The package's example of an autoencoder, with the networks of ours."""

    def __init__(self, name):
        super().__init__()
        self.encoder = GridEncoder(SHAPE, CHANNELS, (8, 8))
        self.decoder = GridDecoder(SHAPE, CHANNELS, (8, 8))
        self.layer, self.scale = packages_layer(name)

    def forward(self, x):
        grid = self.encoder(x).embedding
        if isinstance(self.layer, ResidualVQ):
            vectors, _, loss = self.layer(grid.flatten(2).transpose(1, 2))
            vectors = vectors.transpose(1, 2).reshape(grid.shape)
        else:
            vectors, _, loss = self.layer(grid)
        y = self.decoder(vectors).reconstruction
        return (x - y).square().flatten(1).sum(1).mean() + self.scale * loss.sum()


@pytest.mark.parametrize("name", [name for name in QUANTIZERS if name != "fsq"])
def test_a_training_is_that_of_the_packages_layer_in_a_plain_loop(name, tmp_path, float64):
    data = write_data(tmp_path)
    ours = load_weights(run(spec(name), data, tmp_path, seed=3)["output"] / "model.pt")["model_state_dict"]
    seed_everything(3)
    model = PlainAutoencoder(name)
    images = Minibatches(np.load(data["train_data"])["data"], 16, torch.device("cpu"), 2)
    seed_everything(3)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    model.train()
    for _ in range(2):
        for x in images.load(images.order(shuffle=True)):
            optimizer.zero_grad()
            model(x).backward()
            optimizer.step()
    plain = {
        key.replace("layer.", "quantizer.layer.", 1) if key.startswith("layer.") else key: value
        for key, value in model.state_dict().items()
    }
    assert plain.keys() == ours.keys()
    for key, value in plain.items():
        torch.testing.assert_close(ours[key], value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_codes_stand_for_what_the_decoder_is_given(name):
    model = built(name)
    posterior = encode(model, X)
    levels = (3,) if name == "residual_vq" else ()
    assert posterior.codes.dtype == torch.int64
    assert posterior.codes.shape == (8, *levels, 8, 8)
    assert 0 <= posterior.codes.min() <= posterior.codes.max() < model.codebook_size
    assert len(posterior.codes.unique()) > 1
    torch.testing.assert_close(model.embed_codes(posterior.codes), posterior.mode(), rtol=0, atol=1e-6)
    with torch.no_grad():
        forward = model.quantizer(model.encoder(X).embedding, Moment())
    assert torch.equal(forward.codes, posterior.codes)
    torch.testing.assert_close(forward.vectors, posterior.mode(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_an_image_without_an_answer_has_no_code(name):
    model, x = built(name), X.clone()
    x[1] = torch.nan
    posterior = encode(model, x)
    assert (posterior.codes[1] == -1).all()
    assert torch.isnan(posterior.mode()[1]).all()
    others = [0, *range(2, 8)]
    assert torch.equal(posterior.codes[others], encode(model, X).codes[others])


@pytest.mark.parametrize("name", QUANTIZERS)
def test_nothing_moves_outside_training(name):
    """Not even a codebook that k-means has not filled yet, whatever mode the model is in."""
    torch.manual_seed(0)
    fresh = build_model(spec(name), SHAPE)
    for model in (fresh, built(name)):
        for training in (True, False):
            before = {key: value.clone() for key, value in model.quantizer.state_dict().items()}
            random = torch.get_rng_state()
            model.train(training)
            encode(model, X)
            model.eval()
            with torch.no_grad():
                losses = [model.losses(X, Moment()).terms["loss"] for _ in range(2)]
            assert torch.equal(*losses)
            assert all(torch.equal(before[key], value) for key, value in model.quantizer.state_dict().items())
            assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("name", ["vq", "vq of length 1", "residual_vq", "simvq"])
def test_codes_are_the_nearest_and_the_commitment_is_their_distance(name):
    model = built(name)
    posterior = encode(model, X)
    rest = posterior.unquantised.double()
    layer = model.quantizer.layer
    books = {"residual_vq": lambda: layer.codebooks}.get(name, lambda: layer.codebook[None])()
    codes = posterior.codes if posterior.codes.ndim == 4 else posterior.codes[:, None]
    for book, level in zip(books.detach().double(), codes.unbind(1), strict=True):
        distances = (rest.movedim(1, -1)[..., None, :] - book).square().sum(-1)
        chosen = distances.gather(-1, level[..., None]).squeeze(-1)
        torch.testing.assert_close(chosen, distances.min(-1).values, rtol=0, atol=1e-5)  # two may be as near in float32
        rest = rest - book[level].movedim(-1, 1)
    torch.testing.assert_close(posterior.commitment(), rest.square().flatten(1).sum(1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["vq", "vq by gradients", "residual_vq"])
def test_a_killed_training_ends_as_if_left_alone(name, tmp_path):
    """Codebooks that began by k-means, follow averages, and whose dead codes are drawn anew; also within an epoch."""
    data = write_data(tmp_path)
    chosen = spec(name, checkpoint_minutes=1e-9)
    run(chosen, data, tmp_path / "whole")
    for number, epoch, position in ((9, 1, 1), (15, 1, 2), (9, 2, 2)):
        code = in_a_process(train_and_kill, chosen, data, tmp_path / "killed", number, epoch, position)
        assert code == (-9 if number == 9 else 128 + number)
    run(chosen, data, tmp_path / "killed")
    assert_equal(result(tmp_path / "killed"), result(tmp_path / "whole"))


@pytest.mark.parametrize("name", ["vq of length 1", "residual_vq", "bsq"])
def test_usage_perplexity_and_rate_are_those_of_the_codes(name, tmp_path):
    images = smooth_images(36, SHAPE)
    data = write_splits(tmp_path, {"train": images[:20], "eval": images[20:26], "test": images[26:]})
    paths = run(spec(name), {"train_data": data["train"], "eval_data": data["eval"]}, tmp_path)
    samples = tmp_path / "samples.npz"
    sample(paths["output"], data, samples, {"name": "uniform_codes", "options": {}}, SAMPLES, 0, 1)
    results = result_paths(tmp_path)
    results["latent.csv"].parent.mkdir()
    evaluate(paths["output"], spec(name), 0, "x", data, samples, {}, SETTINGS, None, results, 1)
    found = pd.read_csv(results["latent.csv"]).set_index("metric").value
    model = load_model(paths["output"])
    codes = encode(model, torch.from_numpy(images[26:]).float() / 255).codes.numpy()
    levels = codes.swapaxes(0, 1) if codes.ndim == 4 else codes[None]
    shares = [np.unique(level, return_counts=True)[1] / level.size for level in levels]
    entropies = [-(share * np.log(share)).sum() for share in shares]
    assert found["codebook_perplexity"] == pytest.approx(np.exp(np.mean(entropies)))
    assert found["codes_used"] == sum(map(len, shares))
    each = GRID * math.log(model.codebook_size)
    assert found["rate"] == pytest.approx(each * len(levels))
    if len(levels) > 1:
        for number, (share, entropy) in enumerate(zip(shares, entropies, strict=True), 1):
            assert found[f"codebook_perplexity/level {number}"] == pytest.approx(np.exp(entropy))
            assert found[f"codes_used/level {number}"] == len(share)
            assert found[f"rate/level {number}"] == pytest.approx(each)
        usage = np.load(results["latent.npz"])["code_usage"]
        assert usage.shape == (3, 8)
        assert usage.sum() == codes.size
    else:
        assert not any("/level" in name for name in found.index)


def test_dead_codes_are_replaced_by_vectors_of_the_batch():
    torch.manual_seed(0)
    model = build_model(spec({"vq": {"codebook_size": 16, "kmeans": False, "restart_below": 1.0}}), SHAPE).train()
    layer = model.quantizer.layer
    with torch.no_grad():
        grid = model.encoder(X).embedding
        layer._codebook.cluster_size.zero_()
        codes = model.quantizer(grid, Moment()).codes
    alive = 0.01 * codes.flatten().bincount(minlength=16) >= 1  # of the average, whose decay is 0.99
    vectors = grid.movedim(1, -1).reshape(-1, CHANNELS)
    replaced = (layer.codebook[:, None] == vectors).all(-1).any(1)
    assert torch.equal(replaced, ~alive)
    assert 0 < alive.sum() < 16


def test_a_quantiser_is_stale_by_its_own_module_alone():
    package = "vaebench.models.providers.quantizers"
    for name, quantizer in QUANTIZERS.items():
        modules = {module for module in code_of_run(spec(name)).modules if module.startswith(package)}
        assert modules == {f"{package}.model", f"{package}.{next(iter(quantizer))}"}
    assert code_of_run(spec("lfq")).facts != code_of_run(spec({"lfq": {"codebook_size": 64}})).facts


@pytest.mark.parametrize("stride", [4, 8, 16, 32, None])
@pytest.mark.parametrize("size", [(64, 64), (28, 28), (45, 70)])
@pytest.mark.parametrize("net", ["compact", "lapped"])
def test_the_grid_is_as_coarse_as_asked(net, stride, size):
    fields = {"latent_dim": 3, "downsampling": stride, "quantizer": {"fsq": {"levels": [3, 3, 3]}}}
    model = build_model(run_spec("QuantizedAE", {"encoder": net, "decoder": net}, fields), (1, *size)).eval()
    divisor = stride or (4 if max(size) < 48 else 8)
    grid = (math.ceil(size[0] / divisor), math.ceil(size[1] / divisor))
    assert model.latent_shape == (3, *grid) == (3, *grid_size(size, stride))
    posterior = encode(model, torch.rand(2, 1, *size))
    assert posterior.codes.shape == (2, *grid)
    assert model.decode(posterior.mode()).shape == (2, 1, *size)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("quantizer", {"vq": {"codebook_size": 1}}, "vq.codebook_size: 1 must be a whole number that is at least 2"),
        ("quantizer", {"vq": {"codebook_size": True}}, "vq.codebook_size: True must be a whole number"),
        ("quantizer", {"vq": {"codebook_size": 2**17}}, "at most 65536"),
        ("quantizer", {"vq": {"update": "sgd"}}, "vq.update: 'sgd' must be ema or gradient"),
        ("quantizer", {"vq": {"decay": 1.5}}, "vq.decay: 1.5 must be a number that is at least 0 and at most 1"),
        ("quantizer", {"vq": {"commitment": float("inf")}}, "vq.commitment: inf must be a number"),
        ("quantizer", {"vq": {"kmeans": 1}}, "vq.kmeans: 1 must be true or false"),
        (
            "quantizer",
            {"vq": {"normalised": True, "update": "gradient"}},
            "vq: normalised codes follow moving averages",
        ),
        ("quantizer", {"residual_vq": {"depth": 1}}, "residual_vq.depth: 1 must be a whole number that is at least 2"),
        ("quantizer", {"lfq": {"codebook_size": 1000}}, "lfq.codebook_size: 1000 must be a power of 2"),
        ("quantizer", {"simvq": {"update": "ema"}}, "simvq has no option 'update'; it has codebook_size"),
        ("downsampling", 12, "12 must be one of 4, 8, 16, 32, or null"),
    ],
)
def test_an_option_that_cannot_be_is_named(field, value, words):
    assert words in MODELS["QuantizedAE"].check(field, value)


def test_options_that_are_written_out_are_those_left_out():
    info = MODELS["QuantizedAE"]
    assert info.check("quantizer", {"vq": None}) is None
    assert info.check("downsampling", None) is None
    for name, levels in (("vq", 1), ("residual_vq", 4)):
        model = build_model(spec({name: None}), SHAPE)
        assert model.code_levels == levels
        assert model.sampler == info.sampler_of({"quantizer": {name: None}}) != ""
        find_sampler(model, model.sampler)


def test_a_pixelcnn_is_refused_for_several_levels():
    with pytest.raises(UserError, match="pixelcnn does not fit QuantizedAE: it draws one level of codes, not 3"):
        find_sampler(built("residual_vq"), "pixelcnn")


@pytest.mark.parametrize("name", ["lfq", "bsq"])
def test_the_entropies_of_signs_are_those_of_their_definition(name):
    """H(code | vector) less `diversity` times H(code) over the batch, of p in proportion to exp(-100 ‖z - code‖²)."""
    options = {"codebook_size": 8, "entropy": 0.3, "diversity": 2.0, "commitment": 0.5}
    model = build_model(run_spec("QuantizedAE", config={"latent_dim": 3, "quantizer": {name: options}}), SHAPE)
    grid = 0.2 * torch.randn(5, 3, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    found = model.double().train().quantizer(grid, Moment()).loss
    vectors, length = grid.movedim(1, -1).reshape(-1, 3).numpy(), 1.0
    if name == "bsq":
        vectors, length = vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 3**-0.5
    codes = length * np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
    log_p = -100 * np.square(vectors[:, None] - codes).sum(-1)
    log_p -= logsumexp(log_p, axis=1, keepdims=True)
    each, mean = -(np.exp(log_p) * log_p).sum(1).mean(), np.exp(log_p).mean(0)
    commitment = np.square(vectors - length * np.sign(vectors)).mean()
    expected = 4 * (0.3 * (each - 2.0 * -(mean * np.log(mean)).sum()) + 0.5 * commitment)
    assert float(found) == pytest.approx(expected, rel=1e-5)  # the package computes in float32
