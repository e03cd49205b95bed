"""One file of a data set, from the first source that gives it with the right size and checksum."""

import glob
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from vaebench.base.digests import write_digest
from vaebench.base.disk import disk_errors, need_space, read_errors
from vaebench.base.errors import UserError
from vaebench.base.files import atomic_path, md5_of
from vaebench.base.folders import stat_of
from vaebench.download import google_drive, http
from vaebench.download.file_source import DownloadSettings, FileSource
from vaebench.download.transfer import SourceError, Transfer

Bring = Callable[[str, Path, FileSource, DownloadSettings], None]  # from where, to which file
CELEBA_SPLITS = ((0, 162_770), (1, 182_637), (2, 202_599))  # split, its last image


def fetch(file: FileSource, destination: Path, settings: DownloadSettings) -> None:
    """Bring `file` to `destination`.

    The kinds of its places are: drive and drive_folder (an id or a link), url (an http(s) address), path (a file or
    folder here), generate (celeba_partition). A partial file is resumed, and what lies at `destination` already is
    checked like a new one. UserError with the reason of every source when none gives the file; the disk's own trouble
    ends the search at once.
    """
    destination = Path(destination)
    if destination.exists():
        with read_errors(destination):
            fault = _fault(destination, file)
        if fault is None:
            say(f"{destination} is there and is right")
            _remember(destination, file)
            return
        say(f"{destination} is there but {fault}: fetching it again")
    failures = []
    with disk_errors(destination.parent):
        destination.parent.mkdir(parents=True, exist_ok=True)
        for place in file.source:
            kind, where = place.kind, place.where
            say(f"{destination.name}: trying {kind} {place.shown}")
            try:
                _BRING[kind](where, destination, file, settings)
            except SourceError as error:
                failures.append(place.without_password(f"{kind} {where}: {error}"))
                say(failures[-1])
            else:
                say(f"{destination} is complete" + ("" if file.md5 else "; no md5 is given, so it was not checked"))
                _remember(destination, file)
                for left_over in destination.parent.glob(f".{glob.escape(destination.name)}.*"):
                    left_over.unlink()  # of sources that did not give all of it
                return
    why = "; ".join(failures)
    another = any(f"instead of {wanted}" in why for wanted in (file.bytes, file.md5) if wanted is not None)
    advice = f"Or place the file by hand at {destination.absolute()}"
    advice += f" (md5 {file.md5}) and run again." if file.md5 else " and run again."
    if {place.kind for place in file.source} == {"path"}:  # what lies here has a place already
        advice = "Correct the path in the configuration and run again."
    raise UserError(
        f"{destination.name} could not be obtained from any source: {why}. {advice}"
        + (" For another file than the configuration's set its bytes and md5 to null." if another else "")
    )


def say(message: str) -> None:
    """A line in the log."""
    tqdm.write(message, file=sys.stderr)


def celeba_partition() -> bytes:
    """CelebA's list_eval_partition.txt: it is a fixed pattern, images 1..162770 train, ..182637 eval, ..202599 test."""
    lines, first = [], 1
    for split, last in CELEBA_SPLITS:
        lines += [f"{number:06d}.jpg {split}\r\n" for number in range(first, last + 1)]
        first = last + 1
    return "".join(lines).encode()


def _fault(path: Path, file: FileSource) -> str | None:
    """What is wrong with the size or checksum of the file at `path`; None when nothing is."""
    if path.is_dir():
        return None
    size, wanted = path.stat().st_size, file.bytes
    if wanted is not None and size != wanted:
        return f"has {size} bytes instead of {wanted}"
    digest = file.md5 and md5_of(path)
    return f"has the md5 {digest} instead of {file.md5}" if digest != file.md5 else None


def _remember(path: Path, file: FileSource) -> None:
    """Keep the checksum that was just verified, so that the file is not read again for it."""
    if file.md5 and path.is_file():
        with suppress(OSError):  # a shared folder may be read-only
            write_digest(path, file.md5)


def _download(get: Callable[[Transfer, DownloadSettings], None]) -> Bring:
    """A function that downloads by `get` into a partial file, checks it and moves it into place."""

    def fetch_checked(where: str, destination: Path, file: FileSource, settings: DownloadSettings) -> None:
        if file.bytes:
            need_space(destination.parent, file.bytes)
        transfer = Transfer.to(destination, where, file)
        get(transfer, settings)
        fault = _fault(transfer.complete, file)
        if fault is not None:
            transfer.discard()
            raise SourceError(f"what it gave {fault}; it was deleted. It is another file, or was damaged on the way")
        os.replace(transfer.complete, destination)

    return fetch_checked


def _local(where: str, destination: Path, file: FileSource, settings: DownloadSettings) -> None:
    path = Path(where).expanduser().absolute()
    if not path.exists():
        raise SourceError("there is no such file or folder on this machine")
    if not path.is_dir() and stat_of(path) is None:
        raise SourceError("it is neither a file nor a folder")
    try:
        fault = _fault(path, file)
        if path.is_file():
            path.open("rb").close()
    except OSError as error:
        raise SourceError(f"it cannot be read: {error.strerror}") from error
    if fault is not None:
        raise SourceError(f"it {fault}")
    with atomic_path(destination) as temporary:
        temporary.symlink_to(path, target_is_directory=path.is_dir())


def _generate(where: str, destination: Path, file: FileSource, settings: DownloadSettings) -> None:
    with atomic_path(destination) as temporary:
        temporary.write_bytes(celeba_partition())
        fault = _fault(temporary, file)
        if fault is not None:
            raise SourceError(f"what was generated {fault}: this is not CelebA's partition")


_BRING: dict[str, Bring] = {
    "drive": _download(google_drive.download_file),
    "drive_folder": _download(google_drive.download_from_folder),
    "url": _download(http.download),
    "path": _local,
    "generate": _generate,
}
