"""Files of torch.save read as plain tensors, and a message for a file that cannot be."""

import re
import warnings
import zipfile
from pathlib import Path

import torch

from vaebench.base.errors import UserError

LONGEST = 300  # characters of a library's message that a user gets to see
HEAD = 512
# How files begin that people take for weights.
KINDS = (
    (
        b"version https://git-lfs",
        "it is a pointer of Git LFS, not the file itself: run `git lfs pull` where it is from",
    ),
    (b"<", "it is a web page or other markup, not the file"),
    (b"{", "it is JSON text"),
    (b"\x93NUMPY", "it is an array of NumPy"),
    (b"\x89HDF", "it is an HDF5 file, as Keras saves them"),
    (b"\x1f\x8b", "it is compressed by gzip: unpack it"),
    (b"BZh", "it is compressed by bzip2: unpack it"),
    (b"\xfd7zXZ", "it is compressed by xz: unpack it"),
)
FORBIDDEN = re.compile(r"GLOBAL ([\w.]+)")  # what a pickle names, in torch's complaint


def load_plain(path: Path) -> object:
    """What `torch.save` wrote, on the CPU, without running code; `UserError` in one line when that cannot be."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or one_line(error)}") from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle can make torch raise anything
        raise UserError(f"{path} cannot be read as plain tensors: {_what_it_is(path, str(error))}") from error


def one_line(error: Exception) -> str:
    """A library's message in one line, cut where it gets long; the name of its type where it has none."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= LONGEST else f"{words[:LONGEST]} ..."


def _what_it_is(path: Path, message: str) -> str:
    """What a file is instead of plain tensors, by its first bytes or by torch's complaint, less its advice."""
    with open(path, "rb") as file:
        head = file.read(HEAD)
    if not head:
        return "it is empty"
    if not any(head):
        return "it begins with zeros: it was never written, or lost"
    for start, kind in KINDS:
        if head.lstrip(b" \t\r\n").startswith(start):
            return kind
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 27:
        return "it is a safetensors file; pythae saves model.pt with torch.save"
    if forbidden := FORBIDDEN.search(message):
        return f"it names code to be run ({forbidden[1]}), which is not done"
    if head.startswith(b"PK"):
        return _what_zip_it_is(path)
    if head.startswith(b"\x80"):
        return "it is a bare pickle, which can run code, or damaged; torch.save writes tensors"
    return "it is damaged, or was not written by torch.save"


def _what_zip_it_is(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, ValueError):
        return "it is cut short or damaged"
    if any(name.endswith("/constants.pkl") for name in names):
        return "it is a TorchScript program, which is code"
    if damaged:
        return f"it is damaged at {damaged}"
    return "it is a zip archive, but torch.save did not write it or its index is damaged"
