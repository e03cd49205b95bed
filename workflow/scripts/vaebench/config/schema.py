"""A configuration against its schema: the defaults of its keys, and a message for every violation.

A violation is known by its path: the keys that lead to it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from difflib import get_close_matches
from math import isfinite
from typing import Any

from jsonschema import Draft202012Validator, ValidationError, validators

KeyPath = tuple[str | int, ...]
NUMBERS = {"integer", "number"}
EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")  # of which YAML 1.1 wants more: 1.0e-3
OF_JSON = (str, int, float, type(None), Mapping, list, tuple)


def _is_integer(checker: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# JSON takes 64.0 for an integer; Python does not count with it.
Validator = validators.extend(  # type: ignore[no-untyped-call]  # jsonschema's stubs leave it open
    Draft202012Validator, type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
)


def without_mistakes(config: Mapping[str, Any], schema: dict[str, Any]) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    """A copy of `config` without what violates the schema, and each violation in words by the path of its key.

    What is left is looked at again, since one mistake can hide another; what only follows from a removal is no mistake.
    """
    sound = deepcopy(dict(config))
    mistakes: dict[KeyPath, str] = {}
    validator = Validator(schema)
    while errors := [*_not_of_json(sound)] or [*_violations(sound, validator), *_not_finite(sound), *_texts(sound)]:
        news = {path: text for path, text in errors if not any(one_holds_the_other(path, known) for known in mistakes)}
        mistakes |= news
        removed = [_remove(sound, path) for path, _ in errors]
        if not any(removed):
            break
    return sound, mistakes


def _violations(config: Mapping[str, Any], validator: Draft202012Validator) -> Iterator[tuple[KeyPath, str]]:
    for error in validator.iter_errors(config):
        yield from _explain(_deepest(error))


def _not_of_json(value: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """What YAML can write and JSON cannot, at which others may fail: dates, sets, bytes, keys that are no text."""
    for key, item in _items(value):
        if isinstance(value, Mapping) and not isinstance(key, str):
            yield (*path, key), f"{key!r} is not of type 'string'; put it in quotes"
        elif not isinstance(item, OF_JSON):
            yield (*path, key), f"{item!r} is neither text, a number, a list nor a map; put it in quotes if it is text"
        else:
            yield from _not_of_json(item, (*path, key))


def _not_finite(config: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """The numbers that are infinite or not a number, which YAML can write (.inf, .nan) and nothing here can use."""
    for path, value in _leaves(config):
        if isinstance(value, float) and not isfinite(value):
            yield path, f"{value} is no finite number"


def _texts(config: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Numbers such as 1e-3 among settings of models and trainings, also where the schema leaves open what they are."""
    for path, text in _leaves({section: config.get(section) for section in ("training", "models", "samples")}):
        if path[2:3] not in (("pretrained",), ("tuning",)) and isinstance(text, str) and EXPONENT.fullmatch(text):
            yield path, _why_no_number(text, ["number"]) or ""


def _leaves(value: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, object]]:
    """What is neither a mapping nor a list, by the keys and places that lead to it."""
    if isinstance(value, Mapping | list | tuple):
        for key, item in _items(value):
            yield from _leaves(item, (*path, key))
    else:
        yield path, value


def _items(value: object) -> Iterable[tuple[Any, object]]:
    """The parts of a mapping or list by their keys or places; of other values none."""
    if isinstance(value, Mapping):
        return value.items()
    return enumerate(value) if isinstance(value, list | tuple) else ()


def _deepest(error: ValidationError) -> ValidationError:
    """Of the reasons why no alternative fits, the one deepest in the value: its alternative is the one that was meant.

    Where the value is of another type than every alternative, their types together are the reason.
    """
    while error.validator in ("oneOf", "anyOf") and error.context:
        if all(part.validator == "type" and not part.path for part in error.context):
            return _of_another_type(error)
        branches = [part for part in error.context if part.validator != "type"] or error.context
        error = max(branches, key=lambda part: len(part.absolute_path))
    return error


def _of_another_type(error: ValidationError) -> ValidationError:
    """The alternatives of `error`, none of which has the value's type, as one list of types."""
    types = list(dict.fromkeys(kind for part in error.context or () for kind in _types(part.validator_value)))
    message = f"{error.instance!r} is not of type {', '.join(map(repr, types))}"
    return ValidationError(
        message, "type", error.absolute_path, instance=error.instance, schema=error.schema, validator_value=types
    )


def _explain(error: ValidationError) -> Iterator[tuple[KeyPath, str]]:
    """The keys that violate a rule of the schema, and for each what is wrong and what is allowed."""
    path = tuple(error.absolute_path)
    schema: Mapping[str, Any] = error.schema if isinstance(error.schema, Mapping) else {}
    rule: Any = error.validator_value
    instance: Any = error.instance
    if error.validator == "additionalProperties" and isinstance(schema.get("properties"), dict):
        allowed = list(schema["properties"])
        for key in instance:
            if key not in allowed:
                yield (*path, key), unknown(key, allowed, elsewhere=[] if path else _below(key, schema))
    elif error.validator == "required":
        for key in rule:
            if key not in instance:
                yield (*path, key), "missing"
    elif "propertyNames" in error.schema_path:
        yield (*path, instance), error.message
    elif error.validator == "enum":
        yield path, f"{instance!r} is not allowed; {_meant(instance, [*rule, *_beside_names(error)])}"
    elif error.validator == "type" and (reason := _why_no_number(instance, _types(rule))):
        yield path, reason
    else:
        description = f" ({schema['description']})" if "description" in schema else ""
        yield path, f"{error.message}{description}"


def _why_no_number(value: object, types: list[str]) -> str | None:
    """What to write in place of `value`, when it is meant as a number of `types` but not read as one; else None."""
    if NUMBERS & {*types} and isinstance(value, str) and is_number(value):
        reason = "YAML wants a point before an exponent" if "e" in value.lower() else "it stands in quotes"
        return f"{value!r} is read as text, not as a number: {reason}; write {yaml_number(value)}"
    if "integer" in types and isinstance(value, float) and value.is_integer():
        return f"{value!r} has a decimal point; write {int(value)}"
    return None


def _beside_names(error: ValidationError) -> list[str | None]:
    """What else than one of the names of an `enum` there may be: null, a map."""
    alternatives = error.parent.context if error.parent is not None else ()
    types = [kind for part in alternatives or () if part.validator == "type" for kind in _types(part.validator_value)]
    return [words for kind, words in (("null", None), ("object", "a map")) if kind in types]


def _meant(value: object, allowed: list[object]) -> str:
    """What was perhaps meant, and what can be chosen."""
    meant = _closest(value, [name for name in allowed if isinstance(name, str)]) if isinstance(value, str) else []
    hint = f"did you mean {meant[0]}? " if meant else ""
    return f"{hint}choose from {listing(allowed)}"


def _types(rule: Any) -> list[str]:
    """The types that a rule of the schema names, one or several."""
    return [rule] if isinstance(rule, str) else list(rule)


def _remove(config: dict[str, Any], path: KeyPath) -> bool:
    """Remove the value at `path` from `config`, or the section that needs it; returns whether anything was removed.

    A list goes as a whole, and so does a mapping that lacks the key; a model's entry becomes null, so that others can
    name it.
    """
    if path[:1] == ("models",) and (len(path) == 2 or path[2:3] == ("pretrained",)):
        taken = config["models"].get(path[1]) is not None
        config["models"][path[1]] = None
        return taken
    value: Any = config
    holders: list[tuple[dict[Any, Any], str | int]] = []
    for key in path:
        if not isinstance(value, dict):
            break
        holders.append((value, key))
        value = value.get(key)
    while holders:
        holder, key = holders.pop()
        if key in holder:
            del holder[key]
            return True
    return False


def one_holds_the_other(first: KeyPath, second: KeyPath) -> bool:
    """Whether one of the paths leads to a part of what the other leads to."""
    shorter = min(len(first), len(second))
    return first[:shorter] == second[:shorter]


def dotted(path: KeyPath) -> str:
    """The path as people write it."""
    return ".".join(str(part) for part in path) or "the file"


def fill_defaults(value: dict[str, Any], node: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Set the schema's default for every missing key, following `properties` and references into `$defs`."""
    node = _dereference(node, schema)
    for key, child in node.get("properties", {}).items():
        described = _dereference(child, schema)
        default = child.get("default", described.get("default"))
        if key not in value and ("default" in child or "default" in described):
            value[key] = deepcopy(default)
        if isinstance(value.get(key), dict):
            fill_defaults(value[key], _object_branch(described, schema), schema)


def _dereference(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in node:
        return node
    target: Mapping[str, Any] = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return target


def _object_branch(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object's description, for a key that may be null or one kind of object; else the node itself."""
    branches = [_dereference(branch, schema) for branch in node.get("oneOf", [])]
    objects = [branch for branch in branches if "properties" in branch]
    return objects[0] if len(objects) == 1 else node


def _below(key: str, schema: Mapping[str, Any]) -> list[str]:
    """The sections of the schema that have this key, as `section.key`."""
    sections = ((name, _dereference(node, schema)) for name, node in schema["properties"].items())
    return [f"{name}.{key}" for name, node in sections if key in node.get("properties", {})]


def unknown(
    name: str,
    allowed: Mapping[str, Any] | list[Any] | tuple[Any, ...],
    what: str = "key",
    elsewhere: list[str] | tuple[str, ...] = (),
) -> str:
    """A message that `name` is not `allowed`, with what was perhaps meant: a similar name, or the key `elsewhere`."""
    meant = [*_closest(str(name), [str(other) for other in allowed]), *elsewhere]
    hint = f"did you mean {' or '.join(meant)}? " if meant else ""
    return f"unknown {what} {name!r}; {hint}allowed: {listing(allowed)}"


def _closest(name: str, allowed: Iterable[str]) -> list[str]:
    """The name among the allowed ones that is most like this one, if any is, by upper or lower case or not."""
    names = {other.lower(): other for other in allowed}
    return [names[found] for found in get_close_matches(name.lower(), names, n=1)]


def listing(names: Iterable[object]) -> str:
    """The names as part of a sentence."""
    return ", ".join("null" if name is None else str(name) for name in names)


def is_number(text: str) -> bool:
    """Whether the text is a finite number as Python reads it."""
    try:
        return isfinite(float(text))
    except ValueError:
        return False


def yaml_number(text: str) -> str:
    """A number as YAML 1.1 reads it: 1e-3 becomes 1.0e-3."""
    mantissa, _, exponent = text.lower().partition("e")
    if not exponent:
        return mantissa
    mantissa = mantissa if "." in mantissa else f"{mantissa}.0"
    return f"{mantissa}e{exponent if exponent[0] in '+-' else '+' + exponent}"
