"""The likelihoods of a VAE against torch's and SciPy's distributions, pythae's VAE, and closed forms."""

import math

import numpy as np
import pytest
import torch
from pythae.models.base.base_utils import ModelOutput
from run_specs import run_spec
from scipy import stats
from test_resume import assert_equal, in_a_process, result, train_and_kill
from training_cases import outputs, read_history, run, write_data

from vaebench.base.errors import UserError
from vaebench.metrics.likelihood import importance_weighted_bounds
from vaebench.metrics.rate import bound_terms
from vaebench.models.building import build_model
from vaebench.models.inference import encode
from vaebench.models.interface import Moment
from vaebench.models.providers.likelihoods.bernoulli import Bernoulli
from vaebench.models.providers.likelihoods.catalog import MODELS
from vaebench.models.providers.likelihoods.discretized_logistic import DiscretizedLogistic
from vaebench.models.providers.likelihoods.gaussian import Gaussian
from vaebench.models.providers.likelihoods.laplace import Laplace
from vaebench.models.providers.likelihoods.likelihood import Calibrated
from vaebench.models.providers.likelihoods.model import LikelihoodVAE
from vaebench.models.storage import load_model, save_model

SHAPE = (1, 28, 28)
NUMBERS = torch.Generator().manual_seed(0)
LEVELS = torch.randint(0, 256, (5, *SHAPE), generator=NUMBERS)
X = LEVELS.double() / 255
Y = torch.rand(5, *SHAPE, generator=NUMBERS, dtype=torch.float64)


def vae(model="LikelihoodVAE", **config):
    torch.manual_seed(0)
    return build_model(run_spec(model, config=config), SHAPE)


def per_image(log_density):
    return -log_density.flatten(1).sum(1)


@pytest.mark.parametrize("scale", [1, 0.07, 3.5])
def test_densities_are_torchs(scale):
    normal, laplace = torch.distributions.Normal(Y, scale), torch.distributions.Laplace(Y, scale)
    torch.testing.assert_close(Gaussian({"sigma": scale}).nats(X, Y), per_image(normal.log_prob(X)), rtol=1e-6, atol=0)
    torch.testing.assert_close(Laplace({"scale": scale}).nats(X, Y), per_image(laplace.log_prob(X)), rtol=1e-6, atol=0)
    bernoulli = torch.distributions.Bernoulli(Y, validate_args=False)
    torch.testing.assert_close(Bernoulli({}).nats(X, Y), per_image(bernoulli.log_prob(X)))


def scipys_masses(means, scale):
    """Of each of `LEVELS`."""
    logistic, levels = stats.logistic(means, scale), LEVELS.numpy()
    above = np.where(levels == 255, 0, logistic.sf((levels + 0.5) / 255))
    below = np.where(levels == 0, 0, logistic.cdf((levels - 0.5) / 255))
    # Of the two ways to write a mass the one that subtracts small numbers loses the fewest digits.
    upper = np.where(levels == 0, 1, logistic.sf((levels - 0.5) / 255)) - above
    lower = np.where(levels == 255, 1, logistic.cdf((levels + 0.5) / 255)) - below
    return np.where(levels / 255 > means, upper, lower)


@pytest.mark.parametrize("scale", [0.5, 0.05, 0.004])
def test_the_mass_of_a_level_is_scipys(scale):
    likelihood = DiscretizedLogistic({"scale": scale, "mixtures": 1, "per_pixel": False}).double()
    expected = -np.log(scipys_masses(Y.numpy(), scale)).reshape(5, -1).sum(1)
    likelihood.fixed.copy_(torch.tensor(scale, dtype=torch.float64))
    np.testing.assert_allclose(likelihood.nats(X, Y).numpy(), expected, rtol=1e-9)


def test_the_masses_of_all_levels_are_one():
    likelihood = DiscretizedLogistic({"scale": 0.02, "mixtures": 1, "per_pixel": False}).double()
    every = (torch.arange(256, dtype=torch.float64) / 255).view(256, 1, 1, 1)
    for mean in (-0.2, 0.0, 0.31, 1.0):
        assert torch.exp(-likelihood.nats(every, torch.full_like(every, mean))).sum().item() == pytest.approx(
            1, abs=1e-9
        )


@pytest.mark.parametrize(("build", "option"), [(Gaussian, "sigma"), (Laplace, "scale")])
def test_the_optimal_scale_is_the_likeliest(build, option):
    optimal = build({option: "optimal"})
    found = optimal(X, Y).sum()
    for factor in (0.97, 1.03):
        assert build({option: optimal.running.item() * factor}).nats(X, Y).sum() > found
    assert build({option: optimal.running.item()}).nats(X, Y).sum().item() == pytest.approx(found.item(), rel=1e-7)


def test_the_kept_scale_is_that_of_the_last_steps():
    """After 45 steps, as of three short epochs, little is left of the errors with which a training begins."""
    optimal = Gaussian({"sigma": "optimal"})
    optimal(X, X + 0.3)
    for _ in range(45):
        optimal(X, X + 0.1)
    assert optimal.running.item() == pytest.approx(0.1, rel=0.02)  # 0.9^45 of twice 0.1 is left


def test_the_gradient_goes_through_the_optimal_variance():
    """Rybkin et al. 2021, eq. 8: with it the loss of a batch is ½ D ln MSE, up to a constant, times the images."""
    y, again = Y.clone().requires_grad_(), Y.clone().requires_grad_()
    Gaussian({"sigma": "optimal"})(X, y).mean().backward()
    (0.5 * X[0].numel() * (X - again).square().mean().log()).backward()
    torch.testing.assert_close(y.grad, again.grad, rtol=1e-9, atol=0)


def test_an_optimal_scale_is_remembered_for_other_images():
    likelihood = Gaussian({"sigma": "optimal"})
    likelihood(X, Y)
    first = (X - Y).square().mean().sqrt().item()
    assert likelihood.scale.item() == pytest.approx(first)
    likelihood(X, X)  # a perfect batch: the scale is the one of rounding to levels, not 0
    assert likelihood.scale.item() == pytest.approx(0.9 * first + 0.1 / 255 / math.sqrt(12))
    likelihood.eval()
    kept = likelihood.scale.item()
    likelihood(X, Y)
    assert likelihood.scale.item() == kept
    torch.testing.assert_close(
        likelihood(X, Y), per_image(torch.distributions.Normal(Y, kept).log_prob(X)), rtol=1e-7, atol=0
    )


def test_with_variance_1_it_is_pythaes_vae():
    ours, theirs = vae(likelihood={"gaussian": {"sigma": 1}}, latent_dim=4), vae("VAE", latent_dim=4)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    theirs.encoder.load_state_dict(ours.encoder.state_dict())
    theirs.decoder.load_state_dict(ours.decoder.state_dict())
    found = []
    for model in (ours.double(), theirs.double()):
        torch.manual_seed(1)
        losses = model.losses(X, Moment()).terms
        losses["loss"].backward()
        found.append((losses["loss"].item(), losses["kl"].item(), model.encoder.embedding.weight.grad))
    constant = 0.5 * X[0].numel() * math.log(2 * math.pi)
    assert found[0][0] - constant == pytest.approx(found[1][0], rel=1e-12)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-12)
    torch.testing.assert_close(found[0][2], found[1][2], rtol=1e-9, atol=1e-12)


def test_beta_weighs_the_divergence():
    model = vae(beta=4.0, latent_dim=4).eval()
    terms = model.losses(X.float(), Moment()).terms
    assert terms["loss"].item() == pytest.approx(terms["reconstruction_loss"].item() + 4 * terms["kl"].item())


def test_a_constant_posterior_variance_holds_for_every_image():
    posterior = encode(vae(posterior_variance=0.25, latent_dim=4).eval(), X.float())
    assert torch.equal(posterior.log_variance, torch.full((5, 4), math.log(0.25)))
    expected = 0.5 * (posterior.mean.double().square() + 0.25 - math.log(0.25) - 1).sum(1)
    torch.testing.assert_close(posterior.kl(), expected, rtol=1e-6, atol=1e-6)


def test_bits_per_dimension_of_a_known_model():
    """An encoder that says nothing and a decoder that answers one grey: the bits are those of the levels' masses."""
    model = vae(likelihood={"discretized_logistic": {"scale": 0.1}}, latent_dim=4).eval()
    with torch.no_grad():
        for layer in (model.encoder.embedding, model.encoder.heads["log_covariance"]):
            layer.weight.zero_()
            layer.bias.zero_()
        model.decoder.last.layers[0].weight.zero_()
        model.decoder.last.layers[0].bias.zero_()  # a sigmoid's 0.5
    posterior = encode(model, X.float())
    found = bound_terms(model, X.float(), posterior, [np.random.default_rng(0)])
    masses = np.diff(stats.logistic(0.5, 0.1).cdf(np.r_[-np.inf, (np.arange(255) + 0.5) / 255, np.inf]))
    expected = -np.log2(masses)[LEVELS.numpy()].reshape(5, -1).mean(1)
    np.testing.assert_allclose(found["bits_per_dim"].numpy(), expected, rtol=1e-6)
    assert "neg_elbo_density" not in found


def test_the_bound_is_of_the_models_own_density():
    model = vae(likelihood={"gaussian": {"sigma": 0.05}}, latent_dim=4).eval()
    posterior = encode(model, X.float())
    found = bound_terms(model, X.float(), posterior, [np.random.default_rng(0)])
    distortion = found["distortion"] / 0.05**2 + X[0].numel() * math.log(0.05 * math.sqrt(2 * math.pi))
    torch.testing.assert_close(found["neg_elbo_density"], found["rate"] + distortion, rtol=1e-6, atol=0)
    stock = vae("VAE", latent_dim=4).eval()
    plain = bound_terms(stock, X.float(), encode(stock, X.float()), [np.random.default_rng(0)])
    constant = 0.5 * X[0].numel() * math.log(2 * math.pi)
    torch.testing.assert_close(plain["neg_elbo_density"], plain["neg_elbo"] + constant)


def test_a_saved_model_has_its_scale(tmp_path):
    model = vae(latent_dim=4)
    model.losses(X.float(), Moment())
    save_model(model, run_spec("LikelihoodVAE", config={"latent_dim": 4}).as_record(), tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert again.p.scale.item() == model.p.scale.item() != 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("networks", ["compact", "spectral"])
def test_a_killed_training_ends_as_if_left_alone(networks, precision, tmp_path):
    """The remembered scale is a part of the state."""
    data = write_data(tmp_path)
    roles = {"encoder": networks, "decoder": networks}
    training = {"precision": precision, "checkpoint_minutes": 1e-9}
    chosen = run_spec("LikelihoodVAE", nets=roles, config={"latent_dim": 4}, training=training)
    run(chosen, data, tmp_path / "whole")
    for number, epoch, position in ((15, 1, 2), (9, 2, 2)):
        code = in_a_process(train_and_kill, chosen, data, tmp_path / "killed", number, epoch, position)
        assert code == (-9 if number == 9 else 128 + number)
    run(chosen, data, tmp_path / "killed")
    assert_equal(result(tmp_path / "killed"), result(tmp_path / "whole"))
    model = load_model(outputs(tmp_path / "whole")["output"])
    history = read_history(outputs(tmp_path / "whole")["history"], "eval", "mse")
    assert 0.5 < model.p.scale.item() / history[-1] ** 0.5 < 2, "the scale is that of the errors"


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("likelihood", "gaussian", "must name one likelihood"),
        ("likelihood", {"gauss": {}}, "no likelihood 'gauss'"),
        ("likelihood", {"gaussian": {"variance": 1}}, "no option 'variance'; it has sigma"),
        ("likelihood", {"gaussian": {"sigma": "best"}}, "'best' must be learned or optimal"),
        ("likelihood", {"gaussian": {"sigma": 0}}, "0 must be"),
        ("likelihood", {"discretized_logistic": {"scale": "optimal"}}, "'optimal' must be learned"),
        ("likelihood", {"discretized_logistic": {"scale": 0.1, "mixtures": 2}}, "the scales of a mixture are learned"),
        ("likelihood", {"discretized_logistic": {"mixtures": 0}}, "0 must be a whole number"),
        ("likelihood", {"discretized_logistic": {"per_pixel": 1}}, "1 must be true or false"),
        ("likelihood", {"discretized_logistic": {"scale": 0.1, "per_pixel": True}}, "scales by pixel are learned"),
        ("posterior_variance", -1, "-1 must be learned"),
        ("beta", -1, "at least 0"),
    ],
)
def test_what_cannot_be_is_said(field, value, words):
    assert words in MODELS["LikelihoodVAE"].check(field, value)
    with pytest.raises(UserError, match=f"LikelihoodVAE: {field}: "):
        vae(**{field: value})


def mixture():
    """Three discretized logistics with unlike weights, places and scales."""
    likelihood = DiscretizedLogistic({"scale": "learned", "mixtures": 3, "per_pixel": False}).double()
    with torch.no_grad():
        likelihood.logits.copy_(torch.tensor([0.3, -1.0, 0.7]))
        likelihood.offsets.copy_(torch.tensor([0.02, -0.1, 0.0]))
        likelihood.log_factors.copy_(torch.tensor([0.5, -1.0, -2.0]))
    return likelihood


def test_the_mass_of_a_mixture_is_the_weighted_sum_of_scipys():
    """Salimans et al. 2017, eq. 2."""
    likelihood = mixture()
    weights = np.exp([0.3, -1.0, 0.7]) / np.exp([0.3, -1.0, 0.7]).sum()
    parts = zip(weights, (0.02, -0.1, 0.0), np.exp([0.5, -1.0, -2.0]), strict=True)
    scale = likelihood.scale.item()
    masses = sum(weight * scipys_masses(Y.numpy() + offset, scale * factor) for weight, offset, factor in parts)
    np.testing.assert_allclose(likelihood.nats(X, Y).detach().numpy(), -np.log(masses).reshape(5, -1).sum(1), rtol=1e-6)


def test_the_masses_of_a_mixture_are_one():
    every = (torch.arange(256, dtype=torch.float64) / 255).view(256, 1, 1, 1)
    for mean in (-0.2, 0.0, 0.31, 1.0):
        total = torch.exp(-mixture().nats(every, torch.full_like(every, mean))).sum().item()
        assert total == pytest.approx(1, abs=1e-9)


def test_a_mixture_is_learned_and_never_needs_more_bits_than_its_best_part_with_its_weight(tmp_path):
    data = write_data(tmp_path)
    fields = {"latent_dim": 4, "likelihood": {"discretized_logistic": {"mixtures": 2}}}
    paths = run(run_spec("LikelihoodVAE", config=fields), data, tmp_path / "run")
    likelihood = load_model(paths["output"]).p
    assert not torch.equal(likelihood.logits, torch.zeros(2))
    x, y = X.float(), Y.float()
    likelihood.requires_grad_(False)
    whole = likelihood.nats(x, y)
    for weight, offset, factor in zip(
        likelihood.logits.log_softmax(0), likelihood.offsets, likelihood.log_factors.exp(), strict=True
    ):
        part = DiscretizedLogistic({"scale": float(likelihood.scale * factor), "mixtures": 1, "per_pixel": False}).nats(
            x, y + offset
        )
        assert (whole <= part - x[0].numel() * weight + 1e-3).all()


def test_importance_samples_under_the_models_own_density_give_its_marginal():
    """x = W z + b + 0.5 e: with the exact posterior as proposal each number of samples gives ln p(x)."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.linalg.qr(torch.randn(9, 2, generator=generator, dtype=torch.float64))[0] * torch.tensor([2.0, 0.5])
    precision = torch.eye(2).double() + weight.T @ weight / 0.25

    class Encoder(torch.nn.Module):
        def forward(self, x):
            mean = x.flatten(1).double() @ weight @ torch.linalg.inv(precision) / 0.25
            return ModelOutput(embedding=mean, log_covariance=-torch.diagonal(precision).log().expand_as(mean))

    class Decoder(torch.nn.Module):
        def forward(self, z):
            return ModelOutput(reconstruction=(z.double() @ weight.T).reshape(-1, 1, 3, 3))

    fields = {**MODELS["LikelihoodVAE"].fields, "latent_dim": 2}
    model = LikelihoodVAE((1, 3, 3), (Encoder(), Decoder()), Gaussian({"sigma": 0.5}), fields).eval()
    x = torch.randn(4, 1, 3, 3, generator=generator, dtype=torch.float64)
    found = importance_weighted_bounds(model, x, 3, np.random.default_rng(0))
    covariance = (weight @ weight.T + 0.25 * torch.eye(9)).numpy()
    expected = stats.multivariate_normal(np.zeros(9), covariance).logpdf(x.flatten(1).numpy())
    np.testing.assert_allclose(found["log_likelihood_density"].numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(found["effective_samples"].numpy(), 3, rtol=1e-5)


@pytest.mark.parametrize(
    ("likelihood", "name"),
    [
        ({"gaussian": {"sigma": "optimal"}}, "log_likelihood_density"),
        ({"laplace": {"scale": 0.1}}, "log_likelihood_density"),
        ({"discretized_logistic": {"scale": 0.1}}, "log_likelihood_mass"),
        ({"bernoulli": {}}, "log_likelihood_bernoulli"),
    ],
)
def test_importance_samples_of_densities_and_of_masses_are_never_ranked_against_each_other(likelihood, name):
    model = vae(likelihood=likelihood, latent_dim=2).eval()
    found = importance_weighted_bounds(model, X[:2].float(), 3, np.random.default_rng(0))
    assert set(found) == {"log_likelihood_gaussian", name, "effective_samples"}


def test_a_discretized_logistic_has_no_optimal_scale_by_type():
    assert not hasattr(DiscretizedLogistic, "best")
    assert isinstance(Gaussian({"sigma": "optimal"}), Calibrated)


def per_pixel(mixtures, std=0.0):
    """A float64 likelihood of colour images with its own parameters for each pixel, which differ for `std` above 0."""
    torch.manual_seed(0)
    options = {"scale": "learned", "mixtures": mixtures, "per_pixel": True, "channels": 3}
    likelihood = DiscretizedLogistic(options).double()
    if std:
        for parameter in likelihood.pixels.parameters():
            torch.nn.init.normal_(parameter, std=std)
    return likelihood


@pytest.mark.parametrize("mixtures", [1, 3])
def test_the_masses_of_all_levels_of_every_value_are_one_where_each_has_its_own_parameters(mixtures):
    """p(x) summed over the levels of one value is p of the others, and all of these together give p(x) again."""
    likelihood = per_pixel(mixtures, std=0.5)
    y, levels = torch.rand(1, 3, 2, 2, dtype=torch.float64), torch.arange(256, dtype=torch.float64) / 255
    x = levels[torch.tensor([0, 3, 40, 90, 100, 127, 128, 140, 160, 200, 254, 255])]
    with torch.no_grad():
        assert (likelihood.pixels(y).flatten(1).std(1) > 0.01).all()
        nats = likelihood.nats(x.view(1, 3, 2, 2), y)
        others = []
        for place in range(12):
            every = x.repeat(256, 1)
            every[:, place] = levels
            others.append(torch.logsumexp(-likelihood.nats(every.view(256, 3, 2, 2), y.expand(256, 3, 2, 2)), 0))
    assert float(sum(others) + 12 * nats) == pytest.approx(float(nats), rel=1e-9)


@pytest.mark.parametrize("mixtures", [1, 3])
def test_parameters_by_pixel_begin_as_those_of_all(mixtures):
    shared = DiscretizedLogistic({"scale": "learned", "mixtures": mixtures, "per_pixel": False}).double()
    x, y = torch.randint(256, (4, 3, 5, 5)) / 255, torch.rand(4, 3, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(per_pixel(mixtures).nats(x.double(), y), shared.nats(x.double(), y))


def test_a_scale_by_pixel_is_that_of_the_pixels_errors():
    """Errors of 0.02 where the answer is dark, 0.2 where it is bright: known scales, fewer bits than with one scale."""
    random = np.random.default_rng(0)
    y = torch.from_numpy(np.where(random.random((20, 3, 6, 6)) < 0.5, 0.3, 0.6))
    true = torch.where(y < 0.5, 0.02, 0.2)
    noise = torch.from_numpy(random.logistic(size=y.shape))
    x = ((y + true * noise).clamp(0, 1) * 255).round() / 255
    likelihood = per_pixel(1)
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.02)
    for _ in range(120):
        optimizer.zero_grad()
        likelihood(x, y).mean().backward()
        optimizer.step()
    with torch.no_grad():
        found = likelihood.scale * likelihood.pixels(y)[0].exp()
        least = DiscretizedLogistic({"scale": 0.1, "mixtures": 1, "per_pixel": False}).double()
        alone = min(float(least.nats_at(x, y, torch.tensor(scale)).mean()) for scale in (0.03, 0.05, 0.08, 0.13, 0.2))
        exact = float(least.nats_at(x, y, true).mean())
        reached = float(likelihood.nats(x, y).mean())
    assert reached < 0.5 * (alone + exact)
    for scale in (0.02, 0.2):
        assert float(found[true == scale].median()) == pytest.approx(scale, rel=0.3)


def test_a_model_with_parameters_by_pixel_trains_and_is_loaded(tmp_path):
    data = write_data(tmp_path)
    fields = {"latent_dim": 4, "likelihood": {"discretized_logistic": {"mixtures": 2, "per_pixel": True}}}
    likelihood = load_model(run(run_spec("LikelihoodVAE", config=fields), data, tmp_path / "run")["output"]).p
    assert all(parameter.abs().sum() > 0 for parameter in likelihood.pixels.parameters())
