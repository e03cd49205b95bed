"""Many short names in little memory: NumPy arrays of UTF-8 bytes, about a tenth of a list of strings."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

CHUNK = 4096  # names handled at once


def pack(names: Iterable[str]) -> np.ndarray:
    """An array of bytes (n,) with one UTF-8 name per entry, as wide as the longest."""
    names = iter(names)
    packed = np.empty(0, "S1")
    while chunk := [name.encode() for name in islice(names, CHUNK)]:
        block, filled = np.array(chunk), len(packed)
        if block.itemsize > packed.itemsize:
            packed = packed.astype(block.dtype)
        packed.resize(filled + len(block), refcheck=False)  # grown in place: no second copy
        packed[filled:] = block
    return packed


def unpack(names: np.ndarray) -> Iterator[str]:
    """The names of a packed array, one by one."""
    return (name.decode() for name in names)


def without_prefix(names: np.ndarray, prefix: str) -> np.ndarray:
    """The names less the prefix that all of them have."""
    start = len(prefix.encode())
    letters = names.view(np.uint8).reshape(len(names), -1)
    return np.ascontiguousarray(letters[:, start:]).view(f"S{names.itemsize - start}")[:, 0]


def find(names: np.ndarray, among: np.ndarray) -> np.ndarray:
    """For each of `names`, the position of its first occurrence in `among`, or -1; int32 (n,)."""
    positions = np.full(len(names), -1, np.int32)
    if not len(among):
        return positions
    order = None if _increasing(among) else np.argsort(among, kind="stable")
    for start in range(0, len(names), CHUNK):
        part = names[start : start + CHUNK]
        place = np.minimum(np.searchsorted(among, part, sorter=order), len(among) - 1)
        found = place if order is None else order[place]
        positions[start : start + CHUNK] = np.where(among[found] == part, found, -1)
    return positions


def repeated(names: np.ndarray) -> np.ndarray:
    """True for each name that occurs more than once; bool (n,)."""
    marks = np.zeros(len(names), bool)
    if _increasing(names):
        return marks
    order = np.argsort(names, kind="stable")
    equal = names[order][1:] == names[order][:-1]
    marks[order[1:][equal]] = True
    marks[order[:-1][equal]] = True
    return marks


def _increasing(names: np.ndarray) -> bool:
    """Whether the names are sorted and different, as those of CelebA are: then there is nothing to sort."""
    return bool((names[1:] > names[:-1]).all())
