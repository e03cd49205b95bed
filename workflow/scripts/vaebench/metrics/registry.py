"""Every metric that a table, a figure or a page may show: its one meaning, unit, direction and where it applies.

The Snakefile's neighbours, the tables and the figures read it, so it imports nothing heavy.
"""

from dataclasses import replace

from vaebench.metrics.metric import SUITES, Metric
from vaebench.metrics.registry_images import fidelity, legacy, objectives, sampled, self_consistency
from vaebench.metrics.registry_latent import latent, likelihood
from vaebench.metrics.registry_sets import generation

__all__ = ["METRICS", "SUITES", "Metric", "describe"]


def describe(name: str) -> Metric:
    """The entry for `name`; a name such as `probe_auc/Smiling` is its base entry with the qualifier in the label.

    Raises KeyError for a name that is not registered.
    """
    if name in METRICS:
        return METRICS[name]
    base, _, qualifier = name.partition("/")
    entry = METRICS[base]
    return replace(entry, name=name, label=f"{entry.label} ({qualifier})", headline=False)


METRICS: dict[str, Metric] = {
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
}
