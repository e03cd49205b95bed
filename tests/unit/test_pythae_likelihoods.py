"""Likelihoods that are chosen for models of pythae, against pythae's own losses and torch's distributions."""

import math

import pytest
import torch
from run_specs import run_spec
from training_cases import FIELDS, outputs, read_history, run, write_data

from vaebench.base.errors import UserError
from vaebench.models.building import build_model
from vaebench.models.interface import Moment
from vaebench.models.lookup import MODELS, code_of_run
from vaebench.models.providers.pythae.catalog import MODELS as OF_PYTHAE
from vaebench.models.providers.pythae.catalog import BoundInfo
from vaebench.models.storage import load_model

NAMES = [name for name, info in OF_PYTHAE.items() if isinstance(info, BoundInfo)]
SHAPE = (1, 28, 28)
X = torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MOMENT = Moment(epoch=2, images=100, step=3)


def spec(name, likelihood=None, **config):
    fields = {"latent_dim": 4, **FIELDS.get(name, {}), **config}
    return run_spec(name, config=fields | ({"likelihood": likelihood} if likelihood else {}))


def built(name, likelihood=None, **config):
    torch.manual_seed(0)
    model = build_model(spec(name, likelihood, **config), SHAPE).double().train()
    if name == "VAMP":
        model.idle_input = model.idle_input.double()
    return model


def losses(model):
    """Terms and the gradients of all parameters that pythae knows, from the same random numbers."""
    torch.manual_seed(1)
    terms = model.losses(X, MOMENT).terms
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    found = torch.autograd.grad(terms["loss"], list(parameters.values()), allow_unused=True)
    return terms, dict(zip(parameters, found, strict=True))


def assert_same_gradients(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        if gradient is not None:
            scale = float(gradient.abs().max()) or 1.0
            torch.testing.assert_close(ours[name], gradient, rtol=1e-9, atol=1e-11 * scale)


@pytest.mark.parametrize("name", NAMES)
def test_with_variance_one_the_loss_is_pythaes_and_a_constant(name):
    terms, gradients = losses(built(name, {"gaussian": {"sigma": 1}}))
    stock_terms, stock_gradients = losses(built(name))
    constant = 0.5 * X[0].numel() * math.log(2 * math.pi)
    assert terms.keys() == stock_terms.keys()
    for term, value in stock_terms.items():
        added = constant if term in ("loss", "reconstruction_loss") else 0.0
        torch.testing.assert_close(terms[term], value + added, rtol=1e-12, atol=1e-9)
    assert_same_gradients(gradients, stock_gradients)


@pytest.mark.parametrize("name", NAMES)
def test_a_bernoulli_is_pythaes_cross_entropy(name):
    model = built(name, {"bernoulli": {}})
    terms, gradients = losses(model)
    stock = built(name, reconstruction_loss="bce")
    stock_terms, stock_gradients = losses(stock)
    for term, value in stock_terms.items():
        torch.testing.assert_close(terms[term], value, rtol=1e-12, atol=1e-9)
    assert_same_gradients(gradients, stock_gradients)
    assert model.likelihood == stock.likelihood == "bernoulli"
    assert [key for _, key in model.probabilities()] == [key for _, key in stock.probabilities()]
    assert model.own_nats(X, X) is None


@pytest.mark.parametrize("name", NAMES)
def test_another_density_takes_the_place_of_the_error_alone(name):
    """The decoder's answers are looked at, and torch's distribution asked about them."""
    model, seen = built(name, {"laplace": {"scale": 0.25}}), []
    model.decoder.register_forward_hook(lambda module, given, output: seen.append(output.reconstruction))
    terms, _ = losses(model)
    stock_terms, _ = losses(built(name))
    (y,) = seen
    y = y.reshape(X.shape)
    nats = -torch.distributions.Laplace(y, 0.25).log_prob(X).flatten(1).sum(1).mean()
    rest = stock_terms["loss"] - 0.5 * (X - y).square().flatten(1).sum(1).mean()
    torch.testing.assert_close(terms["reconstruction_loss"], nats, rtol=1e-10, atol=0)
    torch.testing.assert_close(terms["loss"], nats + rest, rtol=1e-10, atol=1e-9)
    assert model.own_nats(X, y.detach())["neg_elbo_density"].mean() == pytest.approx(nats.item(), rel=1e-10)


def test_without_the_field_a_model_is_pythaes():
    model = built("BetaVAE")
    assert not [key for key in model.state_dict() if key.startswith("p.")]
    assert set(built("BetaVAE", {"gaussian": {"sigma": "optimal"}}).state_dict()) - set(model.state_dict()) == {
        "p.running"
    }


@pytest.mark.parametrize("name", ["BetaTCVAE", "VAE_IAF"])
def test_a_learned_scale_is_trained_saved_and_opened(name, tmp_path):
    how = spec(name, {"gaussian": {"sigma": "learned"}})
    run(how, write_data(tmp_path), tmp_path)
    model = load_model(outputs(tmp_path)["output"])
    assert model.p.scale.item() != pytest.approx(0.1, rel=1e-4)
    assert model.likelihood == "calibrated Gaussian"
    weights = torch.load(outputs(tmp_path)["output"] / "model.pt", weights_only=True)["model_state_dict"]
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    nats = read_history(outputs(tmp_path)["history"], "eval", "reconstruction_loss")
    assert nats[1] < nats[0]


def test_what_cannot_be_is_said():
    with pytest.raises(UserError, match="likelihood takes the place of reconstruction_loss; leave bce out"):
        built("VAE", {"gaussian": {}}, reconstruction_loss="bce")
    with pytest.raises(UserError, match="there is no likelihood 'gauss'"):
        built("VAE", {"gauss": {}})
    for name in ("IWAE", "HVAE", "FactorVAE", "VAEGAN", "MSSSIM_VAE", "AE"):
        assert "likelihood" not in MODELS[name].fields


def test_its_code_counts_where_it_is_chosen():
    chosen = code_of_run(spec("VAE", {"laplace": {"scale": 1}})).modules
    assert chosen - code_of_run(spec("VAE")).modules == {
        "vaebench.models.providers.pythae.chosen_likelihood",
        "vaebench.models.providers.likelihoods.laplace",
    }
