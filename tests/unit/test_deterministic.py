"""RAE, RAE_SN and WAE_GAN: losses by their papers' formulas, gradients by torch.autograd, and whole trainings."""

import math

import numpy as np
import pytest
import torch
from run_specs import run_spec
from torch import nn
from torch.nn import functional
from training_cases import digits, make_spec, outputs, read_history, run

from vaebench.models.building import build_model
from vaebench.models.inference import encode, reconstruct
from vaebench.models.interface import Moment
from vaebench.models.lookup import info_of
from vaebench.models.posterior import Point
from vaebench.models.providers.deterministic.regularized import LAYERS
from vaebench.models.storage import load_model
from vaebench.training.objectives import make_objectives, step

SHAPE = (1, 32, 32)


def built(model, **config):
    torch.manual_seed(0)
    return build_model(run_spec(model, config={"latent_dim": 4} | config), SHAPE).double()


def images(count=4):
    return torch.from_numpy(digits(count)).double() / 255


def test_rae_is_the_error_and_half_the_squared_length_of_the_code():
    model, x = built("RAE", embedding_weight=0.3).eval(), images()
    z = model.encoder(x).embedding
    y = model.decoder(z).reconstruction
    terms = model.losses(x, Moment()).terms
    error = sum(float(((a - b) ** 2).sum()) for a, b in zip(x, y, strict=True)) / 4
    length = sum(0.5 * float(code @ code) for code in z) / 4
    assert terms["reconstruction_loss"].item() == pytest.approx(error)
    assert terms["embedding"].item() == pytest.approx(length)
    assert terms["loss"].item() == pytest.approx(error + 0.3 * length)
    assert isinstance(encode(model, x), Point)
    assert (model.name, built("RAE_SN").name, built("WAE_GAN").name) == ("RAE", "RAE_SN", "WAE_GAN")


def test_every_layer_of_a_bounded_decoder_has_a_largest_singular_value_of_1():
    model, x = built("RAE_SN"), images()
    model.train()
    with torch.no_grad():
        for _ in range(60):  # steps of the power iteration, one each pass
            model.losses(x, Moment())
    model.eval()
    layers = [module for module in model.decoder.modules() if isinstance(module, LAYERS)]
    assert layers
    for layer in layers:
        weight = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
        assert torch.linalg.svdvals(weight.flatten(1))[0].item() == pytest.approx(1, abs=0.02)
    plain = built("RAE")
    assert not any("parametrizations" in name for name, _ in plain.named_parameters())
    assert not any("parametrizations" in name for name, _ in model.encoder.named_parameters())


def test_each_optimizer_of_wae_gan_takes_the_gradient_of_its_own_loss():
    """Tolstikhin et al. 2018, algorithm 1, in binary cross-entropies."""
    model, x = built("WAE_GAN", reg_weight=3.0, hidden=8, layers=2).train(), images()
    own = [*model.encoder.parameters(), *model.decoder.parameters()]
    judging = list(model.discriminator.parameters())
    torch.manual_seed(5)
    z = model.encoder(x).embedding
    y = model.decoder(z).reconstruction
    prior = torch.randn_like(z)
    real, fooled = torch.ones(4, 1).double(), torch.zeros(4, 1).double()
    compare = functional.binary_cross_entropy_with_logits
    autoencoder = (x - y).square().sum() / 4 + 3 * compare(model.discriminator(z), real)
    judged = compare(model.discriminator(prior), real) + compare(model.discriminator(z.detach()), fooled)
    expected = [*torch.autograd.grad(autoencoder, own), *torch.autograd.grad(judged, judging)]

    optimizer = {"name": "SGD", "options": {}}
    objectives = make_objectives(model, make_spec("VAE", learning_rate=1.0, optimizer=optimizer).training)
    before = [each.detach().clone() for each in (*own, *judging)]
    torch.manual_seed(5)
    losses = model.losses(x, Moment())
    step(objectives, losses)
    taken = [old - new for old, new in zip(before, (*own, *judging), strict=True)]
    torch.testing.assert_close(taken, expected, rtol=1e-6, atol=1e-9)
    assert losses.terms["autoencoder_loss"].item() == pytest.approx(autoencoder.item())
    assert losses.terms["discriminator_loss"].item() == pytest.approx(judged.item())
    assert info_of("WAE_GAN").components == tuple(objective.name for objective in objectives)


@pytest.mark.parametrize("model", ["RAE", "RAE_SN", "WAE_GAN"])
def test_a_training_learns_and_its_model_is_opened_again(model, data, tmp_path):
    spec = make_spec(model, epochs=4, select="last", learning_rate=2e-3, ema={"decay": 0.5})
    paths = run(spec, data, tmp_path)
    course = read_history(paths["history"], "eval", "mse")
    assert np.isfinite(course).all()
    assert course[-1] < course[0]
    found = load_model(outputs(tmp_path)["output"])
    x = torch.from_numpy(digits(20, 1000)).float() / 255
    error = float((reconstruct(found, x) - x).double().square().mean())
    assert error == pytest.approx(course[-1], rel=1e-5)
    assert found.latent_shape == (4,)
    assert math.isfinite(error)
