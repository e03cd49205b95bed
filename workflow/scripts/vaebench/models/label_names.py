"""The field `conditional` of a model: the labels that it is given beside the images.

A configuration names them, `class` or a list. A training reads their values off its images' labels, and a trained model
has a map of each name to its values. The Snakefile reads this module, so that nothing heavy is imported here.
"""

from collections.abc import Mapping
from typing import Any

CLASS = "class"  # which of the columns of the labels is 1
FIELD = "conditional"
UNREAD = ("0", "1")  # the values of a label that were not read yet: enough to build a model on trial


def why_no_labels(value: object) -> str | None:
    """Why `value` cannot be the field; None where it can."""
    if value is None or (isinstance(value, str) and value):
        return None
    if isinstance(value, Mapping):
        return None if value and all(value.values()) else f"{value!r} names a label without values"
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) and name for name in value):
        return f"{value!r} must be the name of a label, a list of such names, {CLASS}, or null"
    repeated = [name for name in value if value.count(name) > 1]
    return f"{repeated[0]} is named twice" if repeated else None


def label_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels that a sound configuration of a model names, in alphabetical order; none for most."""
    value = config.get(FIELD)
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(sorted(value))


def label_values(config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The values of each label, in the order in which the model has them, which a saved map need not keep."""
    value = config.get(FIELD)
    return {name: tuple(value[name]) if isinstance(value, Mapping) else UNREAD for name in label_names(config)}
