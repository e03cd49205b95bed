"""BetaTCVAE (Chen et al. 2018, arXiv 1802.04942): the KL divergence in three parts, estimated from a batch."""

import math

import torch
from torch import Tensor

from vaebench.models.providers.pythae.model import PythaeModel


class Model(PythaeModel):
    """A Gaussian posterior; in training z, (B, L), is a draw for each image of a batch."""

    def loss_function(
        self, recon_x: Tensor, x: Tensor, mu: Tensor, log_var: Tensor, z: Tensor, dataset_size: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """pythae's, to the last bit, but that its constants are made on the device: nothing in a step waits for it."""
        errors, count = self.errors(x, recon_x), len(z)
        log_posterior = _log_gaussian(z, mu, log_var).sum(-1)
        log_prior = _log_gaussian(z, torch.zeros_like(z), torch.zeros_like(z)).sum(-1)
        each = _log_gaussian(z[:, None], mu[None], log_var[None])  # of every draw under every posterior, (B, B, L)
        if self.use_mss:
            weights = _stratified_weights(count, dataset_size, z.device).log()
            log_aggregate = torch.logsumexp(weights + each.sum(-1), -1)
            log_product = torch.logsumexp(weights[..., None] + each, 1).sum(-1)
        else:
            pairs = torch.full((1,), count * dataset_size, device=z.device).log()
            log_aggregate = torch.logsumexp(each.sum(-1), -1) - pairs
            log_product = (torch.logsumexp(each, 1) - pairs).sum(-1)
        information = self.alpha * (log_posterior - log_aggregate)
        correlation = self.beta * (log_aggregate - log_product)
        by_dimension = self.gamma * (log_product - log_prior)
        total = errors + information + correlation + by_dimension
        return total.mean(0), errors.mean(0), (information + correlation + by_dimension).mean(0)


def _log_gaussian(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """ln N(z; mean, exp(log_variance)) of each dimension."""
    constant = torch.full((1,), 2 * math.pi, device=z.device).log()
    return -0.5 * (constant + log_variance + (z - mean) ** 2 * torch.exp(-log_variance))


def _stratified_weights(count: int, images: int, device: torch.device) -> Tensor:
    """Importance weights (B, B) of a batch of `count` out of so many images, as the authors' code has them.

    Appendix C.2 of the paper gives 1 / images to a draw's own posterior; here the first of the batch has it.
    """
    others = count - 1
    stratum = (images - others) / (images * others)
    weights = torch.full((count, count), 1 / others, device=device)
    weights[:, 0] = 1 / images
    weights[:, 1] = stratum
    weights[others - 1, 0] = stratum
    return weights
