"""The values of the metrics that plugins add."""

from collections.abc import Callable
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from vaebench.base.plugin_files import Added, PluginError, blamed
from vaebench.metrics.added import LATENTS, PAIRS, SETS, metrics_of
from vaebench.metrics.metric import Value


def pair_functions() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Functions by metric, from B pairs of images, float32 (B, C, H, W) in [0, 1] twice, to (B,) float64."""
    return {addition.name: _per_image(addition) for addition in metrics_of(PAIRS)}


def set_values(features: str, generated: np.ndarray, real: np.ndarray, note: str) -> dict[str, Value]:
    """Each metric of sets in the features of one network: float64 (n, D) and (m, D), all finite."""
    return {
        f"{addition.name}_{features}": Value(_number(addition, generated, real), len(generated), note=note)
        for addition in metrics_of(SETS)
    }


def latent_values(means: np.ndarray | None) -> dict[str, Value]:
    """Each metric of latents, from the latent means (n, L) of the first held-out images, float64; none for codes."""
    if means is None:
        return {}
    note = f"of the latent means of {len(means)} images"
    if bad := int((~np.isfinite(means)).any(1).sum()):
        missing = Value(np.nan, len(means), note=f"the latent means of {bad} images are not finite")
        return {addition.name: missing for addition in metrics_of(LATENTS)}
    return {addition.name: Value(_number(addition, means), len(means), note=note) for addition in metrics_of(LATENTS)}


def _per_image(addition: Added) -> Callable[[Tensor, Tensor], Tensor]:
    function = addition.load()

    def values(x: Tensor, y: Tensor) -> Tensor:
        with blamed(addition), torch.no_grad():
            found = function(x, y)
        if not isinstance(found, Tensor) or found.shape != (len(x),):
            raise PluginError(f"{addition.place}: {addition.name} must give a tensor (B,), one number for each image")
        return found.to(torch.float64, copy=True)

    return values


def _number(addition: Added, *arrays: np.ndarray) -> float:
    function = addition.load()
    with blamed(addition):
        found = function(*arrays)
    if isinstance(found, Tensor):
        found = found.detach().cpu().numpy()
    if not isinstance(found, Real | np.ndarray) or np.asarray(found).size != 1:
        raise PluginError(f"{addition.place}: {addition.name} must give one number")
    return float(found)
