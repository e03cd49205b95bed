"""The two-stage sampler: its bound, its draws from a curved set beside pythae's sampler, and every kind of latent."""

import math

import numpy as np
import pytest
import torch
from evaluation_cases import compact_spec, default_model, smooth_images
from pythae.data.datasets import DatasetOutput
from pythae.samplers import TwoStageVAESampler, TwoStageVAESamplerConfig
from scipy.spatial.distance import cdist
from scipy.stats import multivariate_normal

from vaebench.models.building import build_model
from vaebench.models.inference import decode, encode
from vaebench.models.run_spec import Named
from vaebench.sampling import fitting
from vaebench.sampling.choice import find_sampler, resolve_sampler
from vaebench.sampling.latent_density import drawn_latents, standardisation
from vaebench.sampling.latent_vae import LatentVAE
from vaebench.sampling.request import Request

QUICK = {"epochs": 2, "width": 16, "layers": 2, "batch_size": 16}
FIT = {"epochs": 50, "batch_size": 128, "learning_rate": 1e-2, "weight_decay": 0.05}


def request_for(model, count=40, images=None, **options):
    _, resolved = resolve_sampler(model, Named("two_stage", QUICK | options))
    images = smooth_images(80, model.input_shape) if images is None else images
    parts = {"train": images[:60], "eval": images[60:70], "test": images[70:]}
    return Request(model, count, resolved, np.random.default_rng(0), parts)


def linear_vae(scales, gamma):
    """A float64 `LatentVAE` of two dimensions whose decoder is a matrix of orthogonal columns and whose encoder gives
    the exact posterior; and the covariance of the latents that it draws."""
    turned = torch.linalg.qr(torch.tensor([[1.0, 2.0], [3.0, -1.0]], dtype=torch.float64))[0]
    weight = turned * torch.tensor(scales, dtype=torch.float64)
    mean, deviation = torch.tensor([1.0, -2.0]).double(), torch.tensor([0.5, 3.0]).double()
    vae = LatentVAE(mean, deviation, layers=1, width=3).double().eval()
    vae.gamma.fill_(gamma)
    for parameter in vae.parameters():
        parameter.data.zero_()
    precision = 1 + torch.tensor(scales).double().square() / gamma**2
    vae.decoder.output.weight.data[:, 3:] = weight
    vae.encoder.output.weight.data[:2, 3:] = weight.T / (gamma**2 * precision[:, None])
    vae.encoder.output.bias.data[2:] = -precision.log()
    spread = deviation[:, None] * (weight @ weight.T + gamma**2 * torch.eye(2)) * deviation
    return vae, mean, spread


def test_the_bound_is_the_density_where_the_posterior_is_exact():
    vae, mean, spread = linear_vae([1.0, 0.3], gamma=0.5)
    z = torch.tensor([1.7, 0.4], dtype=torch.float64)
    torch.manual_seed(0)
    with torch.no_grad():
        draws = vae.nats(z.expand(20_000, 2)).numpy()
    expected = -multivariate_normal(mean.numpy(), spread.numpy()).logpdf(z.numpy())
    assert abs(draws.mean() - expected) < 5 * draws.std() / math.sqrt(len(draws))


def test_draws_have_the_covariance_of_decoder_and_noise():
    vae, mean, spread = linear_vae([1.0, 0.3], gamma=0.5)
    u, noise = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 20_000, 2)))
    with torch.no_grad():
        z = vae.from_noise(u, noise).numpy()
    deviations = spread.diagonal().sqrt().numpy()
    assert (np.abs(z.mean(0) - mean.numpy()) < 5 * deviations / math.sqrt(len(z))).all()
    # the variance of a covariance's estimate is at most twice the product of the variances over n
    bound = 5 * math.sqrt(2 / len(z)) * np.outer(deviations, deviations)
    np.testing.assert_array_less(np.abs(np.cov(z.T) - spread.numpy()), bound)


def test_the_noise_of_the_latents_is_the_likeliest_one_of_the_batches():
    """γ is the root of the mean squared error: no other has a smaller bound, and it is remembered."""
    vae, _, _ = linear_vae([1.0, 0.3], gamma=0.5)
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((200, 2)))
    vae.gamma.fill_(math.nan)
    torch.manual_seed(0)
    best = vae.train().nats(z).mean().item()
    found = float(vae.gamma)
    vae.eval()
    for factor, lowest in ((1.0, True), (0.9, False), (1.1, False)):
        vae.gamma.fill_(found * factor)
        torch.manual_seed(0)
        given = vae.nats(z).mean().item()
        assert (given == pytest.approx(best, rel=1e-12)) if lowest else (given > best)


def parabola(count, seed):
    """Latents (z, z² + 0.3 ε): no Gaussian fits them, and their entropy is known."""
    first, noise = np.random.default_rng(seed).standard_normal((2, count))
    return torch.from_numpy(np.stack([first, first**2 + 0.3 * noise], 1))


ENTROPY = 1 + math.log(2 * math.pi) + math.log(0.3)


def energy_distance(a, b):
    """2 E‖a - b‖ - E‖a - a'‖ - E‖b - b'‖ between two sets (Székely & Rizzo 2013): 0 for equal distributions."""
    own = [cdist(z, z).sum() / (len(z) * (len(z) - 1)) for z in (a, b)]
    return 2 * cdist(a, b).mean() - sum(own)


def neighbours_of_the_same_set(a, b):
    """The share of points whose nearest neighbour is of their own set: ½ for equal distributions."""
    both = np.concatenate([a, b])
    distances = cdist(both, both)
    np.fill_diagonal(distances, np.inf)
    own = np.arange(len(both)) < len(a)
    return float((own[distances.argmin(1)] == own).mean())


def test_draws_of_a_curved_set_are_nearer_to_it_than_the_prior_and_pythaes_sampler():
    """pythae's second VAE has layers of the same size, and the same optimizer, steps and latents, all in float64."""
    train, held_out, truth = parabola(2000, 0), parabola(500, 1), parabola(1000, 2)
    torch.manual_seed(0)
    ours = LatentVAE(*standardisation(train), layers=2, width=32).double()
    fitting.fit(ours, ours.nats, (train, held_out), FIT, 0)
    given = TwoStageVAESamplerConfig(second_stage_depth=2, second_layers_dim=32)
    theirs = TwoStageVAESampler(default_model("VAE", latent_dim=2), given).second_vae.double()

    def loss(z):
        return theirs(DatasetOutput(data=z)).loss.expand(len(z))

    fitting.fit(theirs, loss, (train, held_out), FIT, 0)
    u, noise = torch.randn(2, 1000, 2, dtype=torch.float64)
    with torch.no_grad():
        drawn = {
            "ours": ours.from_noise(u, noise),
            "theirs": theirs.decoder(u).reconstruction,
            "prior": u,
        }
        bound = fitting.nats_of(ours, ours.nats, held_out, 500)
    energy = {name: energy_distance(z, truth) for name, z in drawn.items()}
    nearest = {name: neighbours_of_the_same_set(z, truth) for name, z in drawn.items()}
    for name in ("theirs", "prior"):
        assert energy["ours"] < 0.1 * energy[name]
        assert nearest["ours"] - 0.5 < 0.5 * (nearest[name] - 0.5)
    # a bound on the entropy from above, and at least half the way to it from the best Gaussian's
    gaussian = 0.5 * np.linalg.slogdet(np.cov(truth.T))[1] + 1 + math.log(2 * math.pi)
    spread = 5 * bound.std() / math.sqrt(len(bound))
    assert ENTROPY - spread < bound.mean() < ENTROPY + 0.5 * (gaussian - ENTROPY)


KINDS = {
    "VAE": {},
    "AE": {},
    "VAE_LinNF": {},
    "HVAE": {"n_lf": 1},
    "SVAE": {},
    "PoincareVAE": {},
    "LikelihoodVAE": {"spatial": True, "latent_dim": 2},
}


@pytest.mark.parametrize(("name", "fields"), KINDS.items(), ids=KINDS)
def test_latents_of_every_kind_are_drawn(name, fields):
    """Points, flows, what goes through Hamiltonian steps, spheres, balls and grids: seeded, finite, in their shape."""
    torch.manual_seed(0)
    model = build_model(compact_spec(name, **{"latent_dim": 3} | fields), (1, 28, 28)).eval()
    before = torch.get_rng_state()
    drawn, same = (find_sampler(model, "two_stage").draw(request_for(model)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert drawn.latents.shape == (40, *model.latent_shape)
    assert torch.equal(drawn.latents, same.latents)
    assert torch.isfinite(decode(model, drawn.latents)).all()
    for split in ("eval", "test"):
        assert drawn.latent_nats[split].shape == (10,)
        assert np.isfinite(drawn.latent_nats[split]).all()


def test_it_is_fitted_to_draws_from_posteriors_and_not_to_their_means():
    model = default_model("VAE")
    request = request_for(model, fit_images=50)
    found = drawn_latents(request)
    assert {split: len(z) for split, z in found.items()} == {"train": 50, "eval": 10, "test": 10}
    posterior = encode(model, torch.from_numpy(request.train[:50]).float() / 255)
    noise = np.random.default_rng(0).standard_normal((50, 4), dtype=np.float32)
    expected = posterior.mode().numpy() + noise * np.exp(0.5 * posterior.spread().numpy())
    np.testing.assert_allclose(found["train"], expected, rtol=1e-5, atol=1e-6)
