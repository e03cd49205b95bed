"""Reconstruction, encoding and draws for every pythae family."""

import numpy as np
import pytest
import torch
from evaluation_cases import default_model

from vaebench.catalog import MODELS
from vaebench.inference import central_latent, decode, draw_latent, encode, family, reconstruct

X = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(3))


@pytest.fixture(params=sorted(MODELS))
def model(request):
    return default_model(request.param)


def test_the_family_is_the_catalogs(model):
    posterior = MODELS[model.model_name].posterior
    assert family(model) == ("vamp" if model.model_name == "VAMP" else posterior)


def test_reconstruction_is_deterministic_and_in_range(model):
    first, second = reconstruct(model, X), reconstruct(model, X)
    assert first.shape == X.shape
    assert first.dtype == torch.float32
    assert not first.requires_grad
    assert torch.equal(first, second)
    assert 0 <= first.min() <= first.max() <= 1


def test_reconstruction_is_the_decoder_at_the_central_latent(float64, model):
    name, x = model.model_name, X.double()
    with torch.no_grad():
        mean = model.encoder(x).embedding
        if name == "VQVAE":
            expected = model({"data": x}).recon_x
        elif name == "SVAE":
            expected = model.decoder(torch.nn.functional.normalize(mean)).reconstruction
        elif name == "VAE_IAF":
            expected = model.decoder(model.iaf_flow.inverse(mean).out).reconstruction
        elif name == "VAE_LinNF":
            for layer in model.net:
                mean = layer(mean).out
            expected = model.decoder(mean).reconstruction
        else:
            expected = model.decoder(mean).reconstruction
    torch.testing.assert_close(reconstruct(model, x), expected.reshape(x.shape), atol=1e-9, rtol=0)


def test_draws_do_not_depend_on_the_batches(float64, model):
    x = X.double()
    whole = draw_latent(model, x, encode(model, x), np.random.default_rng(5))
    generator = np.random.default_rng(5)
    parts = [draw_latent(model, part, encode(model, part), generator) for part in (x[:1], x[1:5], x[5:])]
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-9, rtol=1e-9)


def test_draws_vary_only_where_the_posterior_does(model):
    generator = np.random.default_rng(0)
    encoding = encode(model, X)
    same = torch.equal(draw_latent(model, X, encoding, generator), draw_latent(model, X, encoding, generator))
    assert same == (family(model) in ("none", "vq"))


def test_the_global_random_state_is_left_alone(model):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    reconstruct(model, X, np.random.default_rng(0), stochastic=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_draws_have_the_posteriors_moments():
    model = default_model("VAE")
    x = X[:1].expand(20000, -1, -1, -1)
    encoding = encode(model, x)
    z = draw_latent(model, x, encoding, np.random.default_rng(0)).double()
    sd = torch.exp(0.5 * encoding.log_variance[0].double())
    torch.testing.assert_close(z.mean(0), encoding.mean[0].double(), atol=0.03, rtol=0)
    torch.testing.assert_close(z.std(0), sd, atol=0, rtol=0.03)


def test_a_deterministic_adversarial_autoencoder_has_no_posterior():
    model = default_model("Adversarial_AE", deterministic_posterior=True)
    encoding = encode(model, X)
    assert encoding.family == "none"
    assert torch.equal(draw_latent(model, X, encoding, np.random.default_rng(0)), central_latent(model, encoding))


def test_hvae_reads_its_deviation_through_softplus(float64):
    model, x = default_model("HVAE"), X.double()
    encoding = encode(model, x)
    deviation = torch.nn.functional.softplus(model.encoder(x).log_covariance)
    torch.testing.assert_close(torch.exp(0.5 * encoding.log_variance), deviation.detach(), atol=1e-9, rtol=1e-9)


def test_flat_and_gridded_codes_reconstruct_like_the_model(float64):
    model, x = default_model("VQVAE", num_embeddings=16), X.double()
    encoding = encode(model, x)
    output = model({"data": x})
    assert torch.equal(encoding.codes, output.quantized_indices.squeeze(1))
    torch.testing.assert_close(decode(model, encoding.quantised), output.recon_x.detach(), atol=1e-9, rtol=1e-9)


def test_values_outside_the_range_are_clamped():
    model = default_model("AE")
    model.decoder.layers[-1][-1] = torch.nn.Identity()
    for parameter in model.decoder.parameters():
        parameter.data.mul_(50)
    assert decode(model, torch.randn(4, 4), clamp=False).abs().max() > 1
    assert decode(model, torch.randn(4, 4)).max() <= 1
