"""The networks of the models that pythae's author trained to reproduce papers and keeps on the Hugging Face Hub.

They were defined in the training scripts and are in no library: layers, sizes, and the names of their parameters are
those of examples/scripts/reproducibility in github.com/clementchadebec/benchmark_VAE. `encoder`, `decoder` and
`discriminator` are called with the configuration of a model of pythae, whose name tells which script it is from. Not
here are those for 64x64 images in colour (wae.py, aae.py, rae_l2.py, rae_gp.py), which are pythae's `convnet`, layer by
layer.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import torch
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseDiscriminator, BaseEncoder
from pythae.models.pvae.pvae_utils import PoincareBall
from torch import Tensor, nn
from torch.nn import functional

from vaebench.base.errors import UserError

ANSWERS = {"embedding": "embedding", "log_var": "log_covariance", "log_concentration": "log_concentration"}


def dense(sizes: Sequence[int], activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Linear maps from each size to the next, an activation behind each."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers)


class Layered(BaseEncoder):
    """`layers` in turn, over pixels in one row; then `heads`, by the names that their parameters have."""

    def __init__(self, layers: Sequence[nn.Module], heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        for name, head in heads.items():
            self.add_module(name, head)
        self.heads = tuple(heads)

    def forward(self, x: Tensor) -> ModelOutput:
        """Encode images x (B, C, H, W)."""
        features = x.flatten(1)
        for layer in self.layers:
            features = layer(features)
        return ModelOutput(**{ANSWERS[name]: self.get_submodule(name)(features) for name in self.heads})


class Unlayered(BaseDecoder):
    """`layers` in turn, the last of which gives an image of `shape`."""

    def __init__(self, layers: Sequence[nn.Module], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.shape = tuple(shape)

    def forward(self, z: Tensor) -> ModelOutput:
        """Decode latents z (B, latent_dim)."""
        for layer in self.layers:
            z = layer(z)
        return ModelOutput(reconstruction=z.reshape(-1, *self.shape))


class TanhEncoder(BaseEncoder):
    """Two hidden layers of 200 (iwae.py, miwae.py, piwae.py, ciwae.py)."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(prod(config.input_dim), 200), nn.Linear(200, 200)
        self.embedding, self.log_var = (nn.Linear(200, config.latent_dim) for _ in range(2))

    def forward(self, x: Tensor) -> ModelOutput:
        """Encode images x (B, C, H, W)."""
        features = torch.tanh(self.fc2(torch.tanh(self.fc1(x.flatten(1)))))
        return ModelOutput(embedding=self.embedding(features), log_covariance=self.log_var(features))


class TanhDecoder(BaseDecoder):
    """Two hidden layers of 200 (iwae.py, miwae.py, piwae.py, ciwae.py)."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.shape = tuple(config.input_dim)
        self.fc1, self.fc2 = nn.Linear(config.latent_dim, 200), nn.Linear(200, 200)
        self.fc3 = nn.Linear(200, prod(config.input_dim))

    def forward(self, z: Tensor) -> ModelOutput:
        """Decode latents z (B, latent_dim)."""
        pixels = torch.sigmoid(self.fc3(torch.tanh(self.fc2(torch.tanh(self.fc1(z))))))
        return ModelOutput(reconstruction=pixels.reshape(-1, *self.shape))


class Gated(nn.Module):
    """One linear map times the sigmoid of another (vamp.py)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.h, self.g = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) to (B, outputs)."""
        found: Tensor = self.h(x) * torch.sigmoid(self.g(x))
        return found


def named_linear(inputs: int, outputs: int, activation: nn.Module) -> nn.Sequential:
    """A linear map, called `linear` in the state, and an activation (vamp.py)."""
    return nn.Sequential(OrderedDict(linear=nn.Linear(inputs, outputs), activation=activation))


class BallEncoder(BaseEncoder):
    """A hidden layer of 600, and the exponential map at the origin of the Poincaré ball (pvae.py)."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.manifold = PoincareBall(dim=config.latent_dim, c=config.curvature)
        self.enc = dense([prod(config.input_dim), 600], nn.ReLU)
        self.fc21, self.fc22 = nn.Linear(600, config.latent_dim), nn.Linear(600, 1)

    def forward(self, x: Tensor) -> ModelOutput:
        """Encode images x (B, C, H, W)."""
        features = self.enc(x.flatten(1))
        spread = torch.log(functional.softplus(self.fc22(features)) + 1e-5)
        place = self.manifold.expmap0(self.fc21(features))
        return ModelOutput(embedding=place, log_covariance=spread, log_concentration=spread)


class Gyroplanes(nn.Module):
    """Signed distances of points in the ball to hyperplanes in it (Ganea et al. 2018).

    As pvae.py, which has a plane's point and normal in each other's place: the weights were trained so.
    """

    def __init__(self, inputs: int, outputs: int, manifold: PoincareBall) -> None:
        super().__init__()
        self.manifold = manifold
        self._weight = nn.Parameter(torch.zeros(outputs, inputs))
        self._bias = nn.Parameter(torch.zeros(outputs, 1))

    def forward(self, z: Tensor) -> Tensor:
        """(B, inputs) to (B, outputs)."""
        point = self.manifold.expmap0(self._weight * self._bias)
        normal = self.manifold.transp0(point, self._weight)
        distance: Tensor = self.manifold.normdist2plane(z.unsqueeze(-2), point, normal, signed=True)
        return distance


class BallDecoder(BaseDecoder):
    """Distances to 600 hyperplanes, and a linear map (pvae.py)."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.shape = tuple(config.input_dim)
        planes = Gyroplanes(config.latent_dim, 600, PoincareBall(dim=config.latent_dim, c=config.curvature))
        self.dec = nn.Sequential(planes, nn.ReLU(), nn.Linear(600, prod(config.input_dim)), nn.Sigmoid())

    def forward(self, z: Tensor) -> ModelOutput:
        """Decode latents z (B, latent_dim)."""
        return ModelOutput(reconstruction=self.dec(z).reshape(-1, *self.shape))


class LatentDiscriminator(BaseDiscriminator):
    """Four hidden layers of 512 over latents (aae.py)."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        last = nn.Sequential(nn.Linear(512, 1), nn.Sigmoid())
        self.layers = nn.ModuleList([dense([config.latent_dim, 512, 512, 512, 512], nn.ReLU), last])

    def forward(self, z: Tensor) -> ModelOutput:
        """Judge latents z (B, latent_dim)."""
        for layer in self.layers:
            z = layer(z)
        return ModelOutput(embedding=z)


def hidden(
    sizes: Sequence[int], second: str, activation: Callable[[], nn.Module] = nn.ReLU
) -> Callable[[Any], BaseEncoder]:
    """An encoder with hidden layers of these sizes, and a second answer of the name in the state."""

    def build(config: Any) -> BaseEncoder:
        outputs = {"embedding": config.latent_dim, second: 1 if second == "log_concentration" else config.latent_dim}
        heads = {name: nn.Linear(sizes[-1], output) for name, output in outputs.items()}
        return Layered([dense([prod(config.input_dim), *sizes], activation)], heads)

    return build


def shown(sizes: Sequence[int]) -> Callable[[Any], BaseDecoder]:
    """A decoder with hidden layers of these sizes behind ReLU."""

    def build(config: Any) -> BaseDecoder:
        last = nn.Sequential(nn.Linear(sizes[-1], prod(config.input_dim)), nn.Sigmoid())
        return Unlayered([dense([config.latent_dim, *sizes], nn.ReLU), last], config.input_dim)

    return build


def vamp_encoder(config: Any) -> BaseEncoder:
    """Two gated layers of 300 (vamp.py)."""
    layers = nn.Sequential(Gated(prod(config.input_dim), 300), Gated(300, 300))
    spread = named_linear(300, config.latent_dim, nn.Hardtanh(-6, 2))
    return Layered([layers], {"embedding": nn.Linear(300, config.latent_dim), "log_var": spread})


def vamp_decoder(config: Any) -> BaseDecoder:
    """Two gated layers of 300 (vamp.py)."""
    layers = nn.Sequential(Gated(config.latent_dim, 300), Gated(300, 300))
    last = nn.Sequential(named_linear(300, prod(config.input_dim), nn.Sigmoid()))
    return Unlayered([layers, last], config.input_dim)


def tc_decoder(config: Any) -> BaseDecoder:
    """Three hidden layers of 1200 behind tanh (betatcvae.py)."""
    layers = dense([config.latent_dim, 1200, 1200, 1200], nn.Tanh)
    return Unlayered([*layers, nn.Linear(1200, prod(config.input_dim)), nn.Sigmoid()], config.input_dim)


def logits_decoder(config: Any) -> BaseDecoder:
    """A hidden layer of 300, and logits in place of an image, which HVAE's cross-entropy takes (hvae.py)."""
    last = nn.Sequential(nn.Linear(300, prod(config.input_dim)))
    return Unlayered([dense([config.latent_dim, 300], nn.Softplus), last], config.input_dim)


# Encoder and decoder by the model, as pythae's configurations name it.
NETWORKS: Mapping[str, tuple[Callable[[Any], BaseEncoder], Callable[[Any], BaseDecoder]]] = {
    "VAE": (hidden([400], "log_var"), shown([400])),
    "VAMP": (vamp_encoder, vamp_decoder),
    "SVAE": (hidden([256, 128], "log_concentration"), shown([128, 256])),
    "PoincareVAE": (BallEncoder, BallDecoder),
    **dict.fromkeys(("IWAE", "MIWAE", "PIWAE", "CIWAE"), (TanhEncoder, TanhDecoder)),
    "HVAE": (hidden([300], "log_var", nn.Softplus), logits_decoder),
    "BetaTCVAE": (hidden([1200, 1200], "log_var"), tc_decoder),
}


def _of(config: Any) -> tuple[Callable[[Any], BaseEncoder], Callable[[Any], BaseDecoder]]:
    model = config.name.removesuffix("Config").removesuffix("_")
    if model not in NETWORKS:
        raise UserError(f"pythae's scripts hold no networks of {model} that can be rebuilt here")
    return NETWORKS[model]


def encoder(config: Any) -> BaseEncoder:
    """The encoder of the script for the model of `config`; `UserError` where there is none."""
    return _of(config)[0](config)


def decoder(config: Any) -> BaseDecoder:
    """The decoder of the script for the model of `config`; `UserError` where there is none."""
    return _of(config)[1](config)


discriminator = LatentDiscriminator
