"""Small files that stand for large ones: Snakemake compares inputs up to 1 MB by content, larger ones only by date.

A rule that writes a large file writes its digest beside it, and a rule that reads the large file depends on the digest.
A new date alone (a copied checkout, a file written again with equal bytes) makes nothing stale, and other bytes do.
"""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from vaebench.base.disk import disk_errors, read_errors
from vaebench.base.errors import UserError
from vaebench.base.files import atomic_path, md5_of, sha256_of
from vaebench.base.formats import read_json


def digest_path(path: Path | str) -> Path:
    """The digest of a file: `faces.zip.md5` beside `faces.zip`."""
    path = Path(path)
    return path.with_name(f"{path.name}.md5")


def write_digest(path: Path | str, md5: str | None = None) -> None:
    """Write the digest beside the file, as md5sum prints it; `md5` is the file's, if it is known already."""
    path = Path(path)
    digest = digest_path(path)
    _write(digest, [(md5 or md5_of(path), path)])
    for _ in range(5):  # the clock of file systems moves every few milliseconds: the digest shall be the younger
        if _is_current(path, digest):
            break
        time.sleep(0.005)
        os.utime(digest)


def write_digests(target: Path | str, files: Iterable[Path | str]) -> None:
    """Write `target` with a line for each of the files."""
    _write(Path(target), [(md5_of(file), Path(file)) for file in files])


def known_md5(path: Path) -> str:
    """The md5 in the digest beside the file if that is current, or else computed."""
    digest = digest_path(path)
    with read_errors(path):
        return (_is_current(path, digest) and read_digest(digest)) or md5_of(path)


def read_digest(digest: Path) -> str | None:
    """The first checksum in a digest file; None when there is none."""
    with suppress(OSError):
        return digest.read_text().partition(" ")[0] or None
    return None


def renew_digest(path: Path, wanted: str | None = None) -> None:
    """Let the digest of a file tell what is in it now; a file that was not written to since is not read.

    `wanted` is the md5 that the configuration gives for the file, if any. UserError when the file has another.
    """
    if not path.is_file() or _is_current(path, digest_path(path)):
        return
    with read_errors(path):
        md5 = md5_of(path)
    if wanted and md5 != wanted:
        raise UserError(
            f"{path} has been changed: its md5 is {md5}, the configuration gives {wanted}. Delete it and run again"
        )
    if md5 == read_digest(digest_path(path)):
        os.utime(digest_path(path))
    else:
        with disk_errors(path.parent):
            write_digest(path, md5)


def content_digest(path: Path | str, kind: str = "pixels") -> Path:
    """The small file beside an npz with the SHA-256 of its `pixels`, stored or compressed, or of the images' `ids`."""
    return Path(path).with_suffix(f".{kind}.sha256")


def check_unchanged(path: Path) -> None:
    """UserError when the npz at `path` was written to after preprocessing, and is not what its manifest says."""
    digest, manifest = content_digest(path), path.with_suffix(".json")
    if not path.is_file() or not manifest.is_file() or _is_current(path, digest):
        return
    with read_errors(path):
        sha256 = sha256_of(path)
    if sha256 != read_json("array", manifest)["sha256"]:
        raise UserError(
            f"{path} is not what preprocessing wrote: it was changed or damaged. Delete it; the next run that needs "
            "it makes it again"
        )
    digest.touch()


def _is_current(path: Path, digest: Path) -> bool:
    """Whether the digest is younger than the last change of the file.

    That time, unlike the date of the content, is set by the system: a file with an old date that was put in the
    place of another is noticed.
    """
    return digest.is_file() and digest.stat().st_mtime_ns > path.stat().st_ctime_ns


def _write(target: Path, lines: Iterable[tuple[str, Path]]) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("".join(f"{md5}  {path.name}\n" for md5, path in lines))
