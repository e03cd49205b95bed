"""What may be said of the networks of diffusers' AutoencoderKL, without importing diffusers or torch.

The names and their meaning are those of diffusers; `output` is ours.
"""

from collections.abc import Mapping
from math import log2
from typing import Any

from vaebench.models.fields import COUNT
from vaebench.models.options import Alternatives, Option, switch, whole, word

WIDTHS = (32, 64, 128)  # channels of the finest grid and after each halving; the last one repeats


def _why_no_channels(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not value:
        return f"{value!r} must be a list of whole numbers, one more than there are halvings of the image, or null"
    wrong = [each for each in value if isinstance(each, bool) or not isinstance(each, int) or each < 1]
    return f"{wrong[0]!r} must be a whole number that is {COUNT}" if wrong else None


def _why_not_together(name: str, options: Mapping[str, Any]) -> str | None:
    groups = options["norm_num_groups"]
    wrong = [each for each in options["block_out_channels"] or WIDTHS if each % groups]
    return f"{wrong[0]} channels do not divide into norm_num_groups: {groups}" if wrong else None


# docs/adding-a-network.md says what each option does.
NETWORKS = Alternatives(
    kind="family of networks with options",
    example="{diffusers: {layers_per_block: 2}}",
    options={
        "diffusers": {
            "block_out_channels": Option(None, _why_no_channels),
            "layers_per_block": whole(1, COUNT),
            "norm_num_groups": whole(32, COUNT),
            "mid_block_add_attention": switch(True),
            "use_quant_conv": switch(True),
            "latent_channels": whole(4, COUNT),
            "output": word("sigmoid", "linear"),
        }
    },
    together=_why_not_together,
)


def block_channels(options: Mapping[str, Any], stride: int) -> tuple[int, ...]:
    """The channels of each block, from fine to coarse; without a choice as many as make a grid of `stride` pixels."""
    if options.get("block_out_channels"):
        return tuple(options["block_out_channels"])
    return tuple(WIDTHS[min(step, len(WIDTHS) - 1)] for step in range(int(log2(stride)) + 1))


def why_no_grid(size: tuple[int, int], options: Mapping[str, Any], stride: int, spatial: bool) -> str | None:
    """Why there are no such networks for images of `size` (height, width) with sound options; None where there are.

    stride: pixels of the image per vector of the model's grid, which must be that of the networks where the latents are
    `spatial`.
    """
    channels = block_channels(options, stride)
    made = 2 ** (len(channels) - 1)
    if odd := [side for side in size if side % made]:
        return (
            f"{odd[0]} pixels do not divide by {made}: {len(channels)} block_out_channels halve the image "
            f"{len(channels) - 1} times; give fewer, or another preprocessing.size"
        )
    if spatial and made != stride:
        return (
            f"{len(channels)} block_out_channels make one vector of {made}x{made} pixels, and the model takes one of "
            f"{stride}x{stride}: give {int(log2(stride)) + 1}, or config.downsampling: {made} where the model has it"
        )
    return None
