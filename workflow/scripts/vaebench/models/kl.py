"""How far a Gaussian posterior is from the prior."""

import torch
from torch import Tensor


def kl_per_dimension(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) of each dimension in nats: two (B, L) -> (B, L) float64."""
    mean, variance = mean.double(), variance_of(log_variance)
    return -0.5 * (1 + log_variance.double() - mean.square() - variance)


def variance_of(log_variance: Tensor) -> Tensor:
    """σ² in float64; NaN where it is beyond float32, in which the model itself has an infinite variance."""
    variance = log_variance.double().exp()
    return variance.where(variance <= torch.finfo(torch.float32).max, torch.nan)
