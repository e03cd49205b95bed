"""The features of CLIP's ViT-B/32 and of DINOv2's ViT-S/14, B/14 and L/14, as torch-fidelity has them.

CLIP runs in torch-fidelity's own extractor. Its DINOv2 is fetched by torch.hub as code and takes no file of weights, so
that the network is built here, in the layers and names of the published files (Oquab et al. 2024, arXiv 2304.07193).
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vaebench.base.errors import UserError
from vaebench.base.plain_tensors import load_plain

CLIP = "clip"
HEADS = {"dinov2_s": 6, "dinov2_b": 12, "dinov2_l": 16}  # of attention, each 64 wide
DEPTHS = {"dinov2_s": 12, "dinov2_b": 12, "dinov2_l": 24}
HEAD_WIDTH, PATCH, SIDE, TRAINED_SIDE = 64, 14, 224, 518  # pixels
OFFSET = 0.1  # cells that the authors add to the size to which they resize positions
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


class Block(nn.Module):
    """A transformer's block whose two branches are scaled channel by channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        self.ls1, self.ls2 = (nn.ParameterDict({"gamma": nn.Parameter(torch.ones(width))}) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, tokens, width)."""
        batch, tokens, width = x.shape
        queries, keys, values = (
            self.attn["qkv"](self.norm1(x)).reshape(batch, tokens, 3, -1, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        )
        attended = functional.scaled_dot_product_attention(queries, keys, values).transpose(1, 2)
        x = x + self.ls1["gamma"] * self.attn["proj"](attended.reshape(batch, tokens, width))
        added: Tensor = self.ls2["gamma"] * self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(x))))
        return x + added


class DinoV2(nn.Module):
    """Normalised images (B, 3, H, W) of whole patches of 14 pixels to the class token, (B, width)."""

    def __init__(self, width: int, depth: int, side: int = TRAINED_SIDE) -> None:
        super().__init__()
        self.cells = side // PATCH
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, self.cells**2 + 1, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # in the files, and not used
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, PATCH)})
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """The class token of images x behind the last norm."""
        grid = self.patch_embed["proj"](x)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), grid.flatten(2).transpose(1, 2)], 1)
        tokens = tokens + self._positions(grid.shape[-2], grid.shape[-1])
        for block in self.blocks:
            tokens = block(tokens)
        cls: Tensor = self.norm(tokens)[:, 0]
        return cls

    def _positions(self, height: int, width: int) -> Tensor:
        """The positions of a grid of patches, resized as the authors do, who scale to a tenth of a cell more."""
        if (height, width) == (self.cells, self.cells):
            return self.pos_embed
        square = self.pos_embed[:, 1:].reshape(1, self.cells, self.cells, -1).permute(0, 3, 1, 2)
        scale = (height + OFFSET) / self.cells, (width + OFFSET) / self.cells
        resized = functional.interpolate(square, scale_factor=scale, mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], resized.permute(0, 2, 3, 1).flatten(1, 2)], 1)


class DinoV2Pixels(nn.Module):
    """uint8 images (B, 3, H, W) to DINOv2's features, resized to 224 pixels as torch-fidelity does."""

    def __init__(self, network: DinoV2) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """One array of features, as torch-fidelity's extractors give them."""
        from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

        resized = interpolate_bilinear_2d_like_tensorflow1x(x.float(), size=(SIDE, SIDE), align_corners=False)
        mean, deviation = (255 * torch.tensor(values, device=x.device).view(3, 1, 1) for values in (MEAN, DEVIATION))
        return (self.network((resized - mean) / deviation),)


def vision_transformer(name: str, weights: Path) -> nn.Module:
    """The extractor `clip`, `dinov2_s`, `dinov2_b` or `dinov2_l` with the weights in a file.

    Raises UserError for a file that does not fit, and without torch-fidelity.
    """
    try:
        from torch_fidelity.feature_extractor_clip import FeatureExtractorCLIP
    except ImportError:
        raise UserError(f"{name} needs the package torch-fidelity: pip install torch-fidelity") from None
    try:
        if name == CLIP:
            clip: nn.Module = FeatureExtractorCLIP("clip-vit-b-32", [CLIP], feature_extractor_weights_path=str(weights))
            return clip
        network = DinoV2(HEADS[name] * HEAD_WIDTH, DEPTHS[name])
        state: Any = load_plain(weights)
        network.load_state_dict(state)
    except (OSError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{weights}: not the weights of {name}: {str(error).splitlines()[0]}") from None
    return DinoV2Pixels(network)
