"""Latents from one Gaussian of any covariance that is fitted to those of the training images."""

import numpy as np

from vaebench.sampling.latent_density import as_latents, held_out_latents, training_latents
from vaebench.sampling.request import Drawn, Request

LEAST_VARIANCE = 1e-6  # is added to each dimension's, as scikit-learn does for mixtures


def draw(request: Request) -> Drawn:
    """Draws of the Gaussian of maximum likelihood."""
    latents = training_latents(request)
    mean, width = latents.mean(0), latents.shape[1]
    factor = np.linalg.cholesky(np.cov(latents.T, bias=True).reshape(width, width) + LEAST_VARIANCE * np.eye(width))
    nats = {split: _nats(z - mean, factor) for split, z in held_out_latents(request).items()}
    drawn = mean + request.generator.standard_normal((request.count, width)) @ factor.T
    return Drawn(as_latents(drawn, request), latent_nats=nats)


def _nats(centred: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """-ln p of rows (n, L) with mean 0 and covariance factor · factorᵀ."""
    noise = np.linalg.solve(factor, centred.T)
    constant = np.log(np.diag(factor)).sum() + 0.5 * len(factor) * np.log(2 * np.pi)
    return np.asarray(0.5 * (noise**2).sum(0) + constant)
