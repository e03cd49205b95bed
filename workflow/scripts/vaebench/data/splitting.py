"""Splits and classes for images that come without a file of them: drawn from their names, or read off their folders."""

import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaebench.base.errors import UserError
from vaebench.base.files import atomic_path
from vaebench.base.layout import SPLITS
from vaebench.data.archive.images import no_images, open_images
from vaebench.data.archive.packed_names import draw_order
from vaebench.data.labels import read_identities, rows_of

UNITS = {"folder": "outermost folder(s)", "identity": "person(s)"}  # what stays together; else each image
SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), 0),
    **dict.fromkeys(("eval", "evaluation", "val", "valid", "validation", "dev"), 1),
    **dict.fromkeys(("test", "testing"), 2),
}
MOST_CLASSES = 200


@dataclass(frozen=True)
class SplitSettings:
    """dataset.split: the shares of the splits, which add up to 1, what stays together, and the seed of the draw."""

    by: str
    seed: int
    train: float
    eval: float
    test: float


def make_partition(images: Path, settings: SplitSettings, partition: Path, identity: Path | None = None) -> None:
    """Write the partition of the images in a zip or folder: a line `path split` for each, sorted by path.

    What stays together is `settings.by`:

    - file: each image goes its own way;
    - folder: images below one outermost folder stay together. Outermost folders that are called as the splits are
      the splits; a split without such a folder is drawn from train's;
    - auto: the splits' folders where there are such, else file;
    - identity: images of one person in the file `identity` stay together.

    The draw depends on seed and names only, not on the machine nor on where the images lie. UserError when there are
    fewer files, folders or persons than splits.
    """
    paths = _paths(images)
    inside = _below_the_shared_folder(paths)
    by, seed = settings.by, settings.seed
    shares = {0: settings.train, 1: settings.eval, 2: settings.test}
    found = _split_folders(inside) if by in ("auto", "folder") else None
    if found is None and by == "auto":
        _refuse_half_named_splits(inside, images)
    if found is None:
        groups = _persons(paths, identity) if identity and by == "identity" else _groups(inside, by)
        splits = _deal(groups, shares, seed, f"{images}: {len(set(groups))} {UNITS.get(by, 'image(s)')}")
    else:
        splits = found
        absent = [split for split in shares if split not in set(found)]
        if absent:
            rows = [row for row, split in enumerate(found) if split == 0]
            groups = _groups([_below(inside[row]) for row in rows], by)
            wanted = {0: shares[0]} | {split: shares[split] for split in absent}
            drawn = _deal(
                groups, wanted, seed, f"{images}, folder of train: {len(set(groups))} {UNITS.get(by, 'image(s)')}"
            )
            for row, split in zip(rows, drawn, strict=True):
                splits[row] = split
    with atomic_path(partition) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.writelines(f"{path} {split}\n" for path, split in zip(paths, splits, strict=True))
    counts = Counter(splits)
    print("split:", ", ".join(f"{name} {counts[split]} images" for split, name in enumerate(SPLITS)))


def write_classes(images: Path, labels: Path) -> None:
    """Write the outermost folder of each image as labels: a CSV with a column of 0 and 1 for each folder.

    Where the outermost folders are the splits, the folders below them are the classes. UserError when an image lies in
    no folder, and for fewer than 2 or more than 200 folders.
    """
    paths = _paths(images)
    inside = _below_the_shared_folder(paths)
    if _split_folders(inside) is not None:
        inside = [_below(path) for path in inside]
    classes = [path.partition("/")[0] if "/" in path else "" for path in inside]
    names = sorted(set(classes))
    if names == [""]:
        raise UserError(
            f"dataset.labels: folder: all images of {images} lie side by side, where each class needs a folder "
            "of its own; give a file of labels, or set labels to null"
        )
    if "" in names:
        raise UserError(
            f"dataset.labels: folder: {paths[classes.index('')]} in {images} lies in no class's folder; move it into "
            "one, or give a file of labels"
        )
    if not 2 <= len(names) <= MOST_CLASSES:
        raise UserError(
            f"dataset.labels: folder: {len(names)} folders in {images}; as classes they must be 2 to {MOST_CLASSES}"
        )
    with atomic_path(labels) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *names])
        ones = {name: [int(name == other) for other in names] for name in names}
        writer.writerows([path, *ones[name]] for path, name in zip(paths, classes, strict=True))
    print(f"{len(names)} classes in {labels}: {', '.join(names)}")


def _paths(images: Path) -> list[str]:
    source = open_images(images)
    paths = sorted(set(source.names()))
    if not paths:
        raise no_images(source)
    return paths


def _below_the_shared_folder(paths: Sequence[str]) -> list[str]:
    """The sorted paths without the folders that all have in common."""
    shared = len(os.path.commonpath([os.path.dirname(path) for path in (paths[0], paths[-1])]))
    return [path[shared:].lstrip("/") for path in paths]


def _below(path: str) -> str:
    return path.partition("/")[2]


def _split_of_folder(path: str) -> int | None:
    folder, slash, _ = path.partition("/")
    return SPLIT_FOLDERS.get(folder.lower()) if slash else None


def _split_folders(inside: Sequence[str]) -> list[int] | None:
    """The split of each image by its outermost folder; None unless all are splits' folders, train and another."""
    splits = [_split_of_folder(path) for path in inside]
    known = [split for split in splits if split is not None]
    present = set(known)
    return known if len(known) == len(splits) and 0 in present and len(present) > 1 else None


def _refuse_half_named_splits(inside: Sequence[str], images: Path) -> None:
    """UserError when some outermost folders are called as splits, but one is not or there is none for train."""
    named = sorted({path.partition("/")[0] for path in inside if _split_of_folder(path) is not None})
    if named:
        other = next((path for path in inside if _split_of_folder(path) is None), None)
        what = f"{other} lies in none" if other else "there is none for train"
        raise UserError(
            f"{images}: folders are called as splits are ({', '.join(named)}), but {what}. Set dataset.split.by: file "
            "to draw the splits from all images, or folder to draw them by folder, or give a partition"
        )


def _groups(inside: Sequence[str], by: str) -> list[str]:
    """What stays together with each image: nothing, or all below its outermost folder."""
    return [path.rpartition("/")[0].partition("/")[0] for path in inside] if by == "folder" else list(inside)


def _persons(paths: Sequence[str], identity: Path) -> list[str]:
    table = read_identities(identity)
    rows = rows_of(list(table.index), paths, identity)
    if (rows < 0).any():
        missing = paths[int(np.argmax(rows < 0))]
        raise UserError(f"{identity}: no identity for {missing} ({(rows < 0).sum()} of {len(paths)} images have none)")
    return table.iloc[rows, 0].tolist()


def _deal(groups: Sequence[str], shares: Mapping[int, float], seed: int, found: str) -> list[int]:
    """The split of each image: images of a group have the same, each split has about its share, and none is empty.

    Groups are taken in the order of `draw_order` until a split is full: one more image changes few others' split.
    """
    sizes = Counter(groups)
    names = list(sizes)
    if len(names) < len(shares):
        raise UserError(
            f"{found} cannot make {len(shares)} splits, which need one each; choose another dataset.split.by (auto, "
            "file, folder, identity)"
        )
    order = draw_order(names, seed)
    counts = np.array([sizes[names[position]] for position in order])
    middles = np.cumsum(counts) - counts / 2
    ends = np.cumsum(list(shares.values())) / sum(shares.values()) * len(groups)
    owner: dict[str, int] = {}
    first = 0
    for row, (split, end) in enumerate(zip(shares, ends, strict=True)):
        still_to_come = len(shares) - 1 - row
        last = int(np.searchsorted(middles, end)) if still_to_come else len(names)
        last = min(max(last, first + 1), len(names) - still_to_come)
        owner |= {names[position]: split for position in order[first:last]}
        first = last
    return [owner[group] for group in groups]
