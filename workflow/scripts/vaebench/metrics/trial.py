"""What plugins measure with, tried on noise before the first job: nothing is trained that could not be measured."""

from collections.abc import Iterable, Sequence

import torch

from vaebench.base.errors import UserError
from vaebench.base.plugin_files import PluginError
from vaebench.metrics.added_values import pair_functions
from vaebench.metrics.features.extractors import AddedFeatures
from vaebench.models.feature_networks import FEATURE_NETWORKS

IMAGES = 2


def mistakes_in_measuring(features: Iterable[str], shape: Sequence[int] | None) -> list[str]:
    """A line for each metric of pairs, and for each of `features` without weights, whose plugin fails.

    shape: (C, H, W) of the images; nothing is tried where it is not known. A metric that refuses images of this size by
    `UserError` is no mistake.
    """
    if shape is None:
        return []
    images = torch.rand(IMAGES, *shape, generator=torch.Generator().manual_seed(0))
    mistakes = []
    for function in pair_functions().values():
        try:
            function(images, images.flip(0))
        except PluginError as mistake:
            mistakes.append(str(mistake))
        except UserError:
            continue
    for name in features:
        entry = FEATURE_NETWORKS[name].added
        if entry and entry.options["weights"] is None and entry.options["smallest"] <= min(shape[-2:]):
            try:
                AddedFeatures(entry, None)(images)
            except UserError as mistake:
                mistakes.append(str(mistake))
    return mistakes
