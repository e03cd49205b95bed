"""Latent diagnostics, VAEGAN's terms and the likelihood against closed forms and other implementations."""

import numpy as np
import pytest
import torch
from evaluation_cases import compact_spec, default_model

from vaebench.metrics.latent import LatentSummary, Moments, codebook_metrics
from vaebench.models.building import build_model
from vaebench.models.inference import encode, reconstruct
from vaebench.models.kl import kl_per_dimension
from vaebench.models.posterior import Gaussian

X = torch.rand(7, 1, 28, 28, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", ["VAE", "BetaVAE", "INFOVAE_MMD", "DisentangledBetaVAE"])
def test_kl_is_pythaes_where_pythae_is_right(name, float64):
    model, x = default_model(name), X.double()
    encoding = encode(model, x)
    ours = kl_per_dimension(encoding.mean, encoding.log_variance).sum(1).mean()
    assert ours.item() == pytest.approx(model({"data": x}).reg_loss.item(), rel=1e-9)


def test_kl_is_torchs():
    mean, log_variance = torch.randn(9, 5).double(), torch.randn(9, 5).double()
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, torch.exp(0.5 * log_variance)), normal(0.0, 1.0))
    torch.testing.assert_close(kl_per_dimension(mean, log_variance), expected)


def test_streamed_moments_are_numpys_whatever_the_batches():
    values = np.random.default_rng(0).normal(1e4, 1e-2, (101, 3))
    for cuts in ([], [1], [50, 51], list(range(1, 101))):
        moments = Moments()
        for part in np.split(values, cuts):
            moments.update(part)
        np.testing.assert_allclose(moments.mean, values.mean(0), rtol=1e-14)
        np.testing.assert_allclose(moments.variance, values.var(0), rtol=1e-8)


def summarise(model, x, size, **options):
    summary = LatentSummary(**options)
    for part in x.split(size):
        posterior = encode(model, part)
        summary.update(posterior, posterior.mode())
    return summary


def values_of(summary):
    return {name: found.value for name, found in summary.metrics().items()}


def test_the_latent_summary_does_not_depend_on_the_batches(float64):
    model, x = default_model("VAE"), X.double()
    whole, parts = summarise(model, x, 7), summarise(model, x, 2)
    assert values_of(whole) == pytest.approx(values_of(parts), rel=1e-9)
    assert whole.arrays()["posterior_means"].shape == (7, 4)
    np.testing.assert_allclose(whole.arrays()["posterior_means"], parts.arrays()["posterior_means"], atol=1e-9)
    assert summarise(model, x, 3, keep=5).arrays()["posterior_log_variances"].shape == (5, 4)


def test_a_collapsed_posterior_is_flagged():
    model = default_model("VAE")
    for parameter in model.encoder.parameters():
        parameter.data.zero_()
    metrics = values_of(summarise(model, X, 4))
    assert metrics["active_units"] == 0
    assert metrics["posterior_collapse"] == 1
    assert metrics["kl_per_dim"] == 0
    assert metrics["aggregate_variance"] == pytest.approx(1)


def test_active_units_follow_the_variance_of_the_mean():
    summary = LatentSummary()
    mean = torch.zeros(7, 4)
    mean[:, 1] = torch.linspace(-1, 1, 7)
    mean[:, 2] = torch.linspace(-0.1, 0.1, 7)  # variance 0.0044
    summary.update(Gaussian(mean, torch.zeros(7, 4)), mean)
    assert summary.active.tolist() == [False, True, False, False]


def test_of_one_image_no_variance_is_known_and_none_collapsed():
    summary = LatentSummary()
    posterior = Gaussian(torch.ones(1, 3), torch.zeros(1, 3))
    summary.update(posterior, posterior.mode())
    found = summary.metrics()
    for name in ("aggregate_variance", "active_units", "posterior_collapse"):
        assert np.isnan(found[name].value)
        assert found[name].note == "needs two images"
    assert (found["aggregate_mean"].value, found["kl_per_dim"].value) == (1, 0.5)
    assert summary.arrays() == {}


@pytest.mark.parametrize(("name", "gaussian"), [("VAMP", True), ("VAE_IAF", False), ("SVAE", False)])
def test_the_variance_of_modes_alone_is_called_so(name, gaussian):
    """The figure of the aggregate posterior adds noise to the stored means where it is told its variance: not to those
    that a flow has moved."""
    summary = summarise(default_model(name), X, 4)
    found = summary.metrics()["aggregate_variance"]
    assert found.value == pytest.approx(summary.arrays()["posterior_means"].astype(float).var(0).mean(), rel=1e-4)
    assert found.note == "of the posteriors' modes alone, whose variance is not added"
    assert ("posterior_log_variances" in summary.arrays()) == gaussian
    for known in ("VAE", "AE"):
        assert summarise(default_model(known), X, 4).metrics()["aggregate_variance"].note == ""


def test_codebook_metrics_are_counts_and_entropy():
    assert codebook_metrics(np.array([5, 5, 5, 5, 0])) == {"codebook_perplexity": pytest.approx(4), "codes_used": 4}
    assert codebook_metrics(np.array([0, 9])) == {"codebook_perplexity": pytest.approx(1), "codes_used": 1}


@pytest.mark.parametrize("ema", [False, True])
def test_commitment_is_pythaes_mean_made_a_sum(ema, float64):
    spec = compact_spec("VQVAE", latent_dim=8, num_embeddings=16, use_ema=ema)
    torch.manual_seed(0)
    model, x = build_model(spec, (1, 28, 28)).eval(), X.double()
    encoding = encode(model, x)
    factor = model.model_config.commitment_loss_factor + (0 if ema else model.model_config.quantization_loss_factor)
    expected = model({"data": x}).vq_loss.item() / factor * encoding.unquantised[0].numel()
    assert encoding.commitment().mean().item() == pytest.approx(expected, rel=1e-9)


def test_vaegan_terms_average_to_pythaes_losses(float64):
    spec = compact_spec("VAEGAN", latent_dim=8, reconstruction_layer=2, adversarial_loss_scale=0.7)
    torch.manual_seed(0)
    model, x = build_model(spec, (1, 28, 28)).eval(), X.double()
    encoding = encode(model, x)
    y = reconstruct(model, x)
    ours = model.diagnostics(x, y, encoding, np.random.default_rng(4))
    z_prior = torch.from_numpy(np.random.default_rng(4).standard_normal((7, 8), dtype=np.float32)).double()
    with torch.no_grad():
        theirs = model.loss_function(y, x, encoding.mean, z_prior, encoding.mean, encoding.log_variance)
    for name, expected in zip(
        ("feature_recon", "encoder_loss", "decoder_loss", "discriminator_loss"), theirs[:4], strict=True
    ):
        assert ours[name].shape == (7,)
        assert ours[name].mean().item() == pytest.approx(expected.item(), rel=1e-9), name
    assert ours["total_loss"].mean().item() == pytest.approx(sum(term.item() for term in theirs[1:4]), rel=1e-9)
