"""Encoder and decoder of diffusers' AutoencoderKL (Rombach et al. 2022, arXiv 2112.10752) as networks of a model.

Images go in as diffusers has them, in [-1, 1]. The classes use nothing of this package, so that stock pythae can open a
saved model without it.
"""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.autoencoders.vae import Decoder, Encoder
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch import Tensor, nn

from vaebench.models.catalog import GRID, SECOND, grid_stride
from vaebench.models.networks.diffusers_options import NETWORKS, block_channels


def build_diffusers(role: str, head: str, config: Any, given: Mapping[str, Any]) -> nn.Module:
    """The encoder, which gives what `head` says (`catalog.ModelInfo.head`), or the decoder, with the options given."""
    _, options = NETWORKS.chosen({"diffusers": given})
    shape, latent = config.input_dim, config.latent_dim
    stride = grid_stride(shape[1:], getattr(config, "downsampling", None))
    options["block_out_channels"] = channels = block_channels(options, stride)
    grid = None if head == GRID else tuple(side // 2 ** (len(channels) - 1) for side in shape[1:])
    if role == "encoder":
        return KLEncoder(shape[0], latent, options, grid, SECOND.get(head))
    return KLDecoder(shape[0], latent, options, grid)


def blocks(options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that encoder and decoder of diffusers share."""
    names = ("block_out_channels", "layers_per_block", "norm_num_groups", "mid_block_add_attention")
    return {name: options[name] for name in names}


class KLEncoder(BaseEncoder):
    """Images to `embedding`, and to a second answer where the model wants one.

    Spatial: `grid` is None, and the embedding is (B, latent_dim, h, w); where a model takes mean and log variance from
    it, `latent_dim` counts both. Flat: the numbers of a grid (h, w) of `latent_channels` channels go through a linear
    layer to (B, latent_dim); `second` is None, log_covariance (B, latent_dim) or log_concentration (B, 1).
    """

    def __init__(
        self,
        channels: int,
        latent_dim: int,
        options: Mapping[str, Any],
        grid: tuple[int, int] | None,
        second: str | None,
    ) -> None:
        super().__init__()
        count = latent_dim if grid is None else options["latent_channels"]
        down = ("DownEncoderBlock2D",) * len(options["block_out_channels"])
        self.body = Encoder(channels, count, down, double_z=False, **blocks(options))
        self.quant_conv = nn.Conv2d(count, count, 1) if options["use_quant_conv"] else nn.Identity()
        self.second = second
        self.widths = [latent_dim, {None: 0, "log_covariance": latent_dim, "log_concentration": 1}[second]]
        self.flat = None if grid is None else nn.Linear(count * grid[0] * grid[1], sum(self.widths))

    def forward(self, x: Tensor) -> ModelOutput:
        """Encode images x, (B, C, H, W) in [0, 1]."""
        found = self.quant_conv(self.body(2 * x - 1))
        if self.flat is None:
            return ModelOutput(embedding=found)
        embedding, second = self.flat(found.flatten(1)).split(self.widths, 1)
        output = ModelOutput(embedding=embedding)
        if self.second is not None:
            output[self.second] = second
        return output


class KLDecoder(BaseDecoder):
    """Latents, (B, latent_dim, h, w) or with a `grid` (h, w) flat (B, latent_dim), to `reconstruction` (B, C, H, W).

    The answer a of diffusers' decoder becomes the sigmoid of a, or where `output` is linear (a + 1) / 2.
    """

    def __init__(
        self, channels: int, latent_dim: int, options: Mapping[str, Any], grid: tuple[int, int] | None
    ) -> None:
        super().__init__()
        count = latent_dim if grid is None else options["latent_channels"]
        self.grid = None if grid is None else (count, *grid)
        self.flat = None if grid is None else nn.Linear(latent_dim, count * grid[0] * grid[1])
        self.post_quant_conv = nn.Conv2d(count, count, 1) if options["use_quant_conv"] else nn.Identity()
        up = ("UpDecoderBlock2D",) * len(options["block_out_channels"])
        self.body = Decoder(count, channels, up, **blocks(options))
        self.output = options["output"]

    def forward(self, z: Tensor) -> ModelOutput:
        """Decode latents z."""
        if self.flat is not None and self.grid is not None:
            z = self.flat(z).reshape(len(z), *self.grid)
        answer = self.body(self.post_quant_conv(z))
        return ModelOutput(reconstruction=torch.sigmoid(answer) if self.output == "sigmoid" else (answer + 1) / 2)


BUILD = build_diffusers
