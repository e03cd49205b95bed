"""A field of a model's configuration that names one of several things, with the options of the named one.

`quantizer: {vq: {codebook_size: 512}}` is such a field: `Alternatives` knows each name's options, their defaults, and
what they may be. The Snakefile reads this module, so that nothing heavy is imported here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vaebench.models.fields import Range

Check = Callable[[object], str | None]


@dataclass(frozen=True)
class Option:
    """One option: its default, and a function that says why a value is not allowed, or None."""

    default: object
    why_not: Check


def number(default: float | str, allowed: Range, words: tuple[str, ...] = ()) -> Option:
    """A number in a range, or one of a few words in its place."""
    return Option(default, lambda value: why_no_number(value, allowed, words))


def whole(default: int, allowed: Range) -> Option:
    """A whole number in a range."""

    def why_not(value: object) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool) and value in allowed:
            return None
        return f"{value!r} must be a whole number that is {allowed}"

    return Option(default, why_not)


def word(default: str, *others: str) -> Option:
    """One of a few words."""
    known = (default, *others)
    return Option(default, lambda value: None if value in known else f"{value!r} must be {' or '.join(known)}")


def switch(default: bool) -> Option:
    """true or false."""
    return Option(default, lambda value: None if isinstance(value, bool) else f"{value!r} must be true or false")


def why_no_number(value: object, allowed: Range, words: tuple[str, ...] = ()) -> str | None:
    """Why `value` is neither a finite number in a range nor one of the words; None where it is."""
    if value in words:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and value in allowed and value < float("inf"):
        return None
    named = f"{' or '.join(words)}, or " if words else ""
    return f"{value!r} must be {named}a number that is {allowed}"


@dataclass(frozen=True)
class Alternatives:
    """What a field may name: a map of one name to its options.

    kind: what the names are names of, for messages. example: a value of the field. options: by name. together: a
    function that says why the options of a name, each of them sound, do not go together, or None.
    """

    kind: str
    example: str
    options: Mapping[str, Mapping[str, Option]]
    together: Callable[[str, Mapping[str, Any]], str | None] = lambda name, options: None

    def chosen(self, value: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The name and its options, defaults among them, of a sound value."""
        ((name, given),) = value.items()
        return name, {key: option.default for key, option in self.options[name].items()} | dict(given or {})

    def why_not(self, value: object) -> str | None:
        """Why `value` cannot be the field's; None where it can."""
        if not isinstance(value, Mapping) or len(value) != 1:
            return f"it must name one {self.kind}, with its options: {self.example}, not {value!r}"
        ((name, given),) = value.items()
        if name not in self.options:
            return f"there is no {self.kind} {name!r}; choose from {', '.join(self.options)}"
        if not isinstance(given, Mapping | None):
            return f"{name}: {given!r} is no map of options"
        for key, each in (given or {}).items():
            if key not in self.options[name]:
                return f"{name} has no option {key!r}; it has {', '.join(self.options[name]) or 'none'}"
            if reason := self.options[name][key].why_not(each):
                return f"{name}.{key}: {reason}"
        reason = self.together(name, self.chosen(value)[1])
        return f"{name}: {reason}" if reason else None
