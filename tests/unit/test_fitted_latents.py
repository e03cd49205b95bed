"""Densities fitted to latents: normalised, as good as closed forms say, drawn as they are, stored with samples."""

import numpy as np
import pytest
import torch
from evaluation_cases import SAMPLES, default_model, sample, save_run, smooth_images, write_data
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from vaebench.base.errors import UserError
from vaebench.base.npz import open_array
from vaebench.models.inference import latents_of
from vaebench.models.run_spec import Named
from vaebench.sampling import fitting, gaussian_mixture
from vaebench.sampling.autoregressive_flow import AutoregressiveFlow
from vaebench.sampling.choice import find_sampler, resolve_sampler
from vaebench.sampling.request import Request

QUICK = {"epochs": 2, "width": 16, "layers": 2}
FITTED = {"fitted_gaussian": {}, "gaussian_mixture": {"n_components": 2}}
FITTED |= dict.fromkeys(("maf", "iaf", "two_stage"), QUICK)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    images = smooth_images(80)
    return write_data(
        tmp_path_factory.mktemp("data"), {"train": images[:60], "eval": images[60:70], "test": images[70:]}
    )


def request_for(model, name, count, data, **options):
    _, resolved = resolve_sampler(model, Named(name, options))
    images = {split: open_array(path) for split, path in data.items()}
    return Request(model, count, resolved, np.random.default_rng(0), images)


def flow(quick_density, dimensions=3, seed=0):
    """A float64 flow whose layers are far from the identity."""
    torch.manual_seed(seed)
    mean, deviation = torch.randn(dimensions), torch.rand(dimensions) + 0.5
    found = AutoregressiveFlow(mean, deviation, layers=3, width=8, quick_density=quick_density).double()
    for parameter in found.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return found


@pytest.mark.parametrize("quick_density", [True, False])
@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_the_density_of_a_flow_is_that_of_the_noise_less_the_change_of_volume(quick_density, dimensions):
    """By autograd: -ln p(z) = -ln N(u) + ln |dz/du| at z = from_noise(u)."""
    density = flow(quick_density, dimensions)
    for u in torch.randn(4, dimensions, dtype=torch.float64):
        jacobian = torch.autograd.functional.jacobian(lambda u: density.from_noise(u[None])[0], u)
        expected = -torch.distributions.Normal(0.0, 1.0).log_prob(u).sum() + torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(density.nats(density.from_noise(u[None]))[0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("quick_density", [True, False])
def test_the_density_of_a_flow_adds_up_to_one(quick_density):
    density = flow(quick_density, dimensions=1)
    z = torch.linspace(-60, 60, 40_001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        total = torch.trapezoid((-density.nats(z)).exp(), z[:, 0])
    assert float(total) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("quick_density", [True, False])
def test_a_fitted_flow_comes_near_the_entropy(quick_density):
    """Two dimensions, the second a parabola of the first: no Gaussian fits it, and its entropy is known."""
    random, noise = np.random.default_rng(0), 0.1
    first = random.standard_normal(3000)
    z = torch.from_numpy(np.stack([first, first**2 + noise * random.standard_normal(3000)], 1)).float()
    entropy = 1 + np.log(2 * np.pi) + np.log(noise)
    gaussian = 0.5 * np.linalg.slogdet(np.cov(z.T))[1] + 1 + np.log(2 * np.pi)
    density = AutoregressiveFlow(z.mean(0), z.std(0), 2, 32, quick_density)
    options = {"epochs": 10, "batch_size": 64, "learning_rate": 1e-2, "weight_decay": 0.0}
    fitting.fit(density, density.nats, (z[:2000], z[2000:2400]), options, 0)
    nats = fitting.nats_of(density, density.nats, z[2400:], 100)
    chance = 5 * nats.std() / np.sqrt(len(nats))
    assert entropy - chance < nats.mean() < gaussian - 0.5 * (gaussian - entropy)


def test_the_gaussian_is_the_one_of_maximum_likelihood(data):
    model = default_model("VAE")
    request = request_for(model, "fitted_gaussian", 5000, data)
    drawn = find_sampler(model, "fitted_gaussian").draw(request)
    latents = {split: latents_of(model, images) for split, images in request.images.items()}
    mean, covariance = latents["train"].mean(0), np.cov(latents["train"].T, bias=True) + 1e-6 * np.eye(4)
    for split in ("eval", "test"):
        expected = -multivariate_normal(mean, covariance).logpdf(latents[split])
        np.testing.assert_allclose(drawn.latent_nats[split], expected, rtol=1e-9)
    z = drawn.latents.double().numpy()
    spread = np.sqrt(np.diag(covariance))
    assert (np.abs(z.mean(0) - mean) < 5 * spread / np.sqrt(5000)).all()
    # the variance of a covariance's estimate is at most twice the product of the variances over n
    np.testing.assert_array_less(np.abs(np.cov(z.T) - covariance), 5 * np.sqrt(2 / 5000) * np.outer(spread, spread))


@pytest.mark.parametrize("name", FITTED)
def test_a_fitted_density_is_seeded_and_its_held_out_nats_are_stored(name, data, tmp_path):
    folder, _ = save_run(tmp_path, "VAE", latent_dim=3)
    sampler = {"name": name, "options": FITTED[name]}
    for output, seed in (("a", 0), ("b", 0), ("c", 1)):
        sample(folder, data, tmp_path / f"{output}.npz", sampler, SAMPLES, seed, threads=1)
    first, same, other = (np.load(tmp_path / f"{file}.npz") for file in "abc")
    assert np.array_equal(first["data"], same["data"])
    assert not np.array_equal(first["data"], other["data"])
    for split in ("eval", "test"):
        assert first[f"latent_nats_{split}"].shape == (10,)
        assert first[f"latent_nats_{split}"].dtype == np.float64
        assert np.isfinite(first[f"latent_nats_{split}"]).all()


def test_latents_that_are_not_finite_are_refused(data):
    model = default_model("AE")
    next(model.encoder.parameters()).data.fill_(torch.nan)
    for name, options in FITTED.items():
        with pytest.raises(UserError, match="not finite"):
            find_sampler(model, name).draw(request_for(model, name, 5, data, **options))


def test_a_mixture_of_many_latents_begins_with_that_of_a_few(monkeypatch):
    """As likely as one that is fitted to all at once; of no more than `FIRST` latents it is that one, bit by bit."""
    monkeypatch.setattr(gaussian_mixture, "FIRST", 400)
    random = np.random.default_rng(0)
    places = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    latents = places[random.integers(3, size=4000)] + random.standard_normal((4000, 2))
    plain = GaussianMixture(3, max_iter=2000, tol=1e-3, random_state=5)
    whole, few = plain.fit(latents).score(latents), plain.fit(latents[:400]).means_
    found = gaussian_mixture.fit_mixture(latents, 3, 5)
    # both are optima of one likelihood, each found to within the tolerance a round
    assert found.score(latents) == pytest.approx(whole, abs=0.01)
    assert np.array_equal(gaussian_mixture.fit_mixture(latents[:400], 3, 5).means_, few)
    again = gaussian_mixture.fit_mixture(latents, 3, 5)
    assert np.array_equal(found.means_, again.means_)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_rounds_over_all_latents_end_with_the_first_that_gains_little(monkeypatch):
    """Components that overlap take many rounds to the tolerance of the first latents; those of all end earlier."""
    monkeypatch.setattr(gaussian_mixture, "FIRST", 300)
    random = np.random.default_rng(1)
    latents = np.array([[-1.0], [0.0], [1.0]])[random.integers(3, size=6000)] + random.standard_normal((6000, 2))
    chosen = latents[np.random.default_rng(5).choice(6000, 300, replace=False)]
    expected = GaussianMixture(3, max_iter=2000, tol=1e-3, random_state=5, warm_start=True).fit(chosen)
    bounds = [expected.lower_bound_]
    while len(bounds) < 2 or abs(bounds[-1] - bounds[-2]) >= 0.01:
        bounds.append(expected.set_params(max_iter=1, tol=0.0).fit(latents).lower_bound_)
    found = gaussian_mixture.fit_mixture(latents, 3, 5)
    assert found.n_iter_ == len(bounds) - 1 > 1
    np.testing.assert_array_equal(found.means_, expected.means_)
