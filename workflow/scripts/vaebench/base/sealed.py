"""Files of tensors that prove to be whole: a checksum of what torch wrote stands at their end."""

import os
import pickle
import zlib
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

from vaebench.base.errors import UserError

SEAL = b"\ncrc32 %08x"  # the end of a file: the CRC-32 of what comes before, three times as fast as SHA-256
SEAL_BYTES = len(SEAL % 0)
BLOCK = 1 << 20


class Damaged(Exception):
    """A file is not as it was written; the message says in which way."""


def save_sealed(content: object, path: Path) -> None:
    """`torch.save` to a new file, its checksum at the end; torch reads it as if that were not there."""
    with open(path, "wb") as file:
        summing = _Summing(file)
        torch.save(content, cast(IO[bytes], summing))  # torch calls no more of it than write and flush
        file.write(SEAL % summing.crc)
        file.flush()
        os.fsync(file.fileno())


def load_sealed(path: Path) -> dict[str, Any]:
    """What `save_sealed` wrote, as plain data on the CPU.

    Raises FileNotFoundError, `Damaged` when it is not whole, and `UserError` when the system refuses to read it.
    """
    try:
        _check_seal(path)
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return content
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"torch cannot read it ({type(error).__name__})") from error


def _check_seal(path: Path) -> None:
    """Raise `Damaged` unless the file ends with the checksum of what comes before."""
    left = path.stat().st_size - SEAL_BYTES
    if left <= 0:
        raise Damaged("it is cut short" if left > -SEAL_BYTES else "it is empty")
    crc = 0
    with open(path, "rb") as file:
        while left and (block := file.read(min(BLOCK, left))):
            crc = zlib.crc32(block, crc)
            left -= len(block)
        seal = file.read()
    if seal[:-8] != SEAL[: SEAL_BYTES - 8]:
        raise Damaged("it has no checksum at its end")
    if seal != SEAL % crc:
        raise Damaged("its checksum does not fit its content")


class _Summing:
    """A file that is written to, and the CRC-32 of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.crc = 0

    def write(self, data: bytes) -> int:
        self.crc = zlib.crc32(data, self.crc)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()
