"""Settings as values: frozen dataclasses made from mappings that were read from YAML or JSON, and mappings of them."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from vaebench.base.errors import UserError

Value = TypeVar("Value")


def from_dict(kind: type[Value], given: Mapping[str, Any], where: str = "") -> Value:
    """The dataclass `kind` with the values of `given`, which has a key for each field, save for those with a default.

    A field that is a dataclass itself is made from the mapping under its name, or else from keys of `given`; a list
    becomes a tuple where the field is one. Raises UserError with the keys that are missing or that no field has;
    `where` is the path of `given` in the configuration, for the message.
    """
    used: set[str] = set()
    value = _made(kind, given, used, where)
    if unknown := [key for key in given if key not in used]:
        known = ", ".join(field.name for field in _given_fields(kind))
        raise UserError(f"{_place(where)}unknown {_keys(unknown)}; {kind.__name__} has {known}")
    return value


def as_dict(value: object) -> dict[str, Any]:
    """The fields of a dataclass as JSON has them: nested ones as dicts, tuples as lists."""
    plain = _plain(asdict(value))  # type: ignore[call-overload]  # any dataclass, which no type says
    return dict(plain)


def _made(kind: type[Value], given: Mapping[str, Any], used: set[str], where: str) -> Value:
    """The value; the keys of `given` that it takes are added to `used`."""
    hints, values, missing = get_type_hints(kind), {}, []
    for field in _given_fields(kind):
        name, inner = field.name, _dataclass_in(hints[field.name])
        if name in given:
            used.add(name)
            content = given[name]
            if inner is not None and isinstance(content, Mapping):
                content = from_dict(inner, content, f"{where}.{name}".lstrip("."))
            values[name] = tuple(content) if _is_tuple(hints[name]) and isinstance(content, list) else content
        elif field.default is not MISSING or field.default_factory is not MISSING:
            continue
        elif inner is not None:
            values[name] = _made(inner, given, used, where)
        else:
            missing.append(name)
    if missing:
        raise UserError(f"{_place(where)}missing {_keys(missing)} of {kind.__name__}")
    return kind(**values)


def _given_fields(kind: Any) -> list[Field[Any]]:
    return [field for field in fields(kind) if field.init]


def _alternatives(hint: object) -> Sequence[Any]:
    """The types of a union, or the type itself."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _dataclass_in(hint: object) -> type | None:
    return next((part for part in _alternatives(hint) if isinstance(part, type) and is_dataclass(part)), None)


def _is_tuple(hint: object) -> bool:
    return any(get_origin(part) is tuple for part in _alternatives(hint))


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _keys(names: list[str]) -> str:
    return f"key{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _place(where: str) -> str:
    return f"{where}: " if where else ""
