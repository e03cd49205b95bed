"""The Inception features of the FID, by the network of torch-fidelity, and the feature networks that plugins add."""

from pathlib import Path

import torch
from torch import Tensor

from vaebench.base.errors import UserError
from vaebench.base.files import sha256_of
from vaebench.base.plugin_files import Added, PluginError, blamed
from vaebench.metrics.set_names import CUSTOM, OFFICIAL

NAME, LAYER = "inception-v3-compat", "2048"
# The file that torch-fidelity and pytorch-fid download, made of the network of the FID's authors
# (inception-2015-12-05): its first digits are in its name, 6726825d.
OFFICIAL_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


def inception_name(weights: Path) -> str:
    """`inception` for the official file, whose distances are FID and KID; `custom_inception` for any other."""
    return OFFICIAL if sha256_of(weights) == OFFICIAL_SHA256 else CUSTOM


class InceptionFeatures:
    """torch-fidelity's port of the FID Inception with the weights in a file; images go in as uint8, as from a PNG.

    Raises UserError when torch-fidelity is not installed or the file does not fit.
    """

    def __init__(self, weights: Path, device: torch.device | str = "cpu") -> None:
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError:
            raise UserError("FID needs the package torch-fidelity: pip install torch-fidelity") from None
        try:
            network = FeatureExtractorInceptionV3(NAME, [LAYER], feature_extractor_weights_path=str(weights))
        except (OSError, RuntimeError, KeyError) as error:
            raise UserError(f"{weights}: not the FID Inception weights of torch-fidelity: {error}") from None
        self.network = network.eval().to(device)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, 2048) float64 of float images (B, 1 or 3, H, W) in [0, 1]; the network resizes them itself.

        NaN for an image that is not finite.
        """
        finite = torch.isfinite(images).flatten(1).all(1)
        pixels = (images.nan_to_num() * 255).round().clamp(0, 255).to(torch.uint8)
        features = self.network(pixels.expand(-1, 3, -1, -1).contiguous())[0].double()
        return torch.where(finite[:, None], features, torch.nan)


class AddedFeatures:
    """The feature network that a plugin adds, with a file of weights where it needs one.

    Raises `PluginError` for whatever the plugin raises, and for features of another shape.
    """

    def __init__(self, added: Added, weights: Path | None, device: torch.device | str = "cpu") -> None:
        self.added = added
        with blamed(added):
            self.network = added.load()(weights, torch.device(device))

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, D) float64 of float images (B, 1 or 3, H, W) in [0, 1]; NaN for one that is not finite."""
        finite = torch.isfinite(images).flatten(1).all(1)
        with blamed(self.added):
            features = self.network(images.nan_to_num())
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(images):
            raise PluginError(f"{self.added.place}: {self.added.name} must give a tensor (B, D), a row for each image")
        return torch.where(finite[:, None], features.double(), torch.nan)
