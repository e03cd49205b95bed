"""Where the images are: a zip archive or a folder behind one interface, and the partition file that splits them."""

import csv
import os
from array import array
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import TextIO

import numpy as np

from vaebench.base.disk import read_errors
from vaebench.base.errors import UserError
from vaebench.base.folders import files_in, folder_state, stat_of
from vaebench.data.archive import packed_names
from vaebench.data.archive.image_file import NOT_READ, SUFFIXES, ImageError, check_bytes
from vaebench.data.archive.zips import ZipReader

# Folders with previews of images, or deleted ones, that macOS, the disks of Synology and Windows put among a user's.
OF_SYSTEMS = frozenset(("__MACOSX", "@eaDir", "$RECYCLE.BIN"))
TRIED = 1000  # names of a partition that show which of the outer folders it writes
UNREAD_KIND = "kind that is not read: convert to JPEG or PNG, unpack an archive"
LONGEST_LINE = packed_names.LONGEST + 96  # characters of a partition: a name, its split, what a CSV adds


class ImageSource:
    """The images of a zip archive or of a folder and its subfolders.

    Small and picklable: only the path travels to another process, files are opened there on first use.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.is_zip = self.path.is_file()
        if not self.path.exists():
            raise UserError(f"no images at {self.path}: no such file or folder")

    def index(self) -> tuple[np.ndarray, np.ndarray]:
        """Packed names (paths inside the source), in archive or alphabetical order, and where `read_at` finds each."""
        if self.is_zip:
            positions = array("q")
            return packed_names.pack(self._remember(positions)), np.array(positions)
        found = packed_names.pack(self._walk())
        paths = packed_names.pack(_readable(path) for path in found)
        return (found if np.array_equal(paths, found) else paths), found

    def names(self) -> list[str]:
        """The paths of the images inside the source."""
        return list(packed_names.unpack(self.index()[0]))

    def passed_over(self) -> list[str]:
        """The paths of files that hold images in kinds that are not read, such as camera raw, or are archives."""
        if self.is_zip:
            paths = (packed_names.canonical_name(name) for name, _ in self._zip.entries())
        else:
            paths = (_readable(path) for path, _ in files_in(self.path))
        return [path for path in paths if _is_kind(path, NOT_READ)]

    def read(self, name: str) -> bytes:
        """The bytes of the image at that path; ImageError when it is damaged, KeyError when there is none."""
        paths, locators = self.index()
        (position,) = packed_names.find(packed_names.pack([name]), paths)
        if position < 0:
            raise KeyError(name)
        return self.read_at(locators[position])

    def read_at(self, locator: int | bytes, most: int | None = None) -> bytes:
        """The bytes of the image at a locator of `index`; ImageError when the source is damaged there.

        One of more than `most` bytes is not read (LargeImageError).
        """
        if self.is_zip:
            return self._zip.read(int(locator), most)
        path = os.path.join(os.fsencode(self.path), bytes(locator))
        if stat_of(path) is None and os.path.lexists(path):
            raise ImageError("no file that can be read: a pipe, a device, or a link to nothing")
        try:
            with open(path, "rb") as file:
                check_bytes(os.fstat(file.fileno()).st_size, most)
                return file.read()
        except OSError as error:
            raise ImageError(f"cannot be read: {error.strerror}") from error

    def digest(self) -> str:
        """SHA-256 that changes with the images: over the members of a zip, over paths, sizes and dates in a folder."""
        return self._zip.digest() if self.is_zip else folder_state(self.path)

    @cached_property
    def _zip(self) -> ZipReader:
        return ZipReader(self.path)

    def __getstate__(self) -> dict[str, Path | bool]:
        return {"path": self.path, "is_zip": self.is_zip}

    def _remember(self, positions: "array[int]") -> Iterator[str]:
        """The image names of the archive; their positions are appended to `positions`."""
        for name, position in self._zip.entries():
            if _is_kind(canonical := packed_names.canonical_name(name), SUFFIXES):
                positions.append(position)
                yield canonical

    def _walk(self) -> Iterator[bytes]:
        return (path for path, _ in files_in(self.path) if _is_kind(_readable(path), SUFFIXES))


def open_images(path: Path) -> ImageSource:
    """The images of a zip file or folder; UserError when there is neither."""
    return ImageSource(path)


def no_images(source: ImageSource) -> UserError:
    """The message for a source without an image, with what lies there instead."""
    others = source.passed_over()
    instead = f"; {len(others)} file(s) such as {others[0]} are of a {UNREAD_KIND}" if others else ""
    return UserError(f"{source.path} holds no images (files named .jpg, .png, ...){instead}")


def _is_kind(name: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a name has one of the suffixes, and is neither hidden nor in a folder of a system."""
    if not name.lower().endswith(suffixes):
        return False
    if "/." not in f"/{name}" and not any(folder in name for folder in OF_SYSTEMS):  # as nearly all names are
        return True
    parts = name.split("/")
    hidden = any(part.startswith(".") and part.strip(".") for part in parts)
    return not hidden and OF_SYSTEMS.isdisjoint(parts)


def _readable(path: bytes) -> str:
    return packed_names.canonical_name(packed_names.readable(path))


class Partition(Mapping[str, int]):
    """Image name -> 0 (train), 1 (eval) or 2 (test), in the order of the file; of a repeated name the first counts."""

    def __init__(self, packed: np.ndarray, splits: np.ndarray) -> None:
        self.names = packed  # bytes (n,)
        self.splits = splits  # int8 (n,)

    def __getitem__(self, name: str) -> int:
        place = np.searchsorted(self.names, name.encode(), sorter=self._order)
        if place == len(self.names) or self.names[self._order[place]] != name.encode():
            raise KeyError(name)
        return int(self.splits[self._order[place]])

    def __iter__(self) -> Iterator[str]:
        return packed_names.unpack(self.names)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self.names, kind="stable")


def read_partition(path: Path) -> Partition:
    """Read `name split` lines (CelebA) or a CSV of name and split with a header (Kaggle); any line ends.

    UserError names the file and the line of what is neither.
    """
    splits = bytearray()
    with read_errors(path), open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        packed = packed_names.pack(_partition_names(path, file, splits))
    if not len(packed):
        raise UserError(f"{path} lists no image; expected lines like `000001.jpg 0`")
    return Partition(packed, np.frombuffer(bytes(splits), np.int8))


def _partition_names(path: Path, file: TextIO, splits: bytearray) -> Iterator[str]:
    is_csv = Path(path).suffix.lower() == ".csv"
    for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), ""), start=1):
        if len(line) > LONGEST_LINE:
            raise UserError(f"{path}, line {number}: longer than {LONGEST_LINE} characters: this is no partition file")
        if not line.isascii() and any("\udc80" <= letter <= "\udcff" for letter in line):
            raise UserError(f"{path}, line {number}: not UTF-8: the file is damaged, or is to be saved as UTF-8")
        fields = next(csv.reader([line.strip()]), []) if is_csv else line.rsplit(maxsplit=1)
        if not fields or (number == 1 and _is_header(fields)):
            continue
        if len(fields) != 2 or fields[1].strip() not in ("0", "1", "2"):
            raise UserError(
                f"{path}, line {number}: expected an image name and 0 (train), 1 (eval) or 2 (test), "
                f"got {line.strip()[:80]!r}"
            )
        splits.append(int(fields[1]))
        yield packed_names.canonical_name(fields[0].strip())


def _is_header(fields: list[str]) -> bool:
    """Whether these are words over two columns: neither an image's name nor a number."""
    words = [field.strip().lower() for field in fields]
    return len(words) == 2 and not words[0].endswith(SUFFIXES) and any(map(str.isalpha, words[1]))


def keys(paths: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """What the partition would call each image: its path without the outer folders that the partition does not write.

    `paths` and `wanted` are packed names. CelebA's `img_align_celeba/000001.jpg`, and the doubled folder of the Kaggle
    copy, become `000001.jpg`. Of the folders that all images are in as many are left out as lets most of the
    partition's first names be found.
    """
    if not len(paths):
        return paths
    depth, deepest = (int(np.char.count(packed, b"/").max(initial=0)) + 1 for packed in (wanted, paths))
    common = _outer_folders(paths)
    likely = max(0, min(len(common), deepest - depth))
    best, most = paths, -1
    for outer in (likely, *(number for number in range(len(common) + 1) if number != likely)):
        shorter = packed_names.without_prefix(paths, "".join(f"{folder}/" for folder in common[:outer]))
        if deepest - outer > depth:
            shorter = packed_names.pack("/".join(path.split("/")[-depth:]) for path in packed_names.unpack(shorter))
        found = int(np.count_nonzero(packed_names.find(wanted[:TRIED], shorter) >= 0))
        if found > most:
            best, most = shorter, found
        if 2 * most > min(len(wanted), TRIED):
            break
    return best


def _outer_folders(paths: np.ndarray) -> list[str]:
    """The folders that all of the paths are in."""
    first, last = (path.decode().split("/")[:-1] for path in (paths[paths.argmin()], paths[paths.argmax()]))
    return [folder for folder, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))]
