"""The metrics that plugins add: their entries in the registry.

The Snakefile reads this module on every start, so it imports nothing heavy.
"""

from collections.abc import Iterable
from dataclasses import replace

from vaebench.base.errors import UserError
from vaebench.base.plugin_files import Added, added
from vaebench.metrics.metric import Metric
from vaebench.metrics.registry_images import sampled, self_consistency
from vaebench.metrics.registry_sets import in_features
from vaebench.metrics.set_names import FEATURES
from vaebench.models.feature_networks import FEATURE_NETWORKS

PAIRS, SETS, LATENTS = "pairs", "sets", "latents"  # what a metric is of
SUITE = {PAIRS: "reconstruction", SETS: "generation", LATENTS: "latent"}
VECTORS = "models with a vector latent"


def added_entries(found: Iterable[Added]) -> dict[str, Metric]:
    """The entries, by name, of the metrics and of the feature networks that plugins add.

    For a metric of pairs: also of drawn latents and of generated images. For a metric of sets: one with each feature
    network. For a feature network: one with each metric of sets. Raises `UserError` for a metric of an unknown kind.
    """
    entries: list[Metric] = []
    for addition in found:
        if addition.kind == "feature_network":
            entries += in_features(addition.name)
            continue
        entry = _entry(addition)
        if addition.options["of"] == PAIRS:
            entries += [entry, sampled(entry), self_consistency(entry)]
        elif addition.options["of"] == SETS:
            entries += [_in_space(entry, name) for name in (*FEATURES, *_added_networks())]
        else:
            entries.append(entry)
    return {entry.name: entry for entry in entries}


def metrics_of(what: str) -> list[Added]:
    """The metrics that plugins add of `PAIRS`, `SETS` or `LATENTS`."""
    return [addition for addition in added("metric") if addition.options["of"] == what]


def _entry(addition: Added) -> Metric:
    options = dict(addition.options)
    of = options.pop("of")
    if of not in SUITE:
        raise UserError(f"{addition.place}: of: {of!r} is not allowed; choose from {', '.join(SUITE)}")
    latex = options.pop("symbol", "") or rf"\mathrm{{{options['label']}}}"
    entry = Metric(addition.name, symbol=latex, suite=SUITE[of], **{"unit": "", "range": "", **options})
    if of == PAIRS:
        return replace(entry, per_image=True)
    return replace(entry, applies_to=VECTORS) if of == LATENTS else entry


def _in_space(entry: Metric, features: str) -> Metric:
    """The entry of a metric of sets in the features of one network."""
    words, latex = features.replace("_", " "), features.replace("_", r"\ ")
    return replace(
        entry,
        name=f"{entry.name}_{features}",
        label=f"{entry.label} ({words})",
        symbol=rf"{entry.symbol}_\mathrm{{{latex}}}",
        formula=f"{entry.formula}; {features} features",
        features=features,
    )


def _added_networks() -> list[str]:
    return [name for name in FEATURE_NETWORKS if name not in FEATURE_NETWORKS.own]
