"""The original study's arithmetic for its four models, with its defects: see metrics/legacy.py."""

from collections.abc import Callable

import numpy as np
import torch
from pythae.models.base.base_utils import ModelOutput
from torch import Tensor
from torch.nn import functional

from vaebench.models.interface import OriginalStudy
from vaebench.models.providers.pythae.model import PythaeModel

Terms = Callable[[PythaeModel, Tensor, Tensor, ModelOutput, Tensor], dict[str, Tensor]]


class FourModels(OriginalStudy):
    """What the study computes of a model, one of those in `MODEL_TERMS`."""

    def __init__(self, model: PythaeModel) -> None:
        self.model = model

    def terms(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """From one stochastic forward pass."""
        output = self.model({"data": x})
        y = output.recon_x
        if not torch.isfinite(y).all():  # which cross-entropy does not take
            return y, {}
        mse = functional.mse_loss(y, x)
        return y, {"mse": mse} | MODEL_TERMS[self.model.model_name](self.model, x, y, output, mse)

    def generate(self, count: int) -> Tensor:
        """From the prior, or from codes drawn uniformly."""
        z = self._uniform_codes(count) if self.model.codebook_size else self._normal(count)
        return self.model.decoder(z).reconstruction.clamp(0, 1)

    def _normal(self, count: int) -> Tensor:
        return torch.randn(count, self.model.model_config.latent_dim, device=self._device())

    def _uniform_codes(self, count: int) -> Tensor:
        codebook = self.model.codebook()
        shape = self.model.encoder(torch.randn(1, *self.model.input_shape, device=self._device())).embedding.shape[1:]
        positions = int(np.prod(shape)) // codebook.shape[1]
        codes = torch.randint(0, len(codebook), (count, positions), device=self._device())
        vectors = codebook[codes]
        if len(shape) == 1:
            return vectors.reshape(count, -1)
        return vectors.reshape(count, *shape[1:], -1).permute(0, 3, 1, 2)

    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


def _beta_vae_terms(model: PythaeModel, x: Tensor, y: Tensor, output: ModelOutput, mse: Tensor) -> dict[str, Tensor]:
    beta = getattr(model.model_config, "beta", 1.0)
    kl = output.reg_loss / beta if beta > 0 else torch.zeros(())
    return {"bce": output.recon_loss, "kl": kl, "elbo": output.recon_loss + output.reg_loss}


def _vqvae_terms(model: PythaeModel, x: Tensor, y: Tensor, output: ModelOutput, mse: Tensor) -> dict[str, Tensor]:
    return {"bce": _cross_entropy(x, y), "vq_loss": output.vq_loss, "total_loss": output.loss}


def _vaegan_terms(model: PythaeModel, x: Tensor, y: Tensor, output: ModelOutput, mse: Tensor) -> dict[str, Tensor]:
    encoded = model.encoder(x)
    mean, log_variance = encoded.embedding, encoded.log_covariance
    kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(-1).mean()
    losses = {name: output[name] for name in ("recon_loss", "encoder_loss", "decoder_loss", "discriminator_loss")}
    return {"bce": _cross_entropy(x, y), "kl": kl, "elbo": mse + kl, "total_loss": output.loss} | losses


def _cross_entropy(x: Tensor, y: Tensor) -> Tensor:
    return functional.binary_cross_entropy(y.clamp(0, 1), x)


MODEL_TERMS: dict[str, Terms] = {
    "VAE": _beta_vae_terms,
    "BetaVAE": _beta_vae_terms,
    "VQVAE": _vqvae_terms,
    "VAEGAN": _vaegan_terms,
}
