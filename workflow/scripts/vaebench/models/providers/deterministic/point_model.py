"""What autoencoders whose code is a point share."""

from collections.abc import Mapping, Sequence
from typing import Any

from pythae.models.base.base_utils import ModelOutput
from torch import Tensor, nn
from torch.nn import functional

from vaebench.models.interface import Autoencoder
from vaebench.models.posterior import Point, Posterior


class PointModel(Autoencoder):
    """`encoder` gives `embedding`, (B, L); `decoder` gives `reconstruction`."""

    answer = ModelOutput

    def __init__(
        self, shape: tuple[int, int, int], networks: tuple[nn.Module, nn.Module], fields: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.input_shape = shape
        self.encoder, self.decoder = networks
        self.likelihood = "bernoulli" if fields["reconstruction_loss"] == "bce" else "gaussian"

    def error(self, x: Tensor, y: Tensor) -> Tensor:
        """The squared error, or the cross-entropy, summed over an image and averaged over the batch."""
        compare = functional.binary_cross_entropy if self.likelihood == "bernoulli" else functional.mse_loss
        return compare(y, x, reduction="none").flatten(1).sum(1).mean()

    def encode(self, x: Tensor) -> Posterior:
        """A point."""
        return Point(self.encoder(x).embedding)

    def decode(self, z: Tensor) -> Tensor:
        """The decoder's answer."""
        images: Tensor = self.decoder(z).reconstruction
        return images

    def probabilities(self) -> Sequence[tuple[nn.Module, str]]:
        """The decoder, where it is trained on cross-entropy."""
        return [(self.decoder, "reconstruction")] if self.likelihood == "bernoulli" else []
