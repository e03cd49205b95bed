"""Rates, bounds and likelihoods against closed forms, quadrature, enumeration and exact marginals."""

import itertools
import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from evaluation_cases import FLOAT32, default_model
from linear_models import SHAPE, linear_model, marginal, plane
from scipy.special import ive, logsumexp
from torch import nn

from vaebench.metrics.likelihood import importance_weighted_bounds
from vaebench.metrics.rate import bound_terms, code_terms
from vaebench.models.inference import decode, encode, reconstruct
from vaebench.models.kl import kl_per_dimension
from vaebench.models.providers.pythae.poincare import WrappedNormal
from vaebench.models.providers.pythae.svae import sphere_divergence
from vaebench.sampling.pixelcnn import PixelCNN, code_nats

X = torch.rand(7, 1, 28, 28, generator=torch.Generator().manual_seed(2))
PLANE_X = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(1))
CONSTANT = 4.5 * math.log(2 * math.pi)  # ½ D ln 2π of nine pixels


def streams(count, seed=0):
    return [np.random.default_rng([seed, k]) for k in range(count)]


def integrated_bound(model, x):
    """E_q[½ Σ (x - x̂(z))² + ln q(z|x) - ln p(z)] by Gauss-Hermite quadrature over the plane, in float64."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    grid = np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2)
    shares = np.outer(weights, weights).ravel() / (2 * np.pi)
    encoding, found = encode(model, x), []
    for i in range(len(x)):
        mean, deviation = (part[i].double().numpy() for part in (encoding.mean, (0.5 * encoding.log_variance).exp()))
        z = mean + grid * deviation
        y = decode(model, torch.from_numpy(z).float(), clamp=False).double().flatten(1).numpy()
        distortion = 0.5 * ((x[i].double().flatten().numpy() - y) ** 2).sum(1)
        log_ratio = -0.5 * (grid**2).sum(1) - np.log(deviation).sum() + 0.5 * (z**2).sum(1)
        found.append(shares @ (distortion + log_ratio))
    return np.array(found)


@pytest.mark.parametrize("curve", [None, nn.Tanh(), nn.Sigmoid()], ids=["linear", "tanh", "sigmoid"])
def test_the_negative_elbo_is_the_integral_over_the_posterior(curve):
    model = linear_model(log_factor=0.7, curve=curve)
    terms = bound_terms(model, PLANE_X, encode(model, PLANE_X), streams(2000))
    expected = integrated_bound(model, PLANE_X)
    for i, value in enumerate(expected):
        assert terms["neg_elbo"][i].item() == pytest.approx(value, abs=5 * terms["neg_elbo_draw_error"][i].item())
    assert (terms["neg_elbo_draw_error"] < 0.1).all()
    torch.testing.assert_close(terms["rate"] + terms["distortion"], terms["neg_elbo"])


def test_the_value_at_the_mode_is_not_the_bound():
    """In a linear model the expectation adds ½ tr(W S W'), which the mode leaves out."""
    model = linear_model(log_factor=0.7)
    encoding = encode(model, PLANE_X)
    terms = bound_terms(model, PLANE_X, encoding, streams(2000))
    at_mode = 0.5 * (PLANE_X - decode(model, encoding.mean, clamp=False)).double().square().flatten(1).sum(1)
    trace = 0.5 * (plane()[0].double().square() @ encoding.log_variance[0].double().exp()).sum()
    assert trace > 0.5
    difference = (terms["distortion"] - at_mode).mean().item()
    spread = terms["neg_elbo_draw_error"].square().sum().sqrt().item() / len(PLANE_X)
    assert difference == pytest.approx(trace.item(), abs=5 * spread)


def test_the_bound_is_the_marginal_when_the_posterior_is_exact():
    model = linear_model()
    terms = bound_terms(model, PLANE_X, encode(model, PLANE_X), streams(500))
    expected = -marginal().logpdf(PLANE_X.flatten(1).numpy()) - CONSTANT
    for i, value in enumerate(expected):
        assert terms["neg_elbo"][i].item() == pytest.approx(value, abs=5 * terms["neg_elbo_draw_error"][i].item())


def test_the_error_of_the_draws_is_the_spread_of_repeated_estimates():
    """With 10 draws and 300 repetitions both are known to about 5 %."""
    model = linear_model(log_factor=0.7, curve=nn.Tanh())
    x = PLANE_X[:1].expand(300, -1, -1, -1)
    terms = bound_terms(model, x, encode(model, x), streams(10))
    told = terms["neg_elbo_draw_error"].square().mean().sqrt().item()
    assert told == pytest.approx(terms["neg_elbo"].std().item(), rel=0.25)


def test_one_draw_has_no_error_and_a_point_has_no_rate():
    model = default_model("VAE")
    assert "neg_elbo_draw_error" not in bound_terms(model, X, encode(model, X), streams(1))
    for name in ("AE", "WAE_MMD", "RAE_L2", "RAE_GP"):
        point = default_model(name)
        terms = bound_terms(point, X, encode(point, X), streams(2))
        expected = 0.5 * (X - reconstruct(point, X)).double().square().flatten(1).sum(1)
        assert set(terms) == {"distortion"}
        torch.testing.assert_close(terms["distortion"], expected)


def test_terms_do_not_depend_on_the_batches(float64):
    x = X.double()
    for name in ("VAE", "HVAE", "SVAE", "VAE_IAF"):
        model = default_model(name)
        whole, generators = bound_terms(model, x, encode(model, x), streams(3)), streams(3)
        parts = [bound_terms(model, part, encode(model, part), generators) for part in x.split(3)]
        for metric, values in whole.items():
            torch.testing.assert_close(torch.cat([part[metric] for part in parts]), values, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["VAE", "Adversarial_AE", "IWAE", "VAEGAN"])
def test_a_gaussian_posterior_has_the_closed_divergence_as_its_rate(name):
    model = default_model(name)
    encoding = encode(model, X)
    terms = bound_terms(model, X, encoding, streams(2))
    torch.testing.assert_close(terms["rate"], kl_per_dimension(encoding.mean, encoding.log_variance).sum(1))


def marginal_by_importance(model, x, draws):
    """ln p(x) + ½ D ln 2π from the mean of p(x|z) p(z) / q(z|x), and its standard error: exact for a right ratio."""
    many = x.expand(draws, -1, -1, -1)
    z, log_ratio = encode(model, many).draw(np.random.default_rng(0))
    error = (many - decode(model, z, clamp=False)).double().square().flatten(1).sum(1)
    log_weights = (-0.5 * error - log_ratio).numpy()
    weights = np.exp(log_weights - log_weights.max())
    return logsumexp(log_weights) - math.log(draws), weights.std() / weights.mean() / math.sqrt(draws)


@pytest.mark.parametrize(
    ("name", "fields", "bias"),
    [
        ("VAE", {}, 0.0),
        ("VAE_LinNF", {"flows": ["Radial", "Radial"]}, 0.0),
        ("VAE_LinNF", {"flows": ["Planar", "Planar"]}, 0.0),
        ("VAE_IAF", {"n_made_blocks": 2, "hidden_size": 8}, 0.0),
        ("HVAE", {"n_lf": 1, "eps_lf": 0.001}, 0.0),
        ("RHVAE", {"n_lf": 3, "eps_lf": 0.02}, 0.0),
        # pythae moves z by the momentum before its half step, so that a step of HVAE grows the volume by
        # det(1 + eps²/2 H), H = W'W + 1 the Hessian of -ln p(x, z): known here, and left out of the estimate
        ("HVAE", {"n_lf": 3, "eps_lf": 0.1}, -3 * sum(math.log1p(0.005 * h) for h in (5.0, 1.25))),
    ],
)
def test_estimated_rates_give_the_exact_marginal(name, fields, bias):
    """E_q[p(x|z) p(z) / q(z|x)] = p(x) holds for the true density of z alone, momenta and flows included."""
    model = linear_model(name, log_factor=0.3, **fields)
    for layer in model.net if fields.get("flows") == ["Planar", "Planar"] else ():
        layer.u.data = 0.4 * layer.w.data  # invertible, which random ones need not be
    for x in PLANE_X[:2]:
        found, error = marginal_by_importance(model, x, draws=640 if name == "RHVAE" else 40000)
        expected = marginal().logpdf(x.flatten().numpy()) + CONSTANT + bias
        assert found == pytest.approx(expected, abs=5 * error + 1e-3)
        assert error < 0.05


def test_a_planar_flow_that_folds_has_no_density():
    model = linear_model("VAE_LinNF", flows=["Planar"])
    for factor, folds in ((-0.9, False), (-1.1, True)):
        model.net[0].u.data = factor * model.net[0].w.data / model.net[0].w.data.square().sum()
        posterior = encode(model, PLANE_X)
        terms = bound_terms(model, PLANE_X, posterior, streams(2))
        assert bool(posterior.why_no_rate()) == folds
        assert torch.isnan(terms["rate"]).all() == torch.isnan(terms["neg_elbo"]).all() == folds
        assert torch.isfinite(terms["distortion"]).all()


def test_vamps_rate_is_against_its_own_prior():
    model = linear_model("VAMP", log_factor=0.3, number_components=3)
    with torch.no_grad():
        pseudo = model.pseudo_inputs(model.idle_input).reshape(3, *SHAPE)
    components = encode(model, pseudo)
    parts = [
        marginal(mean.detach(), torch.diag(log_variance.exp())).logpdf(PLANE_X[0].flatten().numpy())
        for mean, log_variance in zip(components.mean, components.log_variance, strict=True)
    ]
    found, error = marginal_by_importance(model, PLANE_X[0], draws=40000)
    assert found == pytest.approx(logsumexp(parts) - math.log(3) + CONSTANT, abs=5 * error + 1e-3)


@pytest.mark.parametrize("name", ["VAMP", "VAE_IAF", "SVAE", "PoincareVAE"])
def test_rates_agree_with_pythaes_own_on_average(name):
    model = default_model(name)
    x = X[:1].expand(3000, -1, -1, -1)
    posterior = encode(model, x)
    exact = posterior.kl()
    ours = posterior.draw(np.random.default_rng(0))[1] if exact is None else exact
    torch.manual_seed(0)
    with torch.no_grad():
        theirs = model({"data": x}).reg_loss
    assert ours.dtype == torch.float64
    spread = 4 * ours.std().item() / math.sqrt(len(x)) * math.sqrt(2) + 1e-5
    assert ours.mean().item() == pytest.approx(theirs.item(), abs=spread)


def test_a_rate_in_the_ball_does_not_depend_on_float32():
    """Near the rim 1 - |z|² has few digits left; the reference is the same in float64 from end to end."""
    model = default_model("PoincareVAE", latent_dim=8)
    mean = torch.nn.functional.normalize(torch.randn(64, 8, generator=torch.Generator().manual_seed(0)))
    mean = mean * torch.linspace(0.3, 0.99, 64)[:, None]
    posterior = WrappedNormal(mean, torch.full((64, 8), -1.0), model)
    exact = WrappedNormal(mean.double(), posterior.log_variance.double(), deepcopy(model).double())
    found, reference = (each.draw(np.random.default_rng(0)) for each in (posterior, exact))
    assert found[0].dtype == torch.float32
    torch.testing.assert_close(found[1], reference[1], rtol=1e-9, atol=0)


@pytest.mark.parametrize(("size", "kappa"), [(3, 1.0), (8, 40.0), (64, 1.7), (64, 500.0)])
def test_the_spheres_divergence_is_the_integral(size, kappa):
    """KL = E[κ w] - ln ∫ e^{κw} du over the uniform sphere, whose cosine has density (1 - w²)^{(m-3)/2} / B."""
    angle = np.linspace(0, np.pi, 400001)
    base = np.sin(angle) ** (size - 2)
    weights = base * np.exp(kappa * (np.cos(angle) - 1))
    mean_cosine = (weights * np.cos(angle)).sum() / weights.sum()
    log_mean = kappa + math.log(weights.sum() / base.sum())
    ours = sphere_divergence(torch.full((2, 1), kappa), size)
    assert ours.shape == (2,)
    assert ours[0].item() == pytest.approx(kappa * mean_cosine - log_mean, rel=1e-6, abs=1e-9)
    assert ive(size / 2, kappa) > 0


def test_a_bernoulli_model_has_both_bounds():
    model = default_model("VAE", reconstruction_loss="bce")
    x = X.round()
    encoding = encode(model, x)
    terms = bound_terms(model, x, encoding, streams(3))
    entropy = []
    for generator in streams(3):
        y = decode(model, encoding.sample(generator))
        entropy.append(nn.functional.binary_cross_entropy(y, x, reduction="none").flatten(1).sum(1))
    expected = torch.stack(entropy).double().mean(0) + terms["rate"]
    torch.testing.assert_close(terms["neg_elbo_bernoulli"], expected, rtol=FLOAT32, atol=0)
    assert "neg_elbo_bernoulli" not in bound_terms(default_model("VAE"), x, encoding, streams(1))
    gan = default_model("MSSSIM_VAE", reconstruction_loss="bce")  # pythae ignores the field here
    assert "neg_elbo_bernoulli" not in bound_terms(gan, x, encode(gan, x), streams(1))


def test_an_encoding_that_is_not_finite_has_no_rate():
    for name in ("VAE", "VAMP", "VAE_IAF", "SVAE", "PoincareVAE", "HVAE", "RHVAE"):
        model = default_model(name)
        x = X.clone()
        x[3] = torch.nan
        for metric, values in bound_terms(model, x, encode(model, x), streams(2)).items():
            assert torch.isnan(values).tolist() == [False] * 3 + [True] + [False] * 3, (name, metric)


def test_a_variance_beyond_float32_has_no_divergence():
    """e^200 is a number in float64; the model itself computes with an infinite one."""
    mean, log_variance = torch.zeros(3, 2), torch.tensor([[0.0, 0.0], [200.0, 0.0], [88.0, 0.0]])
    kl = kl_per_dimension(mean, log_variance).sum(1)
    assert torch.isnan(kl).tolist() == [False, True, False]
    assert kl[0] == 0


def test_a_code_priors_nats_are_those_of_every_grid():
    """Over all 81 grids of 2 x 2 with 3 codes the probabilities sum to 1, and each is a product of conditionals."""
    torch.manual_seed(0)
    prior = PixelCNN(codes=3, channels=8, layers=2).eval()
    grids = torch.tensor(list(itertools.product(range(3), repeat=4))).reshape(-1, 2, 2)
    nats = code_nats(prior, grids, batch_size=7)
    assert nats.dtype == np.float64
    assert np.exp(-nats).sum() == pytest.approx(1, abs=1e-5)
    with torch.no_grad():
        logits = prior(grids[40:41])[0].double()
    chain = sum(logits[:, i, j].log_softmax(0)[grids[40, i, j]] for i in range(2) for j in range(2))
    assert nats[40] == pytest.approx(-chain.item(), rel=FLOAT32)


def test_a_vq_models_bound_is_its_codes_nats_and_its_error():
    model = default_model("VQVAE", num_embeddings=16)
    encoding = encode(model, X)
    nats = torch.arange(7.0).double()
    terms = code_terms(model, X, encoding, nats)
    expected = 0.5 * (X - model({"data": X}).recon_x.detach()).double().square().flatten(1).sum(1)
    torch.testing.assert_close(terms["neg_elbo"], expected + nats, rtol=FLOAT32, atol=0)
    assert torch.equal(terms["rate"], nats)


def test_the_importance_weighted_bound_is_exact_when_the_posterior_is():
    found = importance_weighted_bounds(linear_model(), PLANE_X, 4, np.random.default_rng(0))
    assert set(found) == {"log_likelihood_gaussian", "effective_samples"}
    expected = marginal().logpdf(PLANE_X.flatten(1).numpy())
    np.testing.assert_allclose(found["log_likelihood_gaussian"], expected, atol=1e-4)
    np.testing.assert_allclose(found["effective_samples"], 4, rtol=1e-3)


def test_the_importance_weighted_bound_converges_from_below_when_the_posterior_is_wrong():
    model = linear_model(log_factor=0.7)
    x = torch.randn(40, *SHAPE, generator=torch.Generator().manual_seed(1))
    exact = marginal().logpdf(x.flatten(1).numpy()).mean()
    gaps = []
    for samples in (1, 10, 5000):
        found = importance_weighted_bounds(model, x, samples, np.random.default_rng(0))
        assert (found["effective_samples"] <= samples + 1e-9).all()
        gaps.append(exact - found["log_likelihood_gaussian"].numpy().mean())
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] == pytest.approx(0, abs=5e-3)


def test_the_importance_weighted_bound_does_not_depend_on_the_batches(float64):
    model, x = default_model("VAE", reconstruction_loss="bce"), X.double()
    whole, generator = importance_weighted_bounds(model, x, 6, np.random.default_rng(0)), np.random.default_rng(0)
    parts = [importance_weighted_bounds(model, part, 6, generator) for part in x.split(3)]
    for name, values in whole.items():
        torch.testing.assert_close(torch.cat([part[name] for part in parts]), values, rtol=1e-8, atol=0)


def test_density_and_mass_are_two_metrics():
    x = X.round()
    found = importance_weighted_bounds(default_model("VAE", reconstruction_loss="bce"), x, 3, np.random.default_rng(0))
    assert set(found) == {"log_likelihood_gaussian", "log_likelihood_bernoulli", "effective_samples"}
    mass = found["log_likelihood_bernoulli"]
    assert ((mass < 0) & (mass > -28 * 28)).all()
    assert (found["log_likelihood_gaussian"] < -392 * math.log(2 * math.pi)).all()  # its constant alone
