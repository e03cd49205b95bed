"""Reconstruction, encoding and draws for every pythae family."""

from unittest.mock import Mock

import numpy as np
import pytest
import torch
from evaluation_cases import FLOAT32, default_model
from scipy import stats
from scipy.special import ive

from vaebench.models.inference import decode, encode, reconstruct
from vaebench.models.posterior import Codes, Gaussian, Point
from vaebench.models.providers.pythae.catalog import MODELS
from vaebench.models.providers.pythae.flows import Flow
from vaebench.models.providers.pythae.hamiltonian import Hamiltonian
from vaebench.models.providers.pythae.poincare import WrappedNormal
from vaebench.models.providers.pythae.svae import PROPOSALS, VonMisesFisher, vmf_cosine
from vaebench.models.providers.pythae.vamp import MixturePrior

X = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(3))


@pytest.fixture(params=sorted(MODELS))
def model(request):
    return default_model(request.param)


KINDS = {
    "gaussian": Gaussian,
    "none": Point,
    "flow": Flow,
    "hamiltonian": Hamiltonian,
    "vq": Codes,
    "von_mises_fisher": VonMisesFisher,
    "wrapped_normal": WrappedNormal,
}


def test_the_posterior_is_the_catalogs(model):
    expected = KINDS[MODELS[model.model_name].posterior]
    assert type(encode(model, X)) is (MixturePrior if model.model_name == "VAMP" else expected)


def test_the_prior_of_a_closed_divergence_is_the_standard_normal(model):
    info = MODELS[model.model_name]
    closed = encode(model, X).kl_per_dimension() is not None
    assert closed == (info.posterior == "gaussian" and info.prior == "normal")


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
    whole = encode(model, x).sample(np.random.default_rng(5))
    generator = np.random.default_rng(5)
    parts = [encode(model, part).sample(generator) for part in (x[:1], x[1:5], x[5:])]
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-9, rtol=1e-9)


def test_draws_vary_only_where_the_posterior_does(model):
    generator = np.random.default_rng(0)
    posterior = encode(model, X)
    same = torch.equal(posterior.sample(generator), posterior.sample(generator))
    assert same == posterior.is_point == isinstance(posterior, Point | Codes)


def test_the_global_random_state_is_left_alone(model):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    encode(model, X).sample(np.random.default_rng(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_interpolation_is_half_way_and_stays_where_latents_are(model):
    """On the line between the two latents; SVAE's on the sphere, PoincareVAE's in the ball, VQVAE's among the codes."""
    first, second = encode(model, X[:3]), encode(model, X[3:])
    middle = first.between(second, 0.5)
    ends = [posterior.mode() for posterior in (first, second)]
    if isinstance(first, Codes):
        again = model.quantizer(middle.reshape(first.unquantised.shape).permute(0, 2, 3, 1)).quantized_vector
        torch.testing.assert_close(again.reshape(middle.shape), middle)
    elif isinstance(first, VonMisesFisher):
        torch.testing.assert_close(middle, torch.nn.functional.normalize(ends[0] + ends[1]))
    else:
        torch.testing.assert_close(middle, (ends[0] + ends[1]) / 2)
    assert not isinstance(first, WrappedNormal) or middle.norm(dim=1).max() < 1
    torch.testing.assert_close(first.between(second, 0.0), ends[0])


def damaged_inputs(value):
    """Images of which the second drives the encoder to a value that is not finite."""
    x = X.clone()
    x[1] = value
    return x


def test_an_encoding_that_is_not_finite_spoils_its_image_in_every_part_and_no_other(model):
    x = damaged_inputs(torch.nan)
    clean, spoilt = encode(model, X), encode(model, x)
    for name, after in vars(spoilt).items():
        if isinstance(after, torch.Tensor) and after.is_floating_point():
            assert torch.isnan(after[1]).all(), name
            torch.testing.assert_close(after[2:], getattr(clean, name)[2:], atol=1e-5, rtol=FLOAT32)
    if spoilt.codes is not None:
        assert (spoilt.codes[1] == -1).all()
        assert (spoilt.codes[0] >= 0).all()
    for latent in (spoilt.mode(), spoilt.sample(np.random.default_rng(0))):
        images = decode(model, latent)
        assert torch.isnan(images[1]).all()
        assert torch.isfinite(images[[0, 2, 3, 4, 5]]).all()


def test_an_infinite_pixel_is_not_clamped_to_white():
    model = default_model("AE")
    model.decoder.layers[-1][-1] = torch.nn.Identity()
    model.decoder.layers[-1][0].bias.data[5] = torch.inf
    images = decode(model, torch.zeros(2, 4)).flatten(1)
    assert torch.isnan(images[:, 5]).all()
    assert torch.isfinite(images[:, :5]).all()


def test_an_infinite_latent_gives_no_image():
    """A saturated sigmoid would make one that looks like any other."""
    model = default_model("VAE")
    assert torch.isnan(decode(model, torch.tensor([[torch.inf, 0, 0, 0]]))).all()


def test_hamiltonian_draws_are_pythaes_for_the_same_noise(monkeypatch):
    for name, options in (("HVAE", {"eps_lf": 0.05}), ("RHVAE", {"eps_lf": 0.01})):
        model = default_model(name, n_lf=3, beta_zero=0.3, **options)
        ours = encode(model, X).sample(np.random.default_rng(1))
        noise = torch.from_numpy(np.random.default_rng(1).standard_normal((6, 8), dtype=np.float32)).chunk(2, dim=1)
        monkeypatch.setattr(torch, "randn_like", Mock(side_effect=noise))
        expected = model({"data": X}).z.detach()
        monkeypatch.undo()
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=FLOAT32)


@pytest.mark.parametrize("concentration", [1.0, 30.0, 3000.0])
@pytest.mark.parametrize("size", [2, 5, 64])
def test_von_mises_fisher_draws_have_their_cosine(size, concentration):
    """Its mean is I_{m/2}(κ) / I_{m/2-1}(κ), and its density is proportional to e^{κw} (1 - w²)^{(m-3)/2}."""
    uniform = np.random.default_rng(0).random((2, 20000, PROPOSALS))
    cosine = vmf_cosine(np.full((20000, 1), concentration), size, *uniform).ravel()
    expected = ive(size / 2, concentration) / ive(size / 2 - 1, concentration)
    assert cosine.mean() == pytest.approx(expected, abs=5 * cosine.std() / np.sqrt(len(cosine)))
    angle = np.linspace(0, np.pi, 200001)  # in the angle, where the density has no pole
    density = np.exp(concentration * (np.cos(angle) - 1)) * np.sin(angle) ** (size - 2)
    cumulative = np.cumsum(density) / density.sum()
    drawn = stats.kstest(np.arccos(cosine.clip(-1, 1)), lambda a: np.interp(a, angle, cumulative))
    assert drawn.pvalue > 1e-4


def test_von_mises_fisher_draws_stay_on_the_sphere_around_their_mean():
    model = default_model("SVAE")
    x = X[:1].expand(5000, -1, -1, -1)
    encoding = encode(model, x)
    encoding.concentration.fill_(50.0)
    z = encoding.sample(np.random.default_rng(0)).double()
    torch.testing.assert_close(z.norm(dim=1), torch.ones(5000).double(), atol=1e-5, rtol=0)
    direction = encoding.mean[0].double()
    expected = ive(2, 50.0) / ive(1, 50.0)
    torch.testing.assert_close(z.mean(0), expected * direction, atol=0.01, rtol=0)


def test_draws_have_the_posteriors_moments():
    model = default_model("VAE")
    x = X[:1].expand(20000, -1, -1, -1)
    encoding = encode(model, x)
    z = encoding.sample(np.random.default_rng(0)).double()
    sd = torch.exp(0.5 * encoding.log_variance[0].double())
    torch.testing.assert_close(z.mean(0), encoding.mean[0].double(), atol=0.03, rtol=0)
    torch.testing.assert_close(z.std(0), sd, atol=0, rtol=0.03)


def test_a_deterministic_adversarial_autoencoder_has_no_posterior():
    model = default_model("Adversarial_AE", deterministic_posterior=True)
    posterior = encode(model, X)
    assert isinstance(posterior, Point)
    assert torch.equal(posterior.sample(np.random.default_rng(0)), posterior.mode())


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
