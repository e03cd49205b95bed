"""The Inception features of the FID, by the network of torch-fidelity, and the feature networks that plugins add."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vaebench.base.errors import UserError
from vaebench.base.files import sha256_of
from vaebench.base.plugin_files import Added, PluginError, blamed
from vaebench.metrics.set_names import CUSTOM, OFFICIAL

NAME, LAYER = "inception-v3-compat", "2048"
# The file that torch-fidelity and pytorch-fid download, made of the network of the FID's authors
# (inception-2015-12-05): its first digits are in its name, 6726825d.
OFFICIAL_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"

INCEPTION_SIDE = 299
STAGES = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "MaxPool_1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "MaxPool_2"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c", "AvgPool"),
)


def inception_name(weights: Path) -> str:
    """`inception` for the official file, whose distances are FID and KID; `custom_inception` for any other."""
    return OFFICIAL if sha256_of(weights) == OFFICIAL_SHA256 else CUSTOM


def inception(weights: Path) -> nn.Module:
    """torch-fidelity's port of the FID Inception with the weights in a file.

    Raises UserError when torch-fidelity is not installed or the file does not fit.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError:
        raise UserError("FID needs the package torch-fidelity: pip install torch-fidelity") from None
    try:
        network: nn.Module = FeatureExtractorInceptionV3(NAME, [LAYER], feature_extractor_weights_path=str(weights))
    except (OSError, RuntimeError, KeyError) as error:
        raise UserError(f"{weights}: not the FID Inception weights of torch-fidelity: {error}") from None
    return network


def clean_inception(weights: Path) -> nn.Module:
    """The same behind an antialiased resize; UserError for another file than the official one."""
    if inception_name(weights) != OFFICIAL:
        raise UserError(f"{weights}: clean_inception takes the official FID Inception file, whose SHA-256 this has not")
    return AntialiasedInception(inception(weights))


class PixelFeatures:
    """A network that takes uint8 images (B, 3, H, W), as torch-fidelity's extractors do, for our float images."""

    def __init__(self, network: nn.Module, device: torch.device | str = "cpu") -> None:
        self.network = network.eval().requires_grad_(False).to(device)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, D) float64 of float images (B, 1 or 3, H, W) in [0, 1]; NaN for one that is not finite."""
        finite = torch.isfinite(images).flatten(1).all(1)
        pixels = (images.nan_to_num() * 255).round().clamp(0, 255).to(torch.uint8)
        features = self.network(pixels.expand(-1, 3, -1, -1).contiguous())[0].double()
        return torch.where(finite[:, None], features, torch.nan)


class AntialiasedInception(nn.Module):
    """The FID Inception behind the resize of clean-fid (Parmar et al. 2022): Pillow's bicubic one, channel by channel.

    The bytes of an image are resized as real numbers, and not rounded; what the bicubic kernel adds beyond 0 and 255
    beside an edge is cut off. `network` is torch-fidelity's.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.matrices: dict[int, Tensor] = {}

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """One array of features of uint8 images (B, 3, H, W)."""
        x = (self.resized(x) - 128) / 128
        for stage in STAGES:
            x = getattr(self.network, stage)(x)
        return (x.flatten(1),)

    def resized(self, x: Tensor) -> Tensor:
        """Uint8 images (B, 3, H, W) as the network sees them: float32 (B, 3, 299, 299) in [0, 255]."""
        rows, columns = (self._matrix(side).to(x.device) for side in x.shape[-2:])
        return (rows @ (x.float() @ columns.T)).clamp(0, 255)

    def _matrix(self, side: int) -> Tensor:
        if side not in self.matrices:
            self.matrices[side] = torch.from_numpy(bicubic(side, INCEPTION_SIDE))
        return self.matrices[side]


def bicubic(side: int, target: int) -> np.ndarray:
    """The weights, float32 (target, side), with which Pillow resizes images of real numbers; read off Pillow."""
    impulses = Image.fromarray(np.eye(side, dtype=np.float32))
    return np.ascontiguousarray(np.asarray(impulses.resize((target, side), Image.Resampling.BICUBIC)).T)


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
