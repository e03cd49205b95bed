"""All metrics between images and their reconstructions, in one call per batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from vaebench.base.errors import UserError
from vaebench.base.plugin_files import PluginError
from vaebench.metrics import reconstruction
from vaebench.metrics.added_values import pair_functions
from vaebench.metrics.perceptual import Perceptual, pooled
from vaebench.metrics.registry_images import fidelity
from vaebench.models.posterior import along, finite_rows
from vaebench.models.terms.lpips import LAYOUTS, too_small

# Images that pass through a trunk together: enough to fill the device, few enough for its memory.
CHUNK = {"cpu": 64, "cuda": 256}


@dataclass
class Compared:
    """What `PairMetrics` gives for B pairs: (B,) float64 values by metric, and (B, D) float64 features by trunk."""

    values: dict[str, Tensor]
    features_x: dict[str, Tensor] = field(default_factory=dict)
    features_y: dict[str, Tensor] = field(default_factory=dict)


class PairMetrics:
    """Every registered metric of a pair of images, LPIPS with the given trunks, and the trunks' pooled features.

    shape: (C, H, W) of the images; lpips: of "alex", "vgg"; features: of "alexnet", "vgg16"; weights: trunk -> file.
    `skipped` is, by metric, why it cannot be computed at this size, and `notes` what qualifies a value.
    """

    def __init__(
        self,
        shape: Sequence[int],
        lpips: Sequence[str],
        features: Sequence[str],
        weights: Mapping[str, Path],
        device: torch.device | str = "cpu",
    ) -> None:
        self.skipped: dict[str, str] = {}
        self.device = device
        own = {m.name: getattr(reconstruction, m.function) for m in fidelity() if m.function}
        self.functions: dict[str, Callable[[Tensor, Tensor], Tensor]] = own | pair_functions()
        for name in list(self.functions):
            self._drop_if_it_cannot_take(name, shape)
        self.notes = {"ms_ssim": reconstruction.scales_note(shape[-2:])} if "ms_ssim" in self.functions else {}
        self.lpips, self.trunks, self.features = [], {}, []
        for net, layout in LAYOUTS.items():
            if net not in lpips and layout.weights not in features:
                continue
            if min(shape[-2:]) < layout.smallest:
                self.skipped[f"lpips_{net}"] = self.skipped[layout.weights] = too_small(layout)
                continue
            self.trunks[net] = Perceptual(net, Path(weights[layout.weights])).to(device)
            self.lpips += [net] * (net in lpips)
            self.features += [layout.weights] * (layout.weights in features)
        self.chunk = CHUNK[torch.device(device).type]

    def add(self, name: str, function: Callable[[Tensor, Tensor], Tensor], shape: Sequence[int]) -> None:
        """One more registered metric, which gives (B,) float64 for pairs of images; `shape` (C, H, W) is theirs."""
        self.functions[name] = function
        self._drop_if_it_cannot_take(name, shape)

    def __call__(self, x: Tensor, y: Tensor, features_y: bool = False) -> Compared:
        """Compare x with y, both float32 (B, C, H, W) in [0, 1]; a pair with a value that is not finite gives NaN.

        features_y: whether the trunks' features of y are wanted, which cost a pass that LPIPS may not need.
        """
        finite_x, finite_y = finite_rows(x), finite_rows(y)
        x, y = (torch.where(finite.view(-1, 1, 1, 1), images, 0.0) for finite, images in ((finite_x, x), (finite_y, y)))
        compared = Compared({name: function(x, y) for name, function in self.functions.items()})
        for net in self.trunks:
            self._through_trunk(net, x, y, compared, features_y)
        both = finite_x & finite_y
        for finite, group in (
            (both, compared.values), (finite_x, compared.features_x), (finite_y, compared.features_y)
        ):  # fmt: skip
            for name, values in group.items():
                # which does not wait for the device, as an index would
                group[name] = values.where(along(finite, values), torch.nan)
        return compared

    def features_of(self, x: Tensor) -> dict[str, Tensor]:
        """The trunks' features alone of images (B, C, H, W): (B, D) float64 by trunk."""
        trunks = {trunk.layout.weights: trunk for trunk in self.trunks.values()}
        return {
            name: torch.cat([pooled(trunks[name].features(part)) for part in torch.split(x, self.chunk)])
            for name in self.features
        }

    def _through_trunk(self, net: str, x: Tensor, y: Tensor, compared: Compared, features_y: bool) -> None:
        trunk = self.trunks[net]
        name = trunk.layout.weights
        wanted_y = features_y and name in self.features
        distances, pooled_x, pooled_y = [], [], []
        for a, b in zip(torch.split(x, self.chunk), torch.split(y, self.chunk), strict=True):
            activations = trunk.features(a)
            pooled_x.append(pooled(activations))
            if net not in self.lpips and not wanted_y:
                continue
            others = trunk.features(b)
            pooled_y.append(pooled(others))
            if net in self.lpips:
                distances.append(trunk.distance(activations, others))
        if distances:
            compared.values[f"lpips_{net}"] = torch.cat(distances)
        if name in self.features:
            compared.features_x[name] = torch.cat(pooled_x)
        if wanted_y:
            compared.features_y[name] = torch.cat(pooled_y)

    def _drop_if_it_cannot_take(self, name: str, shape: Sequence[int]) -> None:
        probe = torch.zeros(1, *shape, device=self.device)
        try:
            self.functions[name](probe, probe)
        except PluginError:
            raise
        except UserError as error:
            self.skipped[name] = str(error)
            del self.functions[name]
