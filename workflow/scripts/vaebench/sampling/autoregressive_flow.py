"""The flow of the samplers `maf` and `iaf`: layers that shift and scale each dimension by those before it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

STEEPEST = 3.0  # the logarithm of a scale lies between plus and minus this


class MaskedLinear(nn.Linear):
    """A linear layer of which some weights are always 0."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.to(self.weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) to (B, outputs)."""
        return functional.linear(x, self.weight * self.mask, self.bias)


class AutoregressiveLayer(nn.Module):
    """y_i = x_i exp(s_i) + t_i, with s_i and t_i functions of x_1 to x_{i-1} (MADE, Germain et al. 2015)."""

    def __init__(self, dimensions: int, width: int) -> None:
        super().__init__()
        degrees = torch.arange(dimensions)
        hidden = torch.arange(width) % max(dimensions - 1, 1)
        outputs = degrees.repeat(2)
        self.network = nn.Sequential(
            MaskedLinear(hidden[:, None] >= degrees),
            nn.ReLU(),
            MaskedLinear(hidden[:, None] >= hidden),
            nn.ReLU(),
            MaskedLinear(outputs[:, None] > hidden),
        )
        last: list[nn.Parameter] = list(self.network[-1].parameters())
        for parameter in last:  # begins as the identity
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y of x (B, L), and ln |dy/dx|, (B,)."""
        shift, log_scale = self._shift_and_scale(x)
        return x * log_scale.exp() + shift, log_scale.sum(1)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """x of y, one dimension after another, and ln |dy/dx|."""
        columns: list[Tensor] = []
        log_scales = []
        for place in range(y.shape[1]):
            known = torch.stack(columns, 1) if columns else y[:, :0]
            shift, log_scale = self._shift_and_scale(functional.pad(known, (0, y.shape[1] - place)))
            columns.append((y[:, place] - shift[:, place]) * (-log_scale[:, place]).exp())
            log_scales.append(log_scale[:, place])
        return torch.stack(columns, 1), torch.stack(log_scales, 1).sum(1)

    def _shift_and_scale(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = self.network(x).chunk(2, 1)
        return shift, STEEPEST * torch.tanh(raw / STEEPEST)


class AutoregressiveFlow(nn.Module):
    """Layers between latents and standard normal noise, the order of the dimensions reversed after each.

    mean, deviation: (L,) of the latents, which are standardised first. quick_density: the layers go from latents to
    noise (MAF, Papamakarios et al. 2017), else from noise to latents (IAF, Kingma et al. 2016): that way takes one pass
    a layer, the other one a dimension.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor, layers: int, width: int, quick_density: bool) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.layers = nn.ModuleList(AutoregressiveLayer(len(mean), width) for _ in range(layers))
        self.quick_density = quick_density

    def nats(self, z: Tensor) -> Tensor:
        """-ln p of latents z (B, L), (B,)."""
        x = (z - self.mean) / self.deviation
        x, volume = self._forwards(x) if self.quick_density else self._backwards(x)
        volume = volume if self.quick_density else -volume
        constant = 0.5 * torch.log(torch.tensor(2 * torch.pi, dtype=z.dtype)) * z.shape[1]
        return 0.5 * x.square().sum(1) + constant - volume + self.deviation.log().sum()

    def from_noise(self, noise: Tensor) -> Tensor:
        """Latents of standard normal numbers (B, L)."""
        x = self._backwards(noise)[0] if self.quick_density else self._forwards(noise)[0]
        return x * self.deviation + self.mean

    def _forwards(self, x: Tensor) -> tuple[Tensor, Tensor]:
        volume = x.new_zeros(len(x))
        for layer in self.layers:
            x, change = layer(x)
            x, volume = x.flip(1), volume + change
        return x, volume

    def _backwards(self, y: Tensor) -> tuple[Tensor, Tensor]:
        volume = y.new_zeros(len(y))
        layers: list[Any] = list(self.layers)
        for layer in layers[::-1]:
            y, change = layer.inverse(y.flip(1))
            volume = volume + change
        return y, volume
