"""A file as the configuration describes it: what proves its content, and where it comes from.

The Snakefile reads this module, so that nothing heavy is imported here.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from vaebench.base.values import from_dict


@dataclass(frozen=True)
class Place:
    """One source: its kind (drive, drive_folder, url, path, generate, package) and what names the file there."""

    kind: str
    where: str

    @property
    def shown(self) -> str:
        """`where` without the user and password that an address may have."""
        return re.sub(r"^(https?://)[^/?#]*@", r"\1", self.where)

    def without_password(self, text: str) -> str:
        """A text about this place, for a log."""
        return text.replace(self.where, self.shown)

    @classmethod
    def all_of(cls, sources: Iterable[Mapping[str, str]]) -> tuple[Self, ...]:
        """Those of a list of {kind: where}, as the configuration writes it."""
        return tuple(cls(*next(iter(source.items()))) for source in sources)


@dataclass(frozen=True)
class FileSource:
    """A file by name, its bytes and md5 (None: not checked), and its sources, which are tried in order."""

    file: str
    bytes: int | None
    md5: str | None
    source: tuple[Place, ...]

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> Self:
        """The file of a block such as dataset.images; UserError for a key that is unknown or missing."""
        return from_dict(cls, {**block, "source": Place.all_of(block.get("source", ()))})

    @property
    def paths(self) -> tuple[Path, ...]:
        """Its sources on this machine."""
        return tuple(Path(place.where).expanduser() for place in self.source if place.kind == "path")

    def why_not_here(self) -> str | None:
        """Why no source gives the file, where all are paths of this machine; None where one is there, or elsewhere."""
        if not self.source:
            return "no source is given"
        if len(self.paths) < len(self.source) or any(path.exists() for path in self.paths):
            return None
        return f"there is no {' and no '.join(map(str, self.paths))}; correct the path"

    @property
    def identity(self) -> dict[str, str | int | None]:
        """What says which file it is, wherever it comes from."""
        return {"bytes": self.bytes, "file": self.file, "md5": self.md5}


@dataclass(frozen=True)
class WeightsSource:
    """A section of `weights`: the sources of a file, tried in order, and the start of its SHA-256 (None: any)."""

    source: tuple[Place, ...]
    sha256: str | None = None

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Self:
        """The file of a section such as weights.vgg16; UserError for a key that is unknown or missing."""
        return from_dict(cls, {**section, "source": Place.all_of(section["source"])})


@dataclass(frozen=True)
class DownloadSettings:
    """The section `download`: a timeout in seconds, how often to try again, a file of cookies for Google Drive."""

    timeout: float
    retries: int
    cookies: str | None
