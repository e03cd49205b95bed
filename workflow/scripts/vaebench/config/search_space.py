"""What a tuning searches: the options of an entry by their dotted names, and the values that each may take.

The Snakefile reads this module, so that nothing heavy is imported here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaebench.base.errors import UserError
from vaebench.base.formats import read_json
from vaebench.base.values import as_dict, from_dict
from vaebench.config.schema import is_number, yaml_number
from vaebench.models.run_spec import RunSpec

Value = bool | int | float | str | None


@dataclass(frozen=True)
class Span:
    """All numbers from `low` to `high`, both included; whole ones where both are.

    log: spread evenly in the logarithm.
    """

    low: int | float
    high: int | float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def extremes(self) -> tuple[Value, ...]:
        """The values at its ends."""
        return (self.low, self.high)


@dataclass(frozen=True)
class Choices:
    """One of these values."""

    values: tuple[Value, ...]

    def extremes(self) -> tuple[Value, ...]:
        """All of them."""
        return self.values


@dataclass(frozen=True)
class TuningSettings:
    """How the options of one run are chosen.

    `trials` settings are tried, each trained for at most `epochs`, and the one with the lowest validation `metric` is
    taken. `search` has by the path of each option (training.learning_rate, config.beta) what `range_of` reads. The
    `sampler` (tpe, random) proposes settings, the `pruner` (median, none) ends trials early; `seed` is that of both the
    proposals and the trials.
    """

    trials: int
    epochs: int
    metric: str
    search: Mapping[str, Any]
    sampler: str
    pruner: str
    seed: int


def range_of(given: object) -> Span | Choices:
    """The values of one option as the configuration writes them: [low, high], [low, high, log] or {choices: [...]}.

    Raises `UserError` that says what is wrong, without the key.

    >>> range_of([1.0e-4, 1.0e-2, "log"])
    Span(low=0.0001, high=0.01, log=True)
    """
    if isinstance(given, Mapping):
        return _choices(given)
    if not isinstance(given, list | tuple) or len(given) not in (2, 3):
        raise UserError(f"{given!r} is no search space; write [low, high], [low, high, log] or {{choices: [...]}}")
    low, high = given[:2]
    for bound in (low, high):
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            hint = f"; write {yaml_number(bound)}" if isinstance(bound, str) and is_number(bound) else ""
            raise UserError(f"the bound {bound!r} is no number{hint}")
    if len(given) == 3 and given[2] != "log":
        raise UserError(f"{given[2]!r} after the bounds is not known; log is the only word there")
    if not low < high:
        raise UserError(f"the lower bound {low} must be below the upper one, {high}")
    if len(given) == 3 and low <= 0:
        raise UserError(f"on a log scale the lower bound must be above 0, not {low}")
    return Span(low, high, len(given) == 3)


def with_values(spec: RunSpec, values: Mapping[str, Any]) -> RunSpec:
    """The run with other options, by their paths."""
    plain = as_dict(spec)
    for path, value in values.items():
        put(plain, path, value)
    return from_dict(RunSpec, plain)


def with_choice(spec: RunSpec, choice: Path | None) -> RunSpec:
    """The run with the options in the file of its tuning's choice, if it was tuned."""
    return spec if choice is None else with_values(spec, read_json("tuning", choice)["values"])


def put(settings: dict[str, Any], path: str, value: object) -> None:
    """Set the option at a dotted `path`, making the sections that lead to it where there are none.

    Raises `UserError` where something that is no section is in the way.
    """
    *sections, last = path.split(".")
    for section in sections:
        if settings.get(section) is None:
            settings[section] = {}
        settings = settings[section]
        if not isinstance(settings, dict):
            raise UserError(f"{section} has no options of its own")
    settings[last] = value


def _choices(given: Mapping[str, Any]) -> Choices:
    values = given.get("choices")
    if set(given) != {"choices"} or not isinstance(values, list | tuple) or len(values) < 2:
        raise UserError(f"{dict(given)!r} is no search space; write {{choices: [first, second, ...]}}, two or more")
    for value in values:
        if not isinstance(value, Value):
            raise UserError(f"{value!r} cannot be a choice, only a number, a word, true, false or null; use a sweep")
    if len({(type(value), value) for value in values}) < len(values):
        raise UserError("a choice is there twice")
    return Choices(tuple(values))
