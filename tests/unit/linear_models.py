"""Models x = f(z) + noise over a plane of latents, whose bounds and marginals are known by other means."""

import torch
from pythae import models as pythae_models
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from scipy.stats import multivariate_normal
from torch import nn

from vaebench.models.providers.pythae.model import adopt

SHAPE = (1, 3, 3)


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
    """x̂ = curve(W z + b)."""

    def __init__(self, weight, offset, curve=None):
        super().__init__()
        self.weight, self.offset, self.curve = weight, offset, curve or nn.Identity()

    def forward(self, z):
        return ModelOutput(reconstruction=self.curve(z @ self.weight.T + self.offset).reshape(-1, *SHAPE))


def plane():
    """Orthogonal columns W (9, 2), so that the posterior is diagonal, and b (9,)."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.linalg.qr(torch.randn(9, 2, generator=generator))[0] * torch.tensor([2.0, 0.5])
    return weight, torch.rand(9, generator=generator)


def linear_model(name="VAE", log_factor=0.0, curve=None, **fields):
    """A pythae model of that class with the linear networks, in eval mode."""
    weight, offset = plane()
    config = getattr(pythae_models, f"{name}Config", None) or getattr(pythae_models, f"{name}_Config")
    torch.manual_seed(0)
    networks = LinearEncoder(weight, offset, log_factor), LinearDecoder(weight, offset, curve)
    return adopt(getattr(pythae_models, name)(config(input_dim=SHAPE, latent_dim=2, **fields), *networks)).eval()


def marginal(mean=None, covariance=None):
    """N(W m + b, W S W' + I): the marginal of x under the prior N(m, S), standard normal unless given."""
    weight, offset = (part.double() for part in plane())
    mean = torch.zeros(2) if mean is None else mean
    covariance = torch.eye(2) if covariance is None else covariance
    spread = weight @ covariance.double() @ weight.T + torch.eye(9).double()
    return multivariate_normal((weight @ mean.double() + offset).numpy(), spread.numpy())
