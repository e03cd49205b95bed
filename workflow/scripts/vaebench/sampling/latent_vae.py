"""The second VAE of the sampler `two_stage`: fully connected, of latents, with as many latents of its own."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALLEST = 1e-3  # γ, in standard deviations of the latents: below it their density has no meaning
MOMENTUM = 0.01  # of the running mean by which γ is remembered


class Perceptron(nn.Module):
    """Hidden layers whose last answer stands beside their input before the linear layer at the end."""

    def __init__(self, inputs: int, outputs: int, layers: int, width: int) -> None:
        super().__init__()
        widths = [inputs] + [width] * layers
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.output = nn.Linear(width + inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) -> (B, outputs)."""
        y = x
        for layer in self.hidden:
            y = functional.relu(layer(y))
        answer: Tensor = self.output(torch.cat([y, x], 1))
        return answer


class LatentVAE(nn.Module):
    """z = f(u) + γ ε, with u and ε standard normal (Dai & Wipf 2019, arXiv 1903.05789).

    mean, deviation: (L,) of the latents z, which are standardised first. γ, one for all dimensions, is the one under
    which a batch is most likely (Rybkin et al. 2021, arXiv 2006.13202); outside training its running mean.
    """

    mean: Tensor
    deviation: Tensor
    gamma: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor, layers: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.register_buffer("gamma", mean.new_tensor(math.nan))
        self.encoder = Perceptron(len(mean), 2 * len(mean), layers, width)
        self.decoder = Perceptron(len(mean), len(mean), layers, width)

    def nats(self, z: Tensor) -> Tensor:
        """The bound on -ln p of latents z (B, L) by one draw of torch's random numbers, (B,)."""
        x = (z - self.mean) / self.deviation
        centre, log_variance = self.encoder(x).chunk(2, 1)
        u = centre + torch.randn_like(centre) * torch.exp(0.5 * log_variance)
        kl = 0.5 * (centre.square() + log_variance.exp() - log_variance - 1).sum(1)
        errors = (x - self.decoder(u)).square()
        gamma = self._best_gamma(errors) if self.training else self.gamma
        constants = 0.5 * math.log(2 * math.pi) + gamma.log() + self.deviation.log()
        bound: Tensor = kl + (errors / (2 * gamma.square()) + constants).sum(1)
        return bound

    def from_noise(self, u: Tensor, noise: Tensor) -> Tensor:
        """Latents of standard normal numbers, all (B, L)."""
        z: Tensor = (self.decoder(u) + self.gamma * noise) * self.deviation + self.mean
        return z

    def _best_gamma(self, errors: Tensor) -> Tensor:
        best = errors.mean().sqrt().clamp(min=SMALLEST)
        with torch.no_grad():
            self.gamma.copy_(torch.where(self.gamma.isnan(), best, self.gamma.lerp(best, MOMENTUM)))
        return best
