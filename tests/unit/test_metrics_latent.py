"""Latent diagnostics, VAEGAN's terms and the likelihood against closed forms and other implementations."""

import math

import numpy as np
import pytest
import torch
from evaluation_cases import compact_spec, default_model
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from scipy.stats import multivariate_normal

from vaebench.inference import central_latent, encode, reconstruct
from vaebench.metrics.latent import (
    LatentSummary,
    Moments,
    codebook_metrics,
    kl_estimate,
    kl_per_dimension,
    vq_commitment,
)
from vaebench.metrics.likelihood import importance_weighted_bound
from vaebench.metrics.vaegan import vaegan_terms
from vaebench.models import build_model

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


@pytest.mark.parametrize("name", ["VAMP", "VAE_IAF", "VAE_LinNF", "SVAE", "PoincareVAE"])
def test_kl_estimates_agree_with_pythaes_own_on_average(name):
    model = default_model(name)
    x = X[:1].expand(3000, -1, -1, -1)
    ours = kl_estimate(model, x, encode(model, x), np.random.default_rng(0))
    torch.manual_seed(0)
    with torch.no_grad():
        theirs = model({"data": x}).reg_loss
    assert ours.dtype == torch.float64
    spread = 4 * ours.std().item() / math.sqrt(len(x)) * math.sqrt(2) + 1e-6
    assert ours.mean().item() == pytest.approx(theirs.item(), abs=spread)


def test_models_without_such_a_term_have_no_estimate():
    for name in ("HVAE", "AE"):
        model = default_model(name)
        assert kl_estimate(model, X, encode(model, X), np.random.default_rng(0)) is None


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
        encoding = encode(model, part)
        summary.update(encoding, central_latent(model, encoding))
    return summary


def test_the_latent_summary_does_not_depend_on_the_batches(float64):
    model, x = default_model("VAE"), X.double()
    whole, parts = summarise(model, x, 7), summarise(model, x, 2)
    assert whole.metrics() == pytest.approx(parts.metrics(), rel=1e-9)
    assert whole.arrays()["posterior_means"].shape == (7, 4)
    np.testing.assert_allclose(whole.arrays()["posterior_means"], parts.arrays()["posterior_means"], atol=1e-9)
    assert summarise(model, x, 3, keep=5).arrays()["posterior_log_variances"].shape == (5, 4)


def test_a_collapsed_posterior_is_flagged():
    model = default_model("VAE")
    for parameter in model.encoder.parameters():
        parameter.data.zero_()
    metrics = summarise(model, X, 4).metrics()
    assert metrics["active_units"] == 0
    assert metrics["posterior_collapse"] == 1
    assert metrics["kl_per_dim"] == 0
    assert metrics["aggregate_variance"] == pytest.approx(1)


def test_active_units_follow_the_variance_of_the_mean():
    summary = LatentSummary()
    encoding = encode(default_model("VAE"), X)
    mean = torch.zeros(7, 4)
    mean[:, 1] = torch.linspace(-1, 1, 7)
    mean[:, 2] = torch.linspace(-0.1, 0.1, 7)  # variance 0.0044
    summary.update(type(encoding)("gaussian", mean, torch.zeros(7, 4)), mean)
    assert summary.active.tolist() == [False, True, False, False]


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
    expected = model({"data": x}).vq_loss.item() / factor * encoding.mean[0].numel()
    assert vq_commitment(encoding).mean().item() == pytest.approx(expected, rel=1e-9)


def test_vaegan_terms_average_to_pythaes_losses(float64):
    spec = compact_spec("VAEGAN", latent_dim=8, reconstruction_layer=2, adversarial_loss_scale=0.7)
    torch.manual_seed(0)
    model, x = build_model(spec, (1, 28, 28)).eval(), X.double()
    encoding = encode(model, x)
    y = reconstruct(model, x)
    ours = vaegan_terms(model, x, y, encoding, np.random.default_rng(4))
    z_prior = torch.from_numpy(np.random.default_rng(4).standard_normal((7, 8), dtype=np.float32)).double()
    with torch.no_grad():
        theirs = model.loss_function(y, x, encoding.mean, z_prior, encoding.mean, encoding.log_variance)
    for name, expected in zip(
        ("feature_recon", "encoder_loss", "decoder_loss", "discriminator_loss"), theirs[:4], strict=True
    ):
        assert ours[name].shape == (7,)
        assert ours[name].mean().item() == pytest.approx(expected.item(), rel=1e-9), name
    assert ours["total_loss"].mean().item() == pytest.approx(sum(term.item() for term in theirs[1:4]), rel=1e-9)


class LinearEncoder(BaseEncoder):
    """The exact posterior of a linear-Gaussian model, times a given error of its deviation."""

    def __init__(self, weight, offset, log_factor):
        super().__init__()
        precision = torch.eye(weight.shape[1]) + weight.T @ weight
        self.gain, self.offset = torch.linalg.solve(precision, weight.T), offset
        self.log_variance = -torch.log(torch.diagonal(precision)) + log_factor

    def forward(self, x):
        mean = (x.flatten(1) - self.offset) @ self.gain.T
        return ModelOutput(embedding=mean, log_covariance=self.log_variance.expand_as(mean))


class LinearDecoder(BaseDecoder):
    def __init__(self, weight, offset):
        super().__init__()
        self.weight, self.offset = weight, offset

    def forward(self, z):
        return ModelOutput(reconstruction=(z @ self.weight.T + self.offset).reshape(-1, 1, 3, 3))


def linear_gaussian(log_factor):
    """x = W z + b + noise with orthogonal columns, so that the posterior is diagonal."""
    from pythae.models import VAE, VAEConfig

    generator = torch.Generator().manual_seed(0)
    weight = torch.linalg.qr(torch.randn(9, 2, generator=generator))[0] * torch.tensor([2.0, 0.5])
    offset = torch.rand(9, generator=generator)
    config = VAEConfig(input_dim=(1, 3, 3), latent_dim=2)
    model = VAE(config, LinearEncoder(weight, offset, log_factor), LinearDecoder(weight, offset)).eval()
    return model, multivariate_normal(offset.numpy(), (weight @ weight.T + torch.eye(9)).double().numpy())


def test_the_bound_is_exact_when_the_posterior_is():
    model, marginal = linear_gaussian(0.0)
    x = torch.randn(5, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    bound, effective = importance_weighted_bound(model, x, 4, np.random.default_rng(0))
    np.testing.assert_allclose(bound, marginal.logpdf(x.flatten(1).numpy()), atol=1e-4)
    np.testing.assert_allclose(effective, 4, rtol=1e-3)


def test_the_bound_converges_from_below_when_the_posterior_is_wrong():
    model, marginal = linear_gaussian(0.7)
    x = torch.randn(40, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    exact = marginal.logpdf(x.flatten(1).numpy()).mean()
    gaps = []
    for samples in (1, 10, 5000):
        bound, effective = importance_weighted_bound(model, x, samples, np.random.default_rng(0))
        assert (effective <= samples + 1e-9).all()
        gaps.append(exact - bound.numpy().mean())
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] == pytest.approx(0, abs=5e-3)


def test_the_bound_does_not_depend_on_the_batches(float64):
    model, x = default_model("VAE"), X.double()
    whole, _ = importance_weighted_bound(model, x, 6, np.random.default_rng(0))
    generator = np.random.default_rng(0)
    parts = [importance_weighted_bound(model, part, 6, generator)[0] for part in x.split(3)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-9, atol=0)


def test_a_bernoulli_model_uses_its_own_likelihood():
    model = default_model("VAE", reconstruction_loss="bce")
    bound, _ = importance_weighted_bound(model, X.round(), 3, np.random.default_rng(0))
    assert (bound < 0).all()
    assert bound.mean().item() > -28 * 28
