"""Where the files of a study come from, and whether what lies there is still what the study was made from.

The Snakefile reads this module on every start: nothing here touches the network, and what has not changed is not read.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vaebench.base.disk import read_errors
from vaebench.base.files import atomic_path, md5_of
from vaebench.base.folders import facts_of, folder_state

READ_UP_TO = 4 << 30  # bytes; of larger files on this machine size and date have to do
DOWNLOADS = Path("data/downloads")
NOTES = DOWNLOADS / "sources.json"


def origin(file: Mapping, notes: Path = NOTES) -> list | None:
    """What a file without an md5 depends on: the kind and place of each source, and what lies at a path here now.

    None for a file with an md5, which proves the content wherever it comes from.
    """
    return None if file.get("md5") else origins(file["source"], notes)


def origins(sources: Sequence[Mapping], notes: Path = NOTES) -> list:
    """Kind and place of each source, and what lies at a path on this machine now."""
    found = []
    for source in sources:
        ((kind, where),) = source.items()
        found.append([kind, where, *([content_of(where, notes)] if kind == "path" else [])])
    return found


def content_of(where: str, notes: Path = NOTES) -> str | None:
    """The md5 of the file at `where`; of one above 4 GB its size and date, of a folder those of all its files.

    A file is read again only when it was written to. Of a place that is gone this is what `notes` say was there last.
    """
    path = Path(where).expanduser()
    if path.is_dir():
        return folder_state(path)
    known = _read(notes)
    noted = known.get(where, {})
    if not path.exists():
        return noted.get("content")
    facts = facts_of(path)
    if facts is None:
        return "no file"
    state = [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
    if noted.get("state") != state:
        large = facts.st_size > READ_UP_TO
        with read_errors(path):
            content = f"{facts.st_size} bytes of {facts.st_mtime_ns} ns" if large else md5_of(path)
        noted = {"state": state, "content": content}
        with atomic_path(notes) as temporary:
            temporary.write_text(json.dumps(known | {where: noted}, indent=2) + "\n")
    return noted["content"]


def kept_in(file: Mapping, downloads: Path = DOWNLOADS) -> Path:
    """The folder that keeps a downloaded file: one for each md5, else one for each `origin`."""
    return downloads / (file.get("md5") or _short(file["origin"]))


def weights_places(networks: Iterable[str], weights: Mapping, shipped: Mapping, notes: Path = NOTES) -> dict[str, str]:
    """Place and network of the weights that a study uses, by network: `vgg16`, or `1a2b3c4d/vgg16` from elsewhere.

    `weights` is that section of the configuration, `shipped` are its defaults.
    """
    places = {}
    for network in networks:
        settings = weights[network]
        source = [origins(settings["source"], notes), settings["sha256"]]
        places[network] = network if settings == shipped[network] else f"{_short(source)}/{network}"
    return places


def _short(origin: object) -> str:
    return hashlib.sha256(json.dumps(origin).encode()).hexdigest()[:8]


def _read(notes: Path) -> dict:
    try:
        return json.loads(notes.read_text())
    except (OSError, ValueError):
        return {}
