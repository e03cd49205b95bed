"""Values from the literature and what they were measured on, held against what a study's own are measured on."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vaebench.data.cropping import Crop, crop_box
from vaebench.metrics.metric import Metric
from vaebench.metrics.registry import describe
from vaebench.models.run_spec import Named


@dataclass(frozen=True)
class Protocol:
    """What values were measured on; what the source does not say is None.

    `images` by split, `generated` and `references` are numbers of images; `size` is (height, width).
    """

    dataset: str
    images: Mapping[str, int] | None
    crop: Crop | None
    size: Sequence[int] | None
    filter: str | None
    channels: int | None
    split: str | None
    generated: int | None
    references: int | None


@dataclass(frozen=True)
class PublishedValue:
    """One value of a source: where it stands, what it is a value of, and how it was measured.

    `row` and `column` are the headings there. `models` are the models here that are the same, each with the
    configuration fields that this takes; `settings` says how the model was trained, by dotted key of a run; `sampler`
    is the one that drew its images, None where there is none or the source does not say; `notes` are further
    differences.
    """

    source: str
    citation: str
    where: str
    row: str
    column: str
    metric: str
    value: float
    protocol: Protocol
    models: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    sampler: Named | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyProtocol:
    """The sections of the configuration that decide what values are measured on.

    `image_size` is (height, width) of the images before the crop, None where they differ; `limit` is that of
    `evaluation`, `set_limit` that of `evaluation.distribution`.
    """

    dataset: str
    image_size: tuple[int, ...] | None
    crop: Crop | None
    size: tuple[int, ...] | None
    filter: str
    channels: int
    split: str
    limit: int | None
    set_limit: int


@dataclass(frozen=True)
class Counts:
    """Images of each split, and on how many images the value in question was measured, None where there is none."""

    images: Mapping[str, int]
    n: int | None


def mismatches(theirs: Protocol, ours: StudyProtocol, counts: Counts, metric: str) -> Iterator[str]:
    """Why a value of ours cannot be held against one of theirs, a phrase each.

    A study of their data set has its name, or this with more behind `_` or `-`, such as celeba_crop140.
    """
    entry = describe(metric)
    if re.split("[_-]", ours.dataset.lower())[0] != theirs.dataset.lower():
        yield f"the data set is {ours.dataset}, theirs {theirs.dataset}"
    for split, count in (theirs.images or {}).items():
        if counts.images.get(split) != count:
            yield f"{counts.images.get(split, 0):,} images of the split {split}, theirs {count:,}"
    if theirs.crop is not None and _region(theirs.crop, ours.image_size) != _region(ours.crop, ours.image_size):
        yield f"the crop is {_words(ours.crop)}, theirs {_words(theirs.crop)}"
    if theirs.size is not None and (ours.size is None or list(theirs.size) != list(ours.size)):
        yield f"the size is {_by(ours.size)}, theirs {_by(theirs.size)}"
    for name in ("channels", "split"):
        wanted, found = getattr(theirs, name), getattr(ours, name)
        if wanted is not None and wanted != found:
            yield f"{name} {found}, theirs {wanted}"
    yield from _wrong_counts(theirs, ours, counts, entry)


def not_stated(theirs: Protocol, metric: str) -> list[str]:
    """The facts that matter for a metric and that the source does not state."""
    entry = describe(metric)
    names = {"images": "numbers of images", "crop": "crop", "size": "size", "filter": "filter", "split": "split"}
    if entry.features:
        names |= {"references": "number of real images"}
    if entry.features and _is_of_generated(entry):
        names |= {"generated": "number of generated images"}
    return [words for name, words in names.items() if getattr(theirs, name) is None]


def differing_filter(theirs: Protocol, ours: StudyProtocol) -> Iterator[str]:
    """A note where the resize filter differs: it changes pixels little, so that the values are still compared."""
    if theirs.filter is not None and theirs.filter != ours.filter:
        yield f"filter {ours.filter}, theirs {theirs.filter}"


def _wrong_counts(theirs: Protocol, ours: StudyProtocol, counts: Counts, entry: Metric) -> Iterator[str]:
    measured = counts.images.get(ours.split, 0)
    measured = measured if ours.limit is None else min(measured, ours.limit)
    if not entry.features:
        whole = (theirs.images or {}).get(theirs.split or "")
        if whole is not None and measured != whole:
            yield f"measured on {measured:,} images, theirs on {whole:,}"
        return
    references = min(measured, ours.set_limit)
    if theirs.references is not None and references != theirs.references:
        yield f"{references:,} real images, theirs {theirs.references:,}"
    generated = theirs.generated if _is_of_generated(entry) else None
    if generated is not None and counts.n is not None and counts.n != generated:
        yield f"{counts.n:,} generated images, theirs {generated:,}"


def _is_of_generated(entry: Metric) -> bool:
    """Whether a metric of sets is of generated images, and not of reconstructions."""
    return not entry.name.startswith(("rfid", "rfd_"))


def _region(crop: Crop | None, size: Sequence[int] | None) -> object:
    """A crop as left, top, right, bottom, where the images' size (height, width) is known; else as it is written."""
    return repr(crop) if size is None else crop_box(crop, size[1], size[0])


def _words(crop: Crop | None) -> str:
    if crop is None:
        return "none"
    return f"box {crop['box']}" if "box" in crop else f"center {crop['center']}"


def _by(size: Sequence[int] | None) -> str:
    return "x".join(map(str, size)) if size else "the crop's"
