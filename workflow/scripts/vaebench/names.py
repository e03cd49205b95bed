"""Many short names in little memory: NumPy arrays of UTF-8 bytes, about a tenth of a list of strings."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

CHUNK = 4096


def pack(names: Iterable[str]) -> np.ndarray:
    """An array of bytes (n,) with one UTF-8 name per entry, as wide as the longest."""
    names = iter(names)
    chunks = [np.empty(0, "S1")]
    while chunk := [name.encode() for name in islice(names, CHUNK)]:
        chunks.append(np.array(chunk))
    return np.concatenate(chunks)


def unpack(names: np.ndarray) -> Iterator[str]:
    """The names of a packed array, one by one."""
    return (name.decode() for name in names)


def find(names: np.ndarray, among: np.ndarray) -> np.ndarray:
    """For each of `names`, the position of its first occurrence in `among`, or -1; int64 (n,)."""
    if not len(among):
        return np.full(len(names), -1)
    order = np.argsort(among, kind="stable")
    place = np.searchsorted(among, names, sorter=order)
    found = order[np.minimum(place, len(among) - 1)]
    return np.where(among[found] == names, found, -1)


def repeated(names: np.ndarray) -> np.ndarray:
    """True for each name that occurs more than once; bool (n,)."""
    order = np.argsort(names, kind="stable")
    equal = names[order][1:] == names[order][:-1]
    marks = np.zeros(len(names), bool)
    marks[order[1:][equal]] = True
    marks[order[:-1][equal]] = True
    return marks
