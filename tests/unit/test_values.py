"""Settings as values: what the checked YAML holds becomes a dataclass, and JSON again."""

import json
from dataclasses import dataclass

import pytest

from vaebench.base.errors import UserError
from vaebench.base.values import as_dict, from_dict


@dataclass(frozen=True)
class Inner:
    colour: tuple[int, int, int]
    name: str


@dataclass(frozen=True)
class Outer:
    inner: Inner
    size: tuple[int, int] | None
    names: list[str]
    again: Inner | None = None


GIVEN = {"inner": {"colour": [1, 2, 3], "name": "a"}, "size": [4, 5], "names": ["x"], "again": None}


def test_values_go_to_json_and_back():
    value = from_dict(Outer, GIVEN)
    assert value == Outer(Inner((1, 2, 3), "a"), (4, 5), ["x"])
    assert as_dict(value) == GIVEN
    assert from_dict(Outer, json.loads(json.dumps(as_dict(value)))) == value


def test_a_nested_value_takes_its_keys_from_the_same_mapping():
    flat = {"colour": [1, 2, 3], "name": "a", "size": None, "names": [], "again": {"colour": [0, 0, 0], "name": "b"}}
    assert from_dict(Outer, flat) == Outer(Inner((1, 2, 3), "a"), None, [], Inner((0, 0, 0), "b"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (GIVEN | {"sise": 1}, "unknown key sise; Outer has inner, size, names, again"),
        ({key: GIVEN[key] for key in ("inner", "again")}, "missing keys size, names of Outer"),
        (GIVEN | {"inner": {"colour": [1, 2, 3]}}, "inner: missing key name of Inner"),
        (GIVEN | {"inner": {"colour": [1, 2, 3], "name": "a", "nam": 1}}, "inner: unknown key nam; Inner has"),
    ],
)
def test_unknown_and_missing_keys_are_named(given, message):
    with pytest.raises(UserError, match=f"^{message}"):
        from_dict(Outer, given)
