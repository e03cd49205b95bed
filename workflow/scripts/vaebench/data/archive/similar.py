"""Which image a name was probably meant for: the names that two sides give an image differ in a few known ways."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from itertools import islice

MOST = 1000  # names that are looked up at once


def similar(names: Iterable[str], among: Iterable[str]) -> dict[str, str]:
    """{name: the first of `among` that differs least from it}, for those of the first 1,000 names that have one.

    From the smallest difference to the largest: upper and lower case, the kind of the file (.png for .jpg), zeros
    before a number, the folder, and letters that an encoding spoiled.
    """
    wanted = list(islice(names, MOST))
    if not wanted:
        return {}
    keys = [{looser(name) for name in wanted} - {""} for looser in _LOOSER]
    first: list[dict[str, str]] = [{} for _ in _LOOSER]
    for name in among:
        for looser, known, found in zip(_LOOSER, keys, first, strict=True):
            if (key := looser(name)) in known:
                found.setdefault(key, name)
    hints = {}
    for name in wanted:
        matches = (found.get(looser(name)) for looser, found in zip(_LOOSER, first, strict=True))
        if (match := next(filter(None, matches), None)) is not None:
            hints[name] = match
    return hints


def _case(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _kind(name: str) -> str:
    return re.sub(r"\.[^./]*$", "", _case(name))


def _zeros(name: str) -> str:
    return re.sub(r"(?<!\d)0+(?=\d)", "", _kind(name))


def _folder(name: str) -> str:
    return _zeros(name).rpartition("/")[2]


def _letters(name: str) -> str:
    """The ASCII letters and digits of a file's name that had others: of `größe`, `gr÷·e` and `gr%F6%DFe` alike."""
    if name.isascii() and "%" not in name:
        return ""
    ascii_only = re.sub("%[0-9A-F]{2}", "", name.rpartition("/")[2]).encode("ascii", "ignore").decode()
    return re.sub("[^a-z0-9]", "", _kind(ascii_only))


_LOOSER: tuple[Callable[[str], str], ...] = (_case, _kind, _zeros, _folder, _letters)
