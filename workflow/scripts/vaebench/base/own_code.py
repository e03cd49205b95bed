"""Code that is not this package's: modules that a configuration names, and whether an exception came out of one.

These are the plugins, and the modules of the models and networks that are named by their dotted path.
"""

import traceback
from dataclasses import dataclass
from pathlib import Path

_MODULES: set[str] = set()


@dataclass(frozen=True)
class Place:
    """A line of a file, and the function or method that it is in."""

    file: Path
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


def remember(module: str) -> None:
    """From now on exceptions that come out of the module of this name count as the user's own."""
    _MODULES.add(module)


def place_of(error: BaseException) -> Place | None:
    """Where in a user's own code an exception came out, the innermost of several lines; None where it did not."""
    frames = [
        (frame.f_code, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__") in _MODULES
    ]
    if not frames:
        return None
    code, line = frames[-1]
    file, here = Path(code.co_filename), Path.cwd()
    return Place(file.relative_to(here) if file.is_relative_to(here) else file, line, code.co_qualname)


def told(error: BaseException) -> str:
    """An exception in words, with the line where it comes out of a user's own code."""
    place, words = place_of(error), f"{type(error).__name__}: {error}"
    return words if place is None else f"{place}: {place.function} failed: {words}"
