"""Every image decoded in full before anything is built on it: the table of images and its summary."""

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vaebench.base.disk import disk_errors
from vaebench.base.errors import UserError
from vaebench.base.files import atomic_path, sha256_of
from vaebench.base.formats import stamped
from vaebench.base.layout import SPLITS
from vaebench.data.archive import packed_names
from vaebench.data.archive.decoding import Memory, examine
from vaebench.data.archive.image_file import NOT_READ, Header, ImageError, Reading
from vaebench.data.archive.images import UNREAD_KIND, ImageSource, keys, no_images, open_images, read_partition
from vaebench.data.archive.similar import similar
from vaebench.data.cropping import Crop, crop_box
from vaebench.data.image_table import COLUMNS, ImageFiles
from vaebench.data.worker_pool import in_order, no_memory, worker_pool

BATCH = 256
LISTED, SHOWN = 20, 5  # bad images named in the summary's examples, and in the message that there are too many
BAD_LIST = "bad_images.csv"  # beside the table, when there are too many
BAD = ("damaged", "unsupported", "large", "unexpected", "missing", "duplicate")

# Verdicts known from the names alone.
MISSING, TWICE_IN_IMAGES, IN_SEVERAL_FOLDERS, TWICE_IN_PARTITION, UNLISTED, UNREAD, UNREAD_UNLISTED = range(1, 8)
VERDICTS = {
    MISSING: ("missing", "not among the images"),
    TWICE_IN_IMAGES: ("duplicate", "two images of this name"),
    IN_SEVERAL_FOLDERS: ("duplicate", "images of this name in several folders: write the folder in the partition"),
    TWICE_IN_PARTITION: ("duplicate", "listed twice in the partition"),
    UNLISTED: ("unlisted", "not in the partition"),
    UNREAD: ("unsupported", f"a {UNREAD_KIND}"),
    UNREAD_UNLISTED: ("unlisted", f"a {UNREAD_KIND}"),
}
OF_UNREAD_KIND = ": ".join(VERDICTS[UNREAD_UNLISTED])
HINT = ", which have "  # between the reason why an image is missing and one of a similar name

Row = tuple[str, str, str, str, int | str, int | str, int | str]
Judged = tuple[str, str, int | str, int | str, int | str]  # a row less the first two
Batch = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, str]]  # what `Check.batch` takes


@dataclass(frozen=True)
class ValidationSettings:
    """The section `validation` (None admits anything), how files are read, and the crop that must fit."""

    format: str | None
    mode: str | None
    width: int | None
    height: int | None
    min_width: int | None
    min_height: int | None
    max_bad_fraction: float
    crop: Crop | None
    reading: Reading


def validate(files: ImageFiles, summary: Path, settings: ValidationSettings, workers: int) -> None:
    """Decode every image of the partition and write the table (a row per image, COLUMNS) and `summary` (JSON counts).

    In the table, status is `ok`, or why the image is left out: `damaged` (checksum, decoding), `unsupported` (a kind
    that is not read), `large` (more pixels or bytes than allowed), `unexpected` (not the format, mode or size of
    `settings`), `missing` (from the archive), `duplicate` (in the archive or the partition); `small` (less than the
    minimum, or than the crop) and `unlisted` (not in the partition, or of a kind that is not read) are no faults. Rows
    are in the order of the partition, unlisted ones last. When more than `max_bad_fraction` of the partition's images
    are bad, neither is written: their rows are in BAD_LIST beside the table, and a UserError names that and the first
    of them.
    """
    source, table = open_images(files.images), files.table
    check = Check(source, settings)
    tally = Tally()
    with worker_pool(workers) as pool, disk_errors(table.parent), atomic_path(table) as temporary:
        listed, total, tasks = _plan(source, files.partition)
        with (
            open(temporary, "w", newline="", encoding="utf-8") as file,
            tqdm(total=total, unit=" images", desc="validate") as progress,
        ):
            file.write(_as_csv([COLUMNS]))
            for rows, found in in_order(pool, check.batch, tasks):
                file.write(rows)
                tally.merge(found)
                progress.update(found.counts.total())
        bad, allowed, bad_list = tally.bad, settings.max_bad_fraction, table.with_name(BAD_LIST)
        if bad > allowed * listed:
            _write_bad(temporary, bad_list)
            mend = (
                "If the archive is damaged, delete it and download it again" if source.is_zip else "Mend or remove them"
            )
            said = _too_many(bad, listed, allowed, tally.examples, bad_list)
            raise UserError(
                f"{said}. {mend}; if these images are expected to be bad, raise validation.max_bad_fraction"
            )
        bad_list.unlink(missing_ok=True)
    result = {"images": listed, "bad": bad, "max_bad_fraction": allowed, **tally.as_dict(), "table": sha256_of(table)}
    with disk_errors(summary.parent), atomic_path(summary) as temporary:
        temporary.write_text(json.dumps(stamped("validation", result), indent=2) + "\n", encoding="utf-8")
    small = f", {tally.counts['small']} too small" if tally.counts["small"] else ""
    unread = tally.reasons[OF_UNREAD_KIND]
    others = f"; {unread} files beside them are of a {UNREAD_KIND}" if unread else ""
    tqdm.write(
        f"validate: {tally.counts['ok']} of {listed} images are sound, {bad} are not{small}{others}: {table}",
        file=sys.stderr,
    )


def _plan(source: ImageSource, partition: Path) -> tuple[int, int, Iterator[Batch]]:
    """How many names the partition has, how many rows will come, and batches for `Check.batch`."""
    paths, locators = source.index()
    if not len(paths):
        raise no_images(source)
    wanted = read_partition(partition)
    found = keys(paths, wanted.names)
    twice, same_path = packed_names.repeated(found), packed_names.repeated(paths)
    del paths  # the largest of these arrays
    position = packed_names.find(wanted.names, found)
    verdict = np.zeros(len(wanted), np.int8)
    verdict[packed_names.find(wanted.names, found[twice]) >= 0] = IN_SEVERAL_FOLDERS
    verdict[packed_names.find(wanted.names, found[same_path]) >= 0] = TWICE_IN_IMAGES
    verdict[packed_names.repeated(wanted.names)] = TWICE_IN_PARTITION
    missing = np.flatnonzero(position < 0)
    verdict[missing] = MISSING
    unread, rest = _unread(source.passed_over(), wanted.names[missing])
    verdict[missing[unread]] = UNREAD
    unlisted = np.flatnonzero(packed_names.find(found, wanted.names) < 0)
    hints = similar(packed_names.unpack(wanted.names[verdict == MISSING]), packed_names.unpack(found[unlisted]))

    def tasks() -> Iterator[Batch]:
        for start in range(0, len(wanted), BATCH):
            part = slice(start, start + BATCH)
            meant = {name: hints[name] for name in hints.keys() & set(packed_names.unpack(wanted.names[part]))}
            yield wanted.names[part], wanted.splits[part], verdict[part], locators[position[part]], meant
        for start in range(0, len(unlisted), BATCH):
            rows = unlisted[start : start + BATCH]
            yield found[rows], np.full(len(rows), -1), np.full(len(rows), UNLISTED), locators[rows], {}
        if rest:
            none = np.full(len(rest), -1)
            yield packed_names.pack(rest), none, np.full(len(rest), UNREAD_UNLISTED), none, {}

    return len(wanted), len(wanted) + len(unlisted) + len(rest), tasks()


def _unread(passed_over: list[str], missing: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Which of the missing images are of a kind that is not read, bool (n,), and what else was passed over."""
    names = [name if name.lower().endswith(NOT_READ) else "" for name in packed_names.unpack(missing)]
    listed = set(names)
    rest = [path for path in passed_over if path not in listed and listed.isdisjoint(packed_names.endings(path))]
    return np.array(list(map(bool, names)), bool), rest


@dataclass(frozen=True)
class Check:
    """What a worker does: read, decode and judge images."""

    source: ImageSource
    settings: ValidationSettings

    def batch(
        self,
        packed: np.ndarray,
        splits: np.ndarray,
        verdicts: np.ndarray,
        locators: np.ndarray,
        meant: Mapping[str, str],
    ) -> tuple[str, "Tally"]:
        """The rows of a batch of images as CSV, and their counts.

        A non-zero verdict is known already and the image is not read; `meant` says of missing names which image has a
        similar one.
        """
        rows, tally, memory = [], Tally(), Memory()
        columns = packed_names.unpack(packed), splits.tolist(), verdicts.tolist(), locators.tolist()
        for name, split, verdict, locator in zip(*columns, strict=True):
            try:
                judged: Judged = (*VERDICTS[verdict], "", "", "") if verdict else self._image(locator, memory)
            except MemoryError as error:
                raise UserError(no_memory(name, self.source.path)) from error
            if name in meant:
                judged = (judged[0], f"{judged[1]}{HINT}{meant[name]}", *judged[2:])
            rows.append((name, SPLITS[split] if split >= 0 else "", *judged))
        tally.add(rows)
        return _as_csv(rows), tally

    def _image(self, locator: int | bytes, memory: Memory) -> Judged:
        size: int | str = ""
        try:
            data = self.source.read_at(locator, self.settings.reading.max_bytes)
            size = len(data)
            header = examine(data, self.settings.reading, memory)
        except ImageError as error:
            return error.status, str(error), size, "", ""
        status, reason = self._judged(header)
        return status, reason, size, header.width, header.height

    def _judged(self, header: Header) -> tuple[str, str]:
        """Status and reason of a sound image, which may differ from what the settings ask for."""
        for what in ("format", "mode", "width", "height"):
            wanted, found = getattr(self.settings, what), getattr(header, what)
            if wanted is not None and found != wanted:
                return "unexpected", f"{what} is {found}, expected {wanted}"
        for what in ("width", "height"):
            least, found = getattr(self.settings, f"min_{what}"), getattr(header, what)
            if least is not None and found < least:
                return "small", f"{what} is {found}, less than validation.min_{what}: {least}"
        try:
            crop_box(self.settings.crop, header.width, header.height)
        except UserError:
            return "small", f"{header.width} x {header.height}, less than preprocessing.crop {self.settings.crop}"
        return "ok", ""


class Tally:
    """Counts over the rows, for the summary."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.splits: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        self.reasons: Counter[str] = Counter()
        self.examples: list[str] = []

    def add(self, rows: list[Row]) -> None:
        """Count the rows of a batch."""
        for name, split, status, reason, *_ in rows:
            self.counts[status] += 1
            if split:
                self.splits[split][status] += 1
            if (why := f"{status}: {reason.partition(HINT)[0]}") == OF_UNREAD_KIND or status in (*BAD, "small"):
                self.reasons[why] += 1
            if status in BAD and len(self.examples) < LISTED:
                self.examples.append(f"{name}: {status}, {reason}")

    def merge(self, other: "Tally") -> None:
        """Count what another tally has counted of later rows."""
        self.counts.update(other.counts)
        self.reasons.update(other.reasons)
        for split, counts in self.splits.items():
            counts.update(other.splits[split])
        self.examples = (self.examples + other.examples)[:LISTED]

    @property
    def bad(self) -> int:
        """How many images of the partition cannot be used."""
        return sum(self.counts[status] for status in BAD)

    def as_dict(self) -> dict[str, object]:
        """The counts as they stand in the summary."""
        return {
            "status": dict(self.counts),
            "splits": {split: dict(counts) for split, counts in self.splits.items()},
            "reasons": dict(self.reasons.most_common(LISTED)),
            "examples": self.examples,
        }


def _as_csv(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _write_bad(table: Path, target: Path) -> None:
    """Copy the header and the rows of bad images."""
    with (
        open(table, newline="", encoding="utf-8") as file,
        atomic_path(target) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as copy,
    ):
        rows = csv.reader(file)
        copy.write(_as_csv([next(rows, []), *(row for row in rows if row[COLUMNS.index("status")] in BAD)]))


def _too_many(bad: int, listed: int, allowed: float, examples: list[str], bad_list: Path) -> str:
    shown = examples[:SHOWN]
    more = f"; and {bad - len(shown)} more" if bad > len(shown) else ""
    return (
        f"{bad} of {listed} images cannot be used, more than validation.max_bad_fraction: {allowed} allows. "
        f"They are listed in {bad_list}: {'; '.join(shown)}{more}"
    )
