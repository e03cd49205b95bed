"""Losses that are pythae's but made on the device: equal to pythae's to the last bit, and so are their gradients."""

import copy

import numpy as np
import pytest
import torch
from pythae import models as pythae_models
from pythae.models.msssim_vae.msssim_vae_utils import MSSSIM
from scipy.special import logsumexp
from training_cases import make_spec

from vaebench.models.building import build_model
from vaebench.models.interface import Moment
from vaebench.models.providers.pythae.beta_tc_vae import _stratified_weights
from vaebench.models.providers.pythae.model import TERMS
from vaebench.models.providers.pythae.msssim import WEIGHTS, ResidentMSSSIM

COUNT, IMAGES = 7, 50  # of a batch and of the split


def found(losses, model):
    """The losses by pythae's names, and the gradients of their sum, with the same random numbers."""
    torch.manual_seed(1)
    x = torch.rand(COUNT, 1, 32, 32)
    terms = losses(x)
    torch.stack(list(terms.values())).sum().backward()
    return terms | {name: each.grad for name, each in model.named_parameters() if each.grad is not None}


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("BetaTCVAE", {"alpha": 0.5, "beta": 3.0, "gamma": 2.0}),
        ("BetaTCVAE", {"use_mss": False, "beta": 3.0}),
        ("BetaTCVAE", {"reconstruction_loss": "bce"}),
        ("FactorVAE", {"gamma": 3.0}),
        ("FactorVAE", {"reconstruction_loss": "bce"}),
        ("Adversarial_AE", {}),
        ("MSSSIM_VAE", {}),
        ("VAE_LinNF", {}),
        ("VAE_IAF", {}),
        ("RHVAE", {}),
        ("RHVAE", {"reconstruction_loss": "bce"}),
    ],
)
def test_losses_and_gradients_are_pythaes(model, fields):
    torch.manual_seed(0)
    ours = build_model(make_spec(model, config=fields), (1, 32, 32)).train()
    theirs = copy.deepcopy(ours)
    theirs.__class__ = getattr(pythae_models, model)
    ours.prepare_training()

    def of_pythae(x):
        output = theirs({"data": x}, epoch=1, dataset_size=IMAGES, uses_ddp=False)
        return {name: output[key] for key, name in TERMS.items() if key in output}

    expected = found(of_pythae, theirs)
    given = found(lambda x: ours.losses(x, Moment(1, IMAGES)).terms, ours)
    assert {"loss", "encoder.layers.0.layers.0.weight"} <= expected.keys() == given.keys()
    assert all(torch.equal(given[name], expected[name]) for name in expected)


@pytest.mark.parametrize("edge", [3, 6, 12, 20, 40])
def test_structural_similarity_of_each_number_of_levels(edge):
    torch.manual_seed(0)
    x, y = torch.rand(2, 4, 3, edge, edge + 1)
    ours = ResidentMSSSIM(5, (3, edge, edge + 1))
    assert torch.equal(ours(x, y), MSSSIM(5)(x, y))
    assert not ours.state_dict()
    assert {len(weights) for weights in WEIGHTS.values()} == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("name", ["MIWAE", "PIWAE"])
def test_a_bound_is_of_the_samples_and_the_mean_over_the_estimates(name, float64, monkeypatch):
    """Rainforth et al. 2018, eq. 6 and 7; pythae has the two numbers exchanged."""
    samples, estimates = 3, 2
    torch.manual_seed(0)
    config = {"number_samples": samples, "number_gradient_estimates": estimates}
    model = build_model(make_spec(name, config=config), (1, 32, 32)).train()
    draw, drawn = model._sample_gauss, []
    monkeypatch.setattr(model, "_sample_gauss", lambda *moments: drawn.append(draw(*moments)) or drawn[-1])
    x = torch.rand(COUNT, 1, 32, 32)
    terms = model.losses(x, Moment(1, IMAGES)).terms
    z = drawn[0][0]
    z = z.movedim(1 + z.shape[1:3].index(samples), 2)
    assert z.shape[:3] == (COUNT, estimates, samples)
    mean, log_variance = (part[:, None, None] for part in model.encoder(x).values())
    q = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    y = model.decoder(z.flatten(0, 2)).reconstruction.unflatten(0, z.shape[:3])
    nats = torch.distributions.Normal(y, 1.0).log_prob(x[:, None, None]).flatten(3).sum(3)
    log_weights = nats + (torch.distributions.Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)).sum(3)
    bounds = -torch.logsumexp(log_weights, 2).mean()  # up to ln K, which has no gradient
    one = -torch.logsumexp(log_weights.flatten(1), 1).mean()
    pairs = {"encoder": ("encoder_loss", bounds), "decoder": ("decoder_loss", one)}
    if name == "MIWAE":
        pairs = {"encoder": ("loss", bounds), "decoder": ("loss", bounds)}
    for part, (term, bound) in pairs.items():
        parameters = list(getattr(model, part).parameters())
        found, expected = (torch.autograd.grad(each, parameters, retain_graph=True) for each in (terms[term], bound))
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["HVAE", "RHVAE"])
def test_a_hamiltonian_loss_is_the_measured_bound_less_what_docs_models_says(name, float64, monkeypatch):
    """Up to a constant, and to squares of the noise, whose mean is one. RHVAE's lacks ½ ln det G(z0) as well."""
    torch.manual_seed(0)
    model = build_model(make_spec(name, config={"n_lf": 2, "eps_lf": 0.05}), (1, 32, 32)).eval()
    if name == "RHVAE":
        factors, model.centroids_tens = torch.randn(5, 4, 4), torch.randn(5, 4)
        model.M_tens = factors @ factors.mT
    draw, normal, drawn, left = model._sample_gauss, torch.randn_like, [], []
    monkeypatch.setattr(model, "_sample_gauss", lambda *moments: drawn.append(draw(*moments)) or drawn[-1])
    monkeypatch.setattr(torch, "randn_like", lambda *given, **how: drawn.append(normal(*given, **how)) or drawn[-1])
    for _ in range(3):
        drawn.clear()
        x = torch.rand(COUNT, 1, 32, 32)
        loss = model.losses(x.clone().requires_grad_(), Moment(1, IMAGES)).terms["loss"].item()
        momentum = drawn[-1].detach()
        start, noise = next((z.detach(), e.detach()) for z, e in (each for each in drawn if isinstance(each, tuple)))
        z, correction = model.moved(x, start, noise, momentum)
        with torch.no_grad():
            rate = model.encode(x)._log_ratio(noise, z, correction)
            bound = (0.5 * (x - model.decode(z)).square().flatten(1).sum(1) + rate).mean()
            missing = 0.5 * momentum.square().sum(1).mean()
            missing = missing + (
                0.5 * noise.square().sum(1).mean() if name == "HVAE" else 0.5 * torch.logdet(model.G(start)).mean()
            )
        left.append(loss - (bound + missing).item())
    assert left[1:] == pytest.approx(left[:1] * 2, abs=1e-8)


def test_the_gradient_penalty_of_a_validation_is_of_each_image_alone(float64):
    """In training batch norm makes it that of the reconstructions of the whole batch: docs/models.md."""
    torch.manual_seed(0)
    model = build_model(make_spec("RAE_GP"), (1, 32, 32))
    x = torch.rand(COUNT, 1, 32, 32)

    def penalty(images):
        return model.losses(images.clone(), Moment()).terms["gradient_penalty"].item()

    for _ in range(10):
        penalty(x)  # which moves the running statistics
    model.eval()
    alone = sum(penalty(image) for image in x.split(1)) / COUNT
    assert penalty(x) == pytest.approx(alone, rel=1e-9)


def test_the_stratified_weights_misjudge_information_and_correlation_as_docs_models_says():
    """Of known posteriors, whose mixture is known too; the paper gives a draw's own posterior 1 / images."""
    images, count, latents, deviation = 20_000, 64, 8, 0.2
    numbers = np.random.default_rng(0)
    means, found = numbers.standard_normal((images, latents)), {"exact": [], "code": [], "paper": []}

    def log_gaussian(z, mean):
        return -0.5 * ((z - mean) / deviation) ** 2 - np.log(deviation * np.sqrt(2 * np.pi))

    weights = {"code": _stratified_weights(count, images, torch.device("cpu")).numpy()}
    own, next_one = np.arange(count), (np.arange(count) + 1) % count
    weights["paper"] = np.full((count, count), 1 / (count - 1))
    weights["paper"][own, own] = 1 / images
    weights["paper"][own, next_one] = (images - count + 1) / (images * (count - 1))
    for _ in range(2):
        chosen = numbers.choice(images, count, replace=False)
        z = means[chosen] + deviation * numbers.standard_normal((count, latents))
        given = log_gaussian(z, means[chosen]).sum(1)
        all_of_them = [log_gaussian(row, means) for row in z]
        exact = [logsumexp(each.sum(1)) for each in all_of_them], [logsumexp(each, 0).sum() for each in all_of_them]
        joint, product = np.array(exact) - [[np.log(images)], [latents * np.log(images)]]
        found["exact"].append([(given - joint).mean(), (joint - product).mean()])
        each = log_gaussian(z[:, None], means[chosen])
        for name, weight in weights.items():
            joint = logsumexp(np.log(weight) + each.sum(2), axis=1)
            product = logsumexp(np.log(weight)[..., None] + each, axis=1).sum(1)
            found[name].append([(given - joint).mean(), (joint - product).mean()])
    information, correlation = (
        {name: np.mean(values, axis=0)[place] for name, values in found.items()} for place in (0, 1)
    )
    assert information["exact"] - information["code"] > 5 > 0.5 > abs(information["exact"] - information["paper"])
    assert correlation["code"] - correlation["exact"] > 4 > 1 > abs(correlation["exact"] - correlation["paper"])
