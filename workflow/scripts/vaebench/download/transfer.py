"""What the ways to download share: where the partial file is, the progress bar, the kinds of failure."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tqdm import tqdm

from vaebench.download.file_source import FileSource

ShowProgress = Callable[[int, int | None], None]  # bytes so far, bytes in all if known


class SourceError(Exception):
    """A source did not give the file: the message says why and what to do. The next source is tried."""


@dataclass(frozen=True)
class Transfer:
    """A download under way from `where`; one source's partial file is never continued from another."""

    where: str
    name: str  # of the file that is wanted
    complete: Path  # what has come in full, still to be checked
    partial: Path
    trusted: bool  # a checksum will tell whether a resumed file is right
    size: int | None  # bytes that the file must have, if the configuration says so

    @classmethod
    def to(cls, destination: Path, where: str, file: FileSource) -> Self:
        """The transfer of `file` from `where`, with its temporary names beside `destination`."""
        source = hashlib.sha256(where.encode()).hexdigest()[:8]
        complete = destination.with_name(f".{destination.name}.{source}")
        partial = complete.with_name(f"{complete.name}.part")
        return cls(where, destination.name, complete, partial, bool(file.md5), file.bytes)

    @property
    def received(self) -> int:
        """Bytes in the partial file."""
        return self.partial.stat().st_size if self.partial.exists() else 0

    def discard(self) -> None:
        """Delete everything that was received."""
        for path in self.complete.parent.glob(f"{self.complete.name}*"):
            path.unlink()

    @contextmanager
    def progress(self) -> Iterator[ShowProgress]:
        """A progress bar with rate and remaining time, as a function of (bytes so far, bytes in all or None)."""
        with tqdm(unit="B", unit_scale=True, unit_divisor=1000, desc=self.name) as bar:

            def update(so_far: int, total: int | None) -> None:
                if bar.n == 0:
                    bar.initial = so_far  # resumed bytes do not count in the rate
                bar.total = total
                bar.update(so_far - bar.n)

            yield update
