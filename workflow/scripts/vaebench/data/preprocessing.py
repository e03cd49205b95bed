"""From an archive of images to the npz of each split: decode, crop and resize, on CPU or GPU with the same bytes."""

import hashlib
import json
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vaebench.base.digests import content_digest, known_md5
from vaebench.base.disk import disk_errors, need_space
from vaebench.base.errors import UserError
from vaebench.base.files import atomic_path, sha256_of
from vaebench.base.npz import write_manifest
from vaebench.data.archive import packed_names
from vaebench.data.archive.decoding import Memory, decode
from vaebench.data.archive.image_file import ImageError
from vaebench.data.archive.images import ImageSource, open_images
from vaebench.data.archive.orientation import jpeg_orientation, turned
from vaebench.data.image_table import ImageFiles
from vaebench.data.recipe import Recipe, frequent_sizes
from vaebench.data.resize import gpu
from vaebench.data.resize.loops import compiled
from vaebench.data.resize.resampling import PillowResampler, Resampler
from vaebench.data.resumable_npz import Done, PartialArray, RowWriter
from vaebench.data.selection import RandomChoice, Selection, select
from vaebench.data.worker_pool import WorkerPool, in_order, no_memory, worker_pool

Batch = tuple[str, RowWriter, int, np.ndarray, np.ndarray]  # split, its writer, first row, names, locators
WRITTEN_BYTES = 1 << 18  # pixels that a worker writes at once: still in the processor's cache then
BATCH_PIXELS = 1 << 25  # decoded for one result, so that few large images keep all workers busy too
SENT_BYTES = 1 << 23  # pixels that a worker sends to a GPU at once
LIBRARIES = ("numpy", "pillow", "simplejpeg")  # what decides about the bytes


@dataclass(frozen=True)
class PreprocessingSettings:
    """The sections `preprocessing` and `decoding`: the recipe, which images, and how the work is done."""

    recipe: Recipe
    limit: int | RandomChoice | None  # images of each split; None: all
    compress: bool
    batch_size: int
    device: str  # auto, cpu or cuda


def preprocess(
    files: ImageFiles, outputs: dict[str, Path], settings: PreprocessingSettings, workers: int, dataset: str
) -> None:
    """Write the npz (key `data`, uint8, n x C x H x W) and the JSON manifest of each split in `outputs`.

    Only images that the validation found sound are used, in the order of the partition. Pixels equal Pillow's
    crop-then-resize whatever the device, workers and batches. A run that was killed is resumed; nothing is replaced
    before everything is complete. Beside each npz lie two digests (`digests.content_digest`). UserError for whatever
    the user can mend.
    """
    source, recipe = open_images(files.images), settings.recipe
    chosen = select(source, files, outputs, settings.limit)
    sizes = [recipe.sizes(images) for images in chosen.values()]
    shape = recipe.image_shape(sizes)
    frequent = frequent_sizes(sizes) - {shape[1:]}  # what has its size already is not resized
    if frequent:
        compiled()  # once, before the workers start
    with worker_pool(workers) as pool, disk_errors(next(iter(outputs.values())).parent):
        device = gpu.choose(settings.device, recipe.decoder)
        sources = {
            path.name: pool.submit(known_md5, path) for path in (files.images, files.partition) if path.is_file()
        }
        content = _content(source, files.table, recipe)
        splits = {
            split: Split(images, PartialArray(outputs[split], (len(images), *shape), content))
            for split, images in chosen.items()
        }
        arrays, compress = {split: part.array for split, part in splits.items()}, settings.compress
        _open(arrays.values(), compress)
        sealing = {split: pool.submit(_seal, array, compress) for split, array in arrays.items() if array.is_complete}
        with tqdm(total=sum(map(len, chosen.values())), unit=" images", desc=f"preprocess {dataset}") as progress:
            progress.update(sum(array.rows_done for array in arrays.values()))
            worker = Worker(source, recipe, frequent, shape[1:])
            for split, done in _process(worker, pool, splits, settings.batch_size, device):
                arrays[split].record(done)
                progress.update(done.stop - done.start)
                if arrays[split].is_complete:  # the workers go on with the other splits
                    sealing[split] = pool.submit(_seal, arrays[split], compress)
        sealed = {split: future.result() for split, future in sealing.items()}
        common = {
            "dataset": dataset,
            **asdict(recipe),
            "sources": {name: {"md5": future.result()} for name, future in sources.items()},
            "versions": {library: version(library) for library in LIBRARIES},
        }
        for split, part in splits.items():
            path, sha256, pixels = sealed[split]
            ids = _write_manifest(part, {"split": split, "sha256": sha256, **common})
            _publish(part, path, {"pixels": pixels, "ids": ids})
            described = " x ".join(map(str, part.array.shape))
            skipped = f"{len(part.images.skipped)} skipped"
            tqdm.write(f"preprocess: {split} {described}, {skipped}: {part.array.path}", file=sys.stderr)


@dataclass(frozen=True)
class Split:
    """One split: its images, and the file that they become."""

    images: Selection
    array: PartialArray


def _content(source: ImageSource, table: Path, recipe: Recipe) -> str:
    """A digest of all that decides about the pixels, so that only the same work is resumed."""
    versions = [version(library) for library in LIBRARIES]
    parts = [source.digest(), sha256_of(table), asdict(recipe), versions]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _seal(array: PartialArray, compress: bool) -> tuple[Path, str, str]:
    """The finished npz, its SHA-256, and that of its pixels: of the npz that holds them stored."""
    path, pixels = array.seal(compress=False)
    return (*array.seal(compress=True), pixels) if compress else (path, pixels, pixels)


def _publish(part: Split, sealed: Path, digests: Mapping[str, str]) -> None:
    """Put the sealed file of a split in its place, and its digests beside it."""
    part.array.publish(sealed)
    for kind, digest in digests.items():
        with atomic_path(content_digest(part.array.path, kind)) as temporary:
            temporary.write_text(f"{digest}\n")


def _open(arrays: Collection[PartialArray], compress: bool) -> None:
    """Start or take up the arrays; UserError when the disk has no room for all of them together."""
    left = sum(array.open().bytes_left for array in arrays)
    need_space(next(iter(arrays)).path.parent, left * (2 if compress else 1))


def _process(
    worker: "Worker", pool: WorkerPool, splits: dict[str, Split], batch_size: int, device: str
) -> Iterator[tuple[str, Done]]:
    """Make the missing rows of all splits; yields each finished range with its split."""
    if device == "cpu":
        pixels, images = (sum(count) for count in zip(*map(_pixels_and_images, splits.values()), strict=True))
        batch_size = max(1, min(batch_size, BATCH_PIXELS * images // pixels))
        yield from in_order(pool, worker.resize, _batches(splits, batch_size))
        return
    recipe = worker.recipe
    pixels = max(int(np.max(part.images.heights * part.images.widths)) for part in splits.values())
    frame_bytes = pixels * recipe.channels
    batch_size = max(1, min(batch_size, SENT_BYTES // frame_bytes))
    if recipe.decoder != "nvjpeg":
        for split, writer, start, frames in in_order(pool, worker.crop, _batches(splits, batch_size)):
            yield split, writer.write(start, [gpu.resize(frames, worker.resampler)])
        return
    for split, writer, start, files in in_order(pool, worker.read, _batches(splits, batch_size)):
        packed = splits[split].images.names[start : start + len(files)]
        frames = [recipe.cropped(pixels) for pixels in _decoded_by_gpu(packed, files, recipe)]
        yield split, writer.write(start, [gpu.resize(frames, worker.resampler)])


def _pixels_and_images(part: Split) -> tuple[int, int]:
    heights, widths = part.images.heights.astype(np.int64), part.images.widths
    return int((heights * widths).sum()), len(part.images)


def _decoded_by_gpu(packed: np.ndarray, files: list[bytes], recipe: Recipe) -> list[np.ndarray]:
    """The pixels of the images of these names, turned; UserError names one that nvJPEG cannot decode."""
    try:
        images = gpu.decode(files, recipe.channels)
    except RuntimeError:
        for name, data in zip(packed_names.unpack(packed), files, strict=True):
            try:
                gpu.decode([data], recipe.channels)
            except RuntimeError as error:
                reason = str(error).partition("\n")[0]
                raise UserError(
                    f"nvJPEG cannot decode {name} ({reason}): set preprocessing.decoder to libjpeg"
                ) from error
        raise
    if not recipe.reading.exif_orientation:
        return images
    return [turned(pixels, jpeg_orientation(data)) for pixels, data in zip(images, files, strict=True)]


def _batches(splits: dict[str, Split], batch_size: int) -> Iterator[Batch]:
    for split, part in splits.items():
        for start, stop in part.array.missing(batch_size):
            yield split, part.array.writer, start, part.images.names[start:stop], part.images.locators[start:stop]


@lru_cache
def _resampler(height: int, width: int, channels: int, size: tuple[int, int], filter_name: str) -> Resampler:
    return Resampler(height, width, channels, size, filter_name)


@dataclass(frozen=True)
class Worker:
    """What a worker process does with a batch of images."""

    source: ImageSource
    recipe: Recipe
    frequent: frozenset[tuple[int, int]]  # sizes (height, width) after the crop that many images share
    size: tuple[int, int]  # (height, width) of the results

    def resampler(self, height: int, width: int) -> Resampler | PillowResampler:
        """What resizes cropped images of that size."""
        recipe = self.recipe
        size = recipe.size or (height, width)
        if (height, width) in self.frequent:
            return _resampler(height, width, recipe.channels, size, recipe.filter)
        return PillowResampler(size, recipe.filter)

    def resize(
        self, split: str, writer: RowWriter, start: int, packed: np.ndarray, locators: np.ndarray
    ) -> tuple[str, Done]:
        """Decode, crop and resize, and write the rows to their place."""
        return split, writer.write(start, self._resized(packed, locators, max(1, WRITTEN_BYTES // writer.row_bytes)))

    def crop(
        self, split: str, writer: RowWriter, start: int, packed: np.ndarray, locators: np.ndarray
    ) -> tuple[str, RowWriter, int, list[np.ndarray]]:
        """Decode and crop, for a GPU to resize."""
        return split, writer, start, [pixels.copy() for pixels in self._cropped(packed, locators)]

    def read(
        self, split: str, writer: RowWriter, start: int, packed: np.ndarray, locators: np.ndarray
    ) -> tuple[str, RowWriter, int, list[bytes]]:
        """Only read, for a GPU to decode."""
        return split, writer, start, [self.source.read_at(locator) for locator in locators]

    def _resized(self, packed: np.ndarray, locators: np.ndarray, rows: int) -> Iterator[np.ndarray]:
        for first in range(0, len(packed), rows):
            part = slice(first, first + rows)
            batch = np.empty(0, np.uint8)
            for row, pixels in enumerate(self._cropped(packed[part], locators[part])):
                resampler = self.resampler(*pixels.shape[:2])
                if row == 0:
                    batch = np.empty((len(packed[part]), self.recipe.channels, *resampler.size), np.uint8)
                resampler.resize(pixels, batch[row])
            yield batch

    def _cropped(self, packed: np.ndarray, locators: np.ndarray) -> Iterator[np.ndarray]:
        """The crops one by one; each lasts until the next is asked for."""
        memory = Memory()
        for name, locator in zip(packed_names.unpack(packed), locators, strict=True):
            try:
                data = self.source.read_at(locator, self.recipe.reading.max_bytes)
                _, pixels = decode(data, self.recipe.channels, self.recipe.reading, memory)
                part = self._part(pixels)
            except ImageError as error:
                raise UserError(
                    f"{name} in {self.source.path} was sound when it was validated and is not now ({error}): "
                    "the images have changed; run the validation again"
                ) from error
            except MemoryError as error:
                raise UserError(no_memory(name, self.source.path)) from error
            yield part

    def _part(self, pixels: np.ndarray) -> np.ndarray:
        """The crop of an image; ImageError when that is not as large as that of the validated image was."""
        try:
            part = self.recipe.cropped(pixels)
        except UserError as error:
            raise ImageError(str(error)) from error
        if self.recipe.size is None and part.shape[:2] != self.size:
            raise ImageError(f"{part.shape[1]} x {part.shape[0]} pixels after the crop")
        return part


def _write_manifest(part: Split, facts: Mapping[str, object]) -> str:
    """The card of the split's data; the SHA-256 of its ids."""
    mean, deviation = part.array.mean_and_deviation()
    facts = {
        **facts,
        "key": "data",
        "dtype": "uint8",
        "shape": list(part.array.shape),
        "mean": mean,
        "std": deviation,
        "skipped": part.images.skipped,
    }
    return write_manifest(part.array.path, facts, packed_names.unpack(part.images.names))
