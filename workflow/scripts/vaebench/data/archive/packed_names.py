"""Names of images: one way to write each, and many of them in little memory.

A packed array of UTF-8 bytes takes about a tenth of a list of strings.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

CHUNK = 4096  # names handled at once
LONGEST = 4096  # bytes of a path that a file can have; all packed names take as much memory as the longest


def canonical_name(name: str) -> str:
    """The one way in which a name is written here, however a partition, a folder or an archive writes it.

    `/` between folders for Windows' `\\`, no blanks around it and no `./` before it, letters composed with their
    accents (Unicode's form NFC; macOS takes them apart), and `%0A` for a control character.
    """
    if name.isascii() and name.isprintable() and "\\" not in name:  # as nearly all names are
        return name.strip().removeprefix("./")
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    if not name.isprintable():
        name = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda match: f"%{ord(match[0]):02X}", name)
    return name.strip().replace("\\", "/").removeprefix("./")


def readable(raw: bytes) -> str:
    """The text of a name, with `%F6` for a byte that is not UTF-8."""
    text = raw.decode(errors="surrogateescape")
    return re.sub("[\udc80-\udcff]", lambda match: f"%{ord(match[0]) - 0xDC00:02X}", text)


def endings(path: str) -> Iterator[str]:
    """The path without its first folder, without its first two, and so on, down to the file's name."""
    while "/" in path:
        path = path.partition("/")[2]
        yield path


def pack(names: Iterable[str | bytes]) -> np.ndarray:
    """An array of bytes (n,) with one name per entry, as wide as the longest; text becomes UTF-8."""
    names = iter(names)
    packed = np.empty(0, "S1")
    while chunk := [name if isinstance(name, bytes) else name.encode() for name in islice(names, CHUNK)]:
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


def draw_order(names: Iterable[str], seed: int) -> list[int]:
    """The positions of the names in a random order, which is the same on every machine.

    It is the order of a hash of seed and name: one name more leaves the order of the others as it was.
    """
    hashes = [hashlib.sha256(f"{seed}/{name}".encode()).digest() for name in names]
    return sorted(range(len(hashes)), key=hashes.__getitem__)


def _increasing(names: np.ndarray) -> bool:
    """Whether the names are sorted and different, as those of CelebA are: then there is nothing to sort."""
    return bool((names[1:] > names[:-1]).all())
