"""Samplers: natural for each family, seeded, of the right distribution, and refused where they do not fit."""

import json

import numpy as np
import pytest
import torch
from evaluation_cases import SAMPLES, default_model, sample, save_run, smooth_images, write_data

from vaebench.base.errors import UserError
from vaebench.base.npz import open_array
from vaebench.models.inference import decode, encode
from vaebench.models.providers.pythae.catalog import MODELS
from vaebench.models.run_spec import Named
from vaebench.models.storage import load_model
from vaebench.sampling import pixelcnn
from vaebench.sampling.choice import find_sampler, resolve_sampler
from vaebench.sampling.gaussian_mixture import fit_mixture
from vaebench.sampling.latent_density import standardisation
from vaebench.sampling.pixelcnn import PixelCNN, fit_pixelcnn, sample_codes
from vaebench.sampling.request import Request

AUTO = {"name": "auto", "options": {}}
QUICK = {"epochs": 3, "channels": 8, "layers": 1, "batch_size": 16, "learning_rate": 5e-3, "patience": 3}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    images = smooth_images(60)
    return write_data(
        tmp_path_factory.mktemp("data"), {"train": images[:40], "eval": images[40:50], "test": images[50:]}
    )


def request_for(model, count, data, **options):
    name, resolved = resolve_sampler(model, Named(**AUTO))
    quick = QUICK if name == "pixelcnn" else {"mcmc_steps_nbr": 2, "n_lf": 2, "eps_lf": 0.01} if name == "rhvae" else {}
    generator = np.random.default_rng(0)
    images = {split: open_array(path) for split, path in data.items()}
    return name, Request(model, count, resolved | quick | options, generator, images)


def draw(name, request):
    return find_sampler(request.model, name).draw(request).latents


@pytest.mark.parametrize("model_name", sorted(MODELS))
def test_every_family_has_a_natural_sampler(model_name, data):
    model = default_model(model_name, **({"num_embeddings": 16} if model_name == "VQVAE" else {}))
    name, request = request_for(model, 5, data)
    images = decode(model, draw(name, request))
    assert images.shape == (5, 1, 28, 28)
    assert torch.isfinite(images).all()


def test_the_natural_samplers_are_those_of_the_study():
    named = {
        model: resolve_sampler(default_model(model), Named(**AUTO))[0]
        for model in ("AE", "WAE_MMD", "RAE_GP", "VAE", "VQVAE")
    }
    assert named == {
        "AE": "gaussian_mixture",
        "WAE_MMD": "gaussian_mixture",
        "RAE_GP": "gaussian_mixture",
        "VAE": "normal",
        "VQVAE": "pixelcnn",
    }


@pytest.mark.parametrize(("model", "config"), [("VAE", {}), ("VQVAE", {"num_embeddings": 16})])
def test_images_do_not_depend_on_the_batch_size(model, config, data, tmp_path):
    folder, _ = save_run(tmp_path, model, **config)
    sampler = {"name": "auto", "options": QUICK if model == "VQVAE" else {}}
    drawn = []
    for batch_size in (1, 7, 16, 500):
        settings = {"count": 37, "batch_size": batch_size, "seed": 0, "device": "cpu"}
        sample(folder, data, tmp_path / "samples.npz", sampler, settings, 0, 1)
        drawn.append(open_array(tmp_path / "samples.npz"))
    assert drawn[0].shape[0] == 37
    assert all(np.array_equal(images, drawn[0]) for images in drawn)


@pytest.mark.parametrize(
    ("model", "config"), [("VAE", {}), ("VQVAE", {"num_embeddings": 16, "use_ema": True}), ("AE", {})]
)
def test_samples_are_seeded_and_stored_with_their_recipe(model, config, data, tmp_path):
    folder, _ = save_run(tmp_path, model, latent_dim=4, **config)
    sampler = {"name": "pixelcnn", "options": QUICK} if model == "VQVAE" else AUTO
    for output, seed, training_seed in (("a", 1, 0), ("b", 1, 0), ("c", 2, 0), ("d", 1, 1)):
        settings = SAMPLES | {"seed": seed}
        sample(folder, data, tmp_path / f"{output}.npz", sampler, settings, training_seed, threads=1)
    first, same, other, of_another_training = (open_array(tmp_path / f"{name}.npz") for name in "abcd")
    assert first.dtype == np.uint8
    assert first.shape == (12, 1, 28, 28)
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, of_another_training)  # even of a model with the same weights
    recipe = json.loads(str(np.load(tmp_path / "a.npz")["sampler"]))
    assert (recipe["seed"], recipe["training_seed"]) == (1, 0)
    assert recipe["name"] == resolve_sampler(default_model(model), Named(**AUTO))[0]


def test_misfits_and_unknown_options_are_named():
    vae, vq = default_model("VAE"), default_model("VQVAE")
    for model, sampler, message in (
        (vae, {"name": "magic"}, "'magic' is not known; choose auto, normal"),
        (vae, {"name": "pixelcnn"}, "pixelcnn does not fit VAE: it draws codes of a VQ model"),
        (vq, {"name": "normal"}, "normal does not fit VQVAE: a VQ model needs codes"),
        (vae, {"name": "vamp"}, "only VAMP has this prior"),
        (vae, {"name": "gaussian_mixture", "options": {"components": 3}}, "has no option 'components'"),
    ):
        with pytest.raises(UserError, match=message):
            resolve_sampler(model, Named(**sampler))


def test_a_damaged_model_is_refused_and_leaves_nothing(data, tmp_path):
    def damage(network):
        next(network.decoder.parameters()).data.fill_(torch.nan)

    folder, _ = save_run(tmp_path, "VAE", latent_dim=4, change=damage)
    with pytest.raises(UserError, match="not finite"):
        sample(folder, data, tmp_path / "samples.npz", AUTO, SAMPLES, seed=0, threads=1)
    assert not list(tmp_path.glob("*samples*"))


def test_a_density_of_one_latent_is_refused():
    """As of labels that only one training image has."""
    for fit in (
        lambda latents: fit_mixture(latents, 10, 0),
        lambda latents: standardisation(torch.from_numpy(latents)),
    ):
        with pytest.raises(UserError, match="a density is fitted to the latents of at least 2 training images"):
            fit(np.zeros((1, 3)))
    assert fit_mixture(np.array([[0.0], [1.0]]), 10, 0).n_components == 2


def test_the_mixture_follows_the_training_latents(data):
    model = default_model("AE")
    _, request = request_for(model, 4000, data, n_components=2)
    drawn = draw("gaussian_mixture", request).double()
    x = torch.from_numpy(np.array(open_array(data["train"]))).float() / 255
    latents = encode(model, x).mean.double()
    torch.testing.assert_close(drawn.mean(0), latents.mean(0), atol=0.1 * float(latents.std()), rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(latents.T), atol=0.2 * float(latents.var()), rtol=0)


def test_the_aggregate_posterior_comes_from_the_training_images(data):
    model = default_model("VAE")
    model.encoder.log_var.weight.data.zero_()
    model.encoder.log_var.bias.data.fill_(-30)
    _, request = request_for(model, 50, data)
    drawn = draw("aggregate_posterior", request)
    means = encode(model, torch.from_numpy(np.array(open_array(data["train"]))).float() / 255).mean
    assert torch.cdist(drawn, means).min(1).values.max() < 1e-3


def test_the_sphere_is_the_sphere(data):
    _, request = request_for(default_model("SVAE"), 2000, data)
    drawn = draw("hypersphere", request)
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(2000))
    assert drawn.mean(0).abs().max() < 0.05


@pytest.mark.parametrize("ema", [False, True])
def test_uniform_codes_use_the_whole_book_evenly(ema, data):
    model = default_model("VQVAE", num_embeddings=8, use_ema=ema)
    _, request = request_for(model, 4000, data)
    drawn = draw("uniform_codes", request).reshape(-1, 1)
    shares = torch.bincount(torch.cdist(drawn, model.codebook()).argmin(1), minlength=8) / len(drawn)
    torch.testing.assert_close(shares, torch.full((8,), 1 / 8), atol=0.02, rtol=0)


@pytest.mark.parametrize("name", ["pixelcnn", "uniform_codes"])
def test_the_codes_nats_of_both_held_out_splits_come_with_the_samples(name, data, tmp_path):
    """-ln p of each image's codes: of equally likely ones h·w ln K, under a fitted prior less for images like these."""
    folder, _ = save_run(tmp_path, "VQVAE", latent_dim=4, num_embeddings=16)
    options = QUICK | {"epochs": 12} if name == "pixelcnn" else {}
    sample(folder, data, tmp_path / "samples.npz", {"name": name, "options": options}, SAMPLES, seed=0, threads=1)
    network = load_model(folder)
    grid = encode(network, torch.zeros(1, 1, 28, 28)).codes[0].numel()
    with np.load(tmp_path / "samples.npz") as archive:
        found = {split: archive[f"code_nats_{split}"] for split in ("eval", "test")}
    uniform = grid * np.log(16)
    for split, nats in found.items():
        assert nats.shape == (10,), split
        assert nats.dtype == np.float64
        if name == "uniform_codes":
            np.testing.assert_allclose(nats, uniform)
        else:
            assert nats.mean() < 0.9 * uniform
            assert nats.std() > 0


def test_codes_of_an_encoder_that_is_not_finite_are_refused(data, tmp_path):
    def damage(network):
        next(network.encoder.parameters()).data.fill_(torch.nan)

    folder, _ = save_run(tmp_path, "VQVAE", latent_dim=4, num_embeddings=16, change=damage)
    with pytest.raises(UserError, match="encoder gives values that are not finite"):
        sample(folder, data, tmp_path / "samples.npz", AUTO, SAMPLES, seed=0, threads=1)


def test_embedded_codes_are_what_the_decoder_was_trained_on():
    model = default_model("VQVAE", num_embeddings=16)
    encoding = encode(model, torch.rand(3, 1, 28, 28))
    torch.testing.assert_close(model.embed_codes(encoding.codes), encoding.quantised, atol=1e-6, rtol=0)


def test_the_code_prior_is_autoregressive():
    """No logit depends on its own code or on a later one."""
    torch.manual_seed(0)
    prior = PixelCNN(codes=5, channels=8, layers=2).eval()
    codes = torch.randint(5, (1, 4, 4))
    with torch.no_grad():
        before = prior(codes)
        for i in range(4):
            for j in range(4):
                changed = codes.clone()
                changed[0, i, j] = (codes[0, i, j] + 1) % 5
                differs = (prior(changed) - before).abs().amax(1)[0] > 1e-7
                assert not differs.flatten()[: i * 4 + j + 1].any()


def test_the_code_prior_learns_a_known_distribution():
    """Rows of equal codes, the first drawn from (0.7, 0.2, 0.1): the samples must do the same."""
    random = np.random.default_rng(0)
    first = torch.from_numpy(random.choice(3, size=(600, 3, 1), p=[0.7, 0.2, 0.1]))
    codes = first.expand(600, 3, 3).contiguous()
    options = QUICK | {"epochs": 25, "channels": 16}
    prior = fit_pixelcnn(codes[:500], codes[500:], 3, options, seed=0)
    drawn = sample_codes(prior, 1500, (3, 3), seed=0)
    assert (drawn == drawn[:, :, :1]).float().mean() > 0.97
    shares = torch.bincount(drawn[:, :, 0].flatten(), minlength=3) / drawn[:, :, 0].numel()
    # 600 rows tell a share to 0.02, 1,500 samples to 0.01; the fit, stopped early, differs by 0.03 from seed to seed
    torch.testing.assert_close(shares, torch.tensor([0.7, 0.2, 0.1]), atol=0.1, rtol=0)


def test_codes_are_drawn_in_blocks_of_bounded_memory(monkeypatch):
    monkeypatch.setattr(pixelcnn, "LOGITS", 9 * 3 * 100)
    prior = PixelCNN(3, 4, 1).eval()
    sizes = []
    prior.register_forward_hook(lambda module, arguments, output: sizes.append(output.numel()))
    drawn = sample_codes(prior, 250, (3, 3), seed=0)
    assert max(sizes) == 9 * 3 * 100
    assert sizes.count(max(sizes)) == 2 * 3  # the last row's positions of two whole blocks
    assert len(drawn[100:].unique(dim=0)) > 100  # no block is left at zero
    assert torch.equal(drawn, sample_codes(prior, 250, (3, 3), seed=0))
