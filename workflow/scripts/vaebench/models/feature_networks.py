"""The fixed networks in whose features sets of images are compared: their names, and which of them need weights.

The Snakefile reads this module on every start, so it imports nothing heavy.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from vaebench.base.evaluation_settings import EvaluationSettings
from vaebench.base.plugin_files import Added, Registry


@dataclass(frozen=True)
class FeatureNetwork:
    """One network: `backbone` is what LPIPS calls it, empty where LPIPS does not use it; `added`: by a plugin.

    `shares`: the network whose file of weights it takes, empty where it has its own.
    """

    name: str
    backbone: str = ""
    needs_weights: bool = True
    added: Added | None = None
    shares: str = ""

    @property
    def weights(self) -> str:
        """The key under `weights` of its file."""
        return self.shares or self.name


def _added_networks(found: Iterable[Added]) -> dict[str, FeatureNetwork]:
    return {
        entry.name: FeatureNetwork(entry.name, needs_weights=entry.options["weights"] is not None, added=entry)
        for entry in found
    }


FEATURE_NETWORKS: Registry[FeatureNetwork] = Registry(
    {
        "alexnet": FeatureNetwork("alexnet", "alex"),
        "vgg16": FeatureNetwork("vgg16", "vgg"),
        "inception": FeatureNetwork("inception"),
        "clean_inception": FeatureNetwork("clean_inception", shares="inception"),
        **{name: FeatureNetwork(name) for name in ("clip", "dinov2_s", "dinov2_b", "dinov2_l")},
    },
    ["feature_network"],
    _added_networks,
)


def wanted_features(evaluation: EvaluationSettings) -> list[str]:
    """The feature networks that an evaluation names and one of its suites needs."""
    return list(evaluation.distribution.features) if "generation" in evaluation.suites else []


def weights_needed(evaluation: EvaluationSettings) -> list[str]:
    """The networks that an evaluation needs a file of weights for, sorted."""
    needed = {network.name for network in FEATURE_NETWORKS.values() if network.backbone in evaluation.lpips}
    needed |= {
        FEATURE_NETWORKS[name].weights for name in wanted_features(evaluation) if FEATURE_NETWORKS[name].needs_weights
    }
    if evaluation.dists:
        needed |= {"dists", "vgg16"}
    if evaluation.protocol == "legacy":
        needed.add("vgg16")
    return sorted(needed)
