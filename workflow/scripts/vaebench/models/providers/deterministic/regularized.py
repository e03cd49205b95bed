"""Regularised autoencoders (Ghosh et al. 2020, arXiv 1903.12436): RAE, and RAE_SN with a decoder of bounded layers."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from vaebench.models.interface import Losses, Moment
from vaebench.models.providers.deterministic.point_model import PointModel

LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


class RegularizedAE(PointModel):
    """The error of a reconstruction, plus `embedding_weight` times ½ ‖z‖² (eq. 11 with L_REG = 0)."""

    def __init__(
        self,
        entry: str,
        shape: tuple[int, int, int],
        networks: tuple[nn.Module, nn.Module],
        fields: Mapping[str, Any],
    ) -> None:
        super().__init__(shape, networks, fields)
        self.entry, self.sampler = entry, "gaussian_mixture"
        self.embedding_weight = float(fields["embedding_weight"])

    @property
    def name(self) -> str:
        """As in the catalog."""
        return self.entry

    def losses(self, x: Tensor, moment: Moment) -> Losses:
        """loss, reconstruction_loss and embedding."""
        z = self.encoder(x).embedding
        error, embedding = self.error(x, self.decode(z)), 0.5 * z.square().sum(1).mean()
        loss = error + self.embedding_weight * embedding
        return Losses({"loss": loss, "reconstruction_loss": error, "embedding": embedding})


def bound_layers(network: nn.Module) -> nn.Module:
    """Divide the weights of every layer by their largest singular value (Miyato et al. 2018), in place."""
    for module in list(network.modules()):
        if isinstance(module, LAYERS):
            spectral_norm(module)
    return network


def build(
    name: str, shape: tuple[int, int, int], networks: tuple[nn.Module, nn.Module], fields: Mapping[str, Any]
) -> RegularizedAE:
    """RAE or RAE_SN."""
    encoder, decoder = networks
    return RegularizedAE(name, shape, (encoder, bound_layers(decoder) if name == "RAE_SN" else decoder), fields)
