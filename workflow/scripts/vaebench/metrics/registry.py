"""Every metric that a table, a figure or a page may show: its one meaning, unit, direction and where it applies.

The Snakefile's neighbours, the tables and the figures read it, so it imports nothing heavy.
"""

from collections.abc import Iterable
from dataclasses import replace

from vaebench.base.plugin_files import Registry
from vaebench.metrics.added import added_entries
from vaebench.metrics.metric import SUITES, Metric
from vaebench.metrics.registry_images import fidelity, legacy, objectives, sampled, self_consistency
from vaebench.metrics.registry_latent import latent, likelihood
from vaebench.metrics.registry_sets import generation
from vaebench.metrics.set_names import CUSTOM

__all__ = ["METRICS", "REGISTRY", "SUITES", "Metric", "describe", "measured"]


# An evaluation depends on what they say through `measured` alone: a new label or direction measures nothing again.
REGISTRY = frozenset(
    f"vaebench.metrics.{name}" for name in ("registry", "registry_images", "registry_latent", "registry_sets", "added")
)


def describe(name: str) -> Metric:
    """The entry for `name`; a name such as `probe_auc/Smiling` is its base entry with the qualifier in the label.

    Raises KeyError for a name that is not registered.
    """
    if name in METRICS:
        return METRICS[name]
    base, _, qualifier = name.partition("/")
    entry = METRICS[base]
    return replace(entry, name=name, label=f"{entry.label} ({qualifier})", headline=False)


def measured(features: Iterable[str]) -> dict[str, tuple[object, ...]]:
    """The parts of each entry that decide how it is measured and noted, not only how it is shown.

    Units, directions, labels, symbols, ranges and formulas are not among it: an evaluation reads none of them. Left out
    are the entries in the features of other networks than `features`, those that the study names.
    """
    spaces = {"", CUSTOM, *features}
    return {
        name: (entry.suite, entry.applies_to, entry.per_image, entry.function, entry.features)
        for name, entry in METRICS.items()
        if entry.features in spaces
    }


METRICS: Registry[Metric] = Registry(
    {
        entry.name: entry
        for entry in (
            *fidelity(),
            *objectives(),
            *map(sampled, fidelity()),
            *latent(),
            *generation(),
            *map(self_consistency, fidelity()),
            *likelihood(),
            *legacy(),
        )
    },
    ["metric", "feature_network"],
    added_entries,
)
