"""Names in the configuration's schema that are known only when the plugins are: those of the registries."""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

from vaebench.config.published_names import PUBLISHED
from vaebench.data.demo.generators import GENERATORS
from vaebench.models.feature_networks import FEATURE_NETWORKS
from vaebench.models.sampler_names import SAMPLERS

REGISTRIES: dict[str, Mapping[str, Any]] = {
    "feature_network": FEATURE_NETWORKS,
    "generator": GENERATORS,
    "published": PUBLISHED,
    "sampler": SAMPLERS,
}


def with_registered_names(schema: dict[str, Any]) -> dict[str, Any]:
    """A copy of the schema in which each `registered: KIND` has the names of that kind that can be used now as `enum`.

    The section `weights` gets a key for each feature network of a plugin that needs a file of weights.
    """
    schema = deepcopy(schema)
    for node in list(_nodes(schema)):
        if isinstance(kind := node.get("registered"), str):
            node["enum"] = [name for name in node.get("enum", ()) if name is None] + list(REGISTRIES[kind])
    for network in FEATURE_NETWORKS.values():
        if network.added and network.needs_weights:
            described = {"$ref": "#/$defs/weights", "default": network.added.options["weights"]}
            schema["properties"]["weights"]["properties"][network.name] = described
    return schema


def _nodes(value: object) -> Iterator[dict[str, Any]]:
    """Every mapping in a schema."""
    children: Iterable[object] = ()
    if isinstance(value, dict):
        yield value
        children = value.values()
    elif isinstance(value, list):
        children = value
    for child in children:
        yield from _nodes(child)
