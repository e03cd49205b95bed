"""Where the files of a study come from, and whether what lies there is still what the study was made from.

The Snakefile reads this module on every start: nothing here touches the network, and what has not changed is not read.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict

from vaebench.base.disk import disk_errors, read_errors
from vaebench.base.files import atomic_path, md5_of
from vaebench.base.folders import folder_state, stat_of
from vaebench.download.file_source import FileSource, Place

READ_UP_TO = 4 << 30  # bytes; of larger files on this machine size and date have to do
DOWNLOADS = Path("data/downloads")
NOTES = DOWNLOADS / "sources.json"
Origin = list[str | None]  # kind and place of a source, and of a path what lies there
WeightsSection = Mapping[str, Any]  # by network: source, a list of {kind: where}, and sha256


class Note(TypedDict):
    """What was at a path: size, times of content and entry (ns), inode; and the md5, or what stands for it."""

    state: list[int]
    content: str


def origin(file: FileSource, notes: Path = NOTES) -> list[Origin] | None:
    """What a file without an md5 depends on: the kind and place of each source, and what lies at a path here now.

    None for a file with an md5, which proves the content wherever it comes from.
    """
    return None if file.md5 else origins(file.source, notes)


def origins(places: Iterable[Place], notes: Path = NOTES) -> list[Origin]:
    """Kind and place of each source, and what lies at a path on this machine now."""
    found: list[Origin] = []
    for place in places:
        found.append([place.kind, place.shown, *([content_of(place.where, notes)] if place.kind == "path" else [])])
    return found


def content_of(where: str, notes: Path = NOTES) -> str | None:
    """The md5 of the file at `where`; of one above 4 GB its size and date, of a folder those of all its files.

    A file is read again only when it was written to. Of a place that is gone this is what `notes` say was there last.
    """
    path = Path(where).expanduser()
    if path.is_dir():
        return folder_state(path)
    known = _read(notes)
    noted = known.get(where)
    if not path.exists():
        return noted["content"] if noted else None
    facts = stat_of(path)
    if facts is None:
        return "no file"
    state = [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
    if noted is None or noted["state"] != state:
        large = facts.st_size > READ_UP_TO
        with read_errors(path):
            content = f"{facts.st_size} bytes of {facts.st_mtime_ns} ns" if large else md5_of(path)
        noted = {"state": state, "content": content}
        with disk_errors(notes.parent), atomic_path(notes) as temporary:
            temporary.write_text(json.dumps(known | {where: noted}, indent=2) + "\n")
    return noted["content"]


def kept_in(md5: str | None, origin: list[Origin] | None, downloads: Path = DOWNLOADS) -> Path:
    """The folder that keeps a downloaded file: one for each md5, else one for each `origin`."""
    return downloads / (md5 or _short(origin))


def weights_places(
    networks: Iterable[str], weights: WeightsSection, shipped: WeightsSection, notes: Path = NOTES
) -> dict[str, str]:
    """Place and network of the weights that a study uses, by network: `vgg16`, or `1a2b3c4d/vgg16` from elsewhere.

    `weights` is that section of the configuration, `shipped` are its defaults, which know no network of a plugin.
    """
    places = {}
    for network in networks:
        settings = weights[network]
        source = [origins(Place.all_of(settings["source"]), notes), settings["sha256"]]
        places[network] = network if settings == shipped.get(network) else f"{_short(source)}/{network}"
    return places


def _short(origin: object) -> str:
    return hashlib.sha256(json.dumps(origin).encode()).hexdigest()[:8]


def _read(notes: Path) -> dict[str, Note]:
    try:
        content: dict[str, Note] = json.loads(notes.read_text())
        return content
    except (OSError, ValueError):
        return {}
