"""The legacy columns against the original study's arithmetic, written out again in its own plain way."""

import lpips
import numpy as np
import pandas as pd
import piq
import pytest
import torch
from evaluation_cases import SETTINGS, evaluate, result_paths, save_run, smooth_images, write_data, write_samples
from test_metrics_images import reference_lpips
from torch.nn import functional as F

from vaebench.base.npz import open_array
from vaebench.models.storage import load_model

IMAGES = smooth_images(70, seed=3)
CASES = {
    "VAE": {"latent_dim": 4},
    "BetaVAE": {"latent_dim": 4, "beta": 4.0},
    "VQVAE": {"latent_dim": 4, "num_embeddings": 16, "use_ema": True},
    "VAEGAN": {"latent_dim": 4, "reconstruction_layer": 2},
}


@torch.no_grad()
def study_batch(model, x, network: lpips.LPIPS) -> dict:
    """One batch as the study's evaluators do it: everything from a stochastic forward pass."""
    out = model({"data": x})
    x_hat = out.recon_x
    result = {"mse": F.mse_loss(x_hat, x).item()}
    if model.model_name in ("VAE", "BetaVAE"):
        beta = 1.0 if model.model_name == "VAE" else model.model_config.beta
        result["bce"] = out.recon_loss.mean().item()
        result["kl"] = (out.reg_loss / beta).mean().item()
        result["elbo"] = (out.recon_loss + out.reg_loss).mean().item()
    else:
        flat = x_hat.clamp(0.0, 1.0).reshape(len(x), -1)
        result["bce"] = F.binary_cross_entropy(flat, x.reshape(len(x), -1)).item()
        result["total_loss"] = out.loss.mean().item()
    if model.model_name == "VQVAE":
        result["vq_loss"] = out.vq_loss.mean().item()
    if model.model_name == "VAEGAN":
        encoded = model.encoder(x)
        mu, log_var = encoded.embedding, encoded.log_covariance
        result["kl"] = (-0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp(), dim=-1)).mean().item()
        result["elbo"] = result["mse"] + result["kl"]
        for name in ("recon_loss", "encoder_loss", "decoder_loss", "discriminator_loss"):
            result[name] = out[name].mean().item()
    result["lpips"] = network(x.repeat(1, 3, 1, 1), x_hat.repeat(1, 3, 1, 1)).mean().item()
    result["ssim"] = piq.ssim(x_hat, x, data_range=1.0).item()
    result["gmsd"] = piq.gmsd(x_hat, x, data_range=1.0).item()
    return result


@torch.no_grad()
def study_generated(model) -> torch.Tensor:
    """64 images from the prior or, for VQ models, from codes drawn uniformly, after the script's own dummy input."""
    torch.manual_seed(999)
    if model.model_name != "VQVAE":
        return model.decoder(torch.randn(64, model.model_config.latent_dim)).reconstruction.clamp(0.0, 1.0)
    grid = model.encoder(torch.randn(1, *model.model_config.input_dim)).embedding
    codes = torch.randint(0, model.quantizer.num_embeddings, (64, grid.shape[2] * grid.shape[3]))
    z = model.quantizer.embeddings[codes].reshape(64, *grid.shape[2:], -1).permute(0, 3, 1, 2)
    return model.decoder(z).reconstruction.clamp(0.0, 1.0)


@pytest.fixture(scope="module")
def network(perceptual_weights):
    """The lpips package's, which takes a second to make."""
    return reference_lpips("vgg", perceptual_weights)


@pytest.mark.parametrize("name", sorted(CASES))
def test_legacy_columns_are_the_studys_numbers(name, tmp_path, perceptual_weights, network):
    data = write_data(tmp_path, {"train": IMAGES[:20], "eval": IMAGES[:5], "test": IMAGES})
    path, spec = save_run(tmp_path, name, **CASES[name])
    write_samples(tmp_path / "samples.npz", IMAGES[:8])
    paths = result_paths(tmp_path)
    settings = SETTINGS | {"protocol": "legacy"}
    arguments = (path, spec, 0, "digits", data, tmp_path / "samples.npz", perceptual_weights, settings, None, paths)
    evaluate(*arguments, threads=1)
    rows = pd.concat([pd.read_csv(paths[f"{suite}.csv"]) for suite in ("reconstruction", "generation")])
    found = rows.set_index("metric")["value"]

    model = load_model(path)
    x = torch.from_numpy(open_array(data["test"]) / 255.0).float()
    torch.manual_seed(999)
    batches = [study_batch(model, x[i : i + 64], network) for i in range(0, len(x), 64)]
    for metric in batches[0]:
        expected = np.mean([batch[metric] for batch in batches])
        assert found[f"legacy_{metric}"] == pytest.approx(expected, rel=1e-4), metric
    for metric, expected in study_batch(model, study_generated(model), network).items():
        assert found[f"legacy_self_{metric}"] == pytest.approx(expected, rel=1e-4), metric
    assert not rows["metric"].duplicated().any()


def test_the_standard_protocol_has_no_legacy_columns(tmp_path, perceptual_weights):
    data = write_data(tmp_path, {"train": IMAGES[:9], "eval": IMAGES[:5], "test": IMAGES[:9]})
    path, spec = save_run(tmp_path, "VAE", latent_dim=4)
    write_samples(tmp_path / "samples.npz", IMAGES[:8])
    paths = result_paths(tmp_path)
    evaluate(
        path, spec, 0, "digits", data, tmp_path / "samples.npz", perceptual_weights, SETTINGS, None, paths, threads=1
    )
    assert "legacy" not in paths["reconstruction.csv"].read_text()


def test_the_studys_errors_show_on_purpose(tmp_path, perceptual_weights):
    """beta divides a KL that pythae never multiplied, and LPIPS on [0, 1] differs from LPIPS on [-1, 1]."""
    data = write_data(tmp_path, {"train": IMAGES[:9], "eval": IMAGES[:5], "test": IMAGES[:9]})
    path, spec = save_run(tmp_path, "BetaVAE", latent_dim=4, beta=4.0)
    write_samples(tmp_path / "samples.npz", IMAGES[:8])
    paths = result_paths(tmp_path)
    settings = SETTINGS | {"protocol": "legacy", "lpips": ["vgg"]}
    evaluate(
        path, spec, 0, "digits", data, tmp_path / "samples.npz", perceptual_weights, settings, None, paths, threads=1
    )
    rows = pd.concat([pd.read_csv(paths[f"{suite}.csv"]) for suite in ("reconstruction", "latent")])
    found = rows.set_index("metric")["value"]
    assert found["legacy_kl"] == pytest.approx(found["kl"] / 4, rel=1e-4)
    assert abs(found["legacy_lpips"] / found["lpips_vgg"] - 1) > 0.05
