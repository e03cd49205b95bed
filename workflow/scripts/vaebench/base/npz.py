"""The npz files of images: pythae's format (key `data`, uint8, n x C x H x W), written as a stream, read as a map."""

import hashlib
import json
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypedDict, cast

import numpy as np
from numpy.lib import format as npy

from vaebench.base.digests import content_digest
from vaebench.base.errors import UserError
from vaebench.base.files import atomic_path, sha256_of
from vaebench.base.formats import read_json, stamped

MEMBER = "data.npy"
EPOCH = (1980, 1, 1, 0, 0, 0)  # np.savez writes no time either: the same array is the same file
LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of name and extra


class Manifest(TypedDict):
    """The part of a split's manifest that other stages read: sources, contents, and the images of the rows."""

    dataset: str
    split: str
    sha256: str
    shape: list[int]
    skipped: list[dict[str, str]]
    sources: dict[str, dict[str, str]]
    ids: list[str]


def open_array(path: Path | str) -> np.ndarray:
    """The array under `data`: a read-only memory map of a stored npz, a copy (and a warning) of a compressed one.

    UserError when the file is missing or no such npz.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(MEMBER)
        if member.compress_type == zipfile.ZIP_STORED:
            return _map(path, member.header_offset)
        warnings.warn(
            f"{path} is compressed: its {member.file_size / 1e9:.2f} GB are loaded into memory; "
            "with preprocessing.compress: false they would be mapped",
            stacklevel=2,
        )
        with np.load(path) as archive:
            array: np.ndarray = archive["data"]
            return array
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; `snakemake data` makes it") from error
    except (zipfile.BadZipFile, zlib.error, struct.error, KeyError, ValueError, EOFError, NotImplementedError) as error:
        raise UserError(f"{path} is not an npz file with the key `data` ({error}); delete it and run again") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def _map(path: Path, header_offset: int) -> np.ndarray:
    with open(path, "rb") as file:
        file.seek(header_offset)
        signature, name, extra = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
        if signature != b"PK\x03\x04":
            raise zipfile.BadZipFile("no member at its place")
        file.seek(name + extra, 1)
        try:
            version = npy.read_magic(file)
            read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = read_header(file)
        except Exception as error:  # the header is Python, of which a damaged one can raise anything
            raise zipfile.BadZipFile("its header is damaged") from error
        return np.memmap(file, dtype, "r", file.tell(), shape, "F" if fortran else "C")


def write_array(path: Path | str, array: np.ndarray, compress: bool = False) -> None:
    """Write `array` under the key `data`, whole or not at all; the bytes are those of np.savez(path, data=array)."""
    with StreamedArray(path, array.shape, array.dtype, compress) as file:
        file.append(array)


class StreamedArray:
    """Write an npz of known shape batch by batch, in constant memory; use as a context manager.

    Byte-identical to `np.savez(path, data=array)` (or savez_compressed), whatever the batches. The file appears
    under its name only when all `shape[0]` rows have come; ValueError otherwise.
    """

    def __init__(
        self, path: Path | str, shape: tuple[int, ...], dtype: np.dtype | type = np.uint8, compress: bool = False
    ) -> None:
        self.path = Path(path)
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self._compression = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
        self._rows = 0
        self._context = self._writing()

    def __enter__(self) -> Self:
        self._member = self._context.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._context.__exit__(kind, error, traceback)

    def append(self, batch: np.ndarray) -> None:
        """Write the next rows: dtype and all dimensions but the first as announced (ValueError)."""
        if batch.shape[1:] != self.shape[1:] or batch.dtype != self.dtype:
            raise ValueError(f"expected rows {self.shape[1:]} of {self.dtype}, got {batch.shape[1:]} of {batch.dtype}")
        self._rows += len(batch)
        self._member.write(np.ascontiguousarray(batch).reshape(-1).view(np.uint8).data)

    @contextmanager
    def _writing(self) -> Iterator[IO[bytes]]:
        with atomic_path(self.path) as temporary, zipfile.ZipFile(temporary, "w", self._compression) as archive:
            with open_member(archive) as member:
                member.write(npy_header(self.shape, self.dtype))
                yield member
            if self._rows != self.shape[0]:
                raise ValueError(f"{self.path}: {self._rows} rows written, {self.shape[0]} announced")


def open_member(archive: zipfile.ZipFile) -> IO[bytes]:
    """The member `data.npy` of an archive for writing, with the header that np.savez gives it."""
    member = zipfile.ZipInfo(MEMBER, EPOCH)
    member.compress_type = archive.compression
    return archive.open(member, "w", force_zip64=True)


def npy_header(shape: tuple[int, ...], dtype: np.dtype | type = np.uint8) -> bytes:
    """The npy header of a C-ordered array: what stands before the pixels."""
    buffer = BytesIO()
    description = {"descr": npy.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": tuple(shape)}
    npy.write_array_header_1_0(buffer, description)
    return buffer.getvalue()


def manifest_path(path: Path | str) -> Path:
    """The JSON manifest that lies beside an npz."""
    return Path(path).with_suffix(".json")


def write_manifest(path: Path | str, facts: Mapping[str, Any], ids: Iterable[str]) -> str:
    """The manifest beside the npz at `path`; the ids are written one by one, since they can be many. Their SHA-256."""
    sha256 = hashlib.sha256()
    with atomic_path(manifest_path(path)) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(json.dumps(stamped("array", facts), indent=2).removesuffix("\n}") + ',\n  "ids": [')
        for row, name in enumerate(ids):
            file.write((",\n    " if row else "\n    ") + json.dumps(name))
            sha256.update(json.dumps(name).encode())
        file.write("\n  ]\n}\n")
    return sha256.hexdigest()


def pixels_sha256(path: Path | str) -> str:
    """SHA-256 of the pixels in the npz at `path`, from the digest beside it, else of the file."""
    digest = content_digest(path)
    return digest.read_text().strip() if digest.is_file() else sha256_of(path)


def read_manifest(path: Path | str) -> Manifest:
    """The manifest beside the npz at `path`; UserError when it is missing or damaged."""
    manifest = manifest_path(path)
    try:
        return cast(Manifest, read_json("array", manifest))
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read {manifest}, the manifest of {path}: {error}; run `snakemake data` again"
        ) from error
