"""What the Snakefile knows of the places that files come from, without a network and without reading them twice."""

import os
import time
from pathlib import Path

import pytest

from vaebench.base.errors import UserError
from vaebench.base.files import md5_of
from vaebench.base.folders import folder_state
from vaebench.config.completion import load_schema
from vaebench.config.sections import shipped_weights
from vaebench.data import sources
from vaebench.data.sources import content_of, kept_in, origin, weights_places
from vaebench.download.fetch import fetch
from vaebench.download.file_source import DownloadSettings, FileSource

SCHEMA = Path(__file__).parents[2] / "workflow/schemas/config.schema.yaml"


@pytest.fixture
def notes(tmp_path):
    return tmp_path / "downloads/sources.json"


@pytest.fixture
def birds(tmp_path):
    path = tmp_path / "birds.zip"
    path.write_bytes(b"sparrow")
    return path


def described(*places, md5=None):
    return FileSource.of({"file": "birds.zip", "bytes": None, "md5": md5, "source": list(places)})


def test_an_md5_makes_the_source_irrelevant(birds, notes):
    assert origin(described({"path": str(birds)}, md5="0" * 32), notes) is None
    assert kept_in("0" * 32, None) == Path("data/downloads", "0" * 32)
    assert not notes.exists()


def test_without_md5_place_and_content_count(birds, notes, tmp_path):
    first = origin(described({"path": str(birds)}), notes)
    copy = tmp_path / "copy.zip"
    copy.write_bytes(birds.read_bytes())
    assert origin(described({"path": str(birds)}), notes) == first
    assert origin(described({"path": str(copy)}), notes) != first
    assert origin(described({"url": "https://a.example/birds.zip"}), notes) != first
    urls = [origin(described({"url": f"https://{name}.example/birds.zip"}), notes) for name in "ab"]
    assert urls[0] != urls[1]
    folders = {kept_in(None, found) for found in (first, *urls)}
    assert len(folders) == 3


@pytest.mark.parametrize("how", ["written", "under its old date", "moved into its place"])
def test_other_bytes_at_the_same_place_are_noticed(birds, notes, tmp_path, how):
    before, facts = content_of(str(birds), notes), birds.stat()
    time.sleep(0.02)
    if how == "moved into its place":
        (tmp_path / "other").write_bytes(b"SPARROW")
        os.utime(tmp_path / "other", ns=(facts.st_atime_ns, facts.st_mtime_ns))
        (tmp_path / "other").rename(birds)
    else:
        birds.write_bytes(b"SPARROW")
    if how == "under its old date":
        os.utime(birds, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert content_of(str(birds), notes) == md5_of(birds) != before


def test_equal_bytes_and_a_new_date_are_the_same(birds, notes, monkeypatch):
    before = content_of(str(birds), notes)
    birds.write_bytes(b"sparrow")
    assert content_of(str(birds), notes) == before
    monkeypatch.setattr(sources, "md5_of", lambda path: pytest.fail("it was read again"))
    assert content_of(str(birds), notes) == before


def test_a_place_that_is_gone_is_remembered(birds, notes):
    assert content_of(str(birds.with_name("never there")), notes) is None
    before = content_of(str(birds), notes)
    birds.unlink()
    assert content_of(str(birds), notes) == before
    notes.write_text("{damaged")
    assert content_of(str(birds), notes) is None


def test_a_very_large_file_is_not_read(birds, notes, monkeypatch):
    monkeypatch.setattr(sources, "READ_UP_TO", 3)
    monkeypatch.setattr(sources, "md5_of", lambda path: pytest.fail("it was read"))
    before = content_of(str(birds), notes)
    os.utime(birds, (1, 1))
    assert content_of(str(birds), notes) != before


def test_what_is_no_file_is_not_read(notes, tmp_path):
    """A pipe would be waited for without end, a device read without end."""
    os.mkfifo(tmp_path / "pipe")
    assert content_of(str(tmp_path / "pipe"), notes) == content_of("/dev/zero", notes) == "no file"
    assert not notes.exists()
    for place in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(UserError, match="it is neither a file nor a folder"):
            fetch(described({"path": str(place)}), tmp_path / "raw/birds.zip", DownloadSettings(5, 0, None))


def test_a_source_that_cannot_be_read_is_named(notes):
    with pytest.raises(UserError, match="cannot read /proc/self/mem: Input/output error"):
        content_of("/proc/self/mem", notes)


@pytest.mark.parametrize("change", ["edit", "add", "remove", "rename"])
def test_any_file_in_a_folder_counts(tmp_path, change):
    deep = tmp_path / "a/b"
    deep.mkdir(parents=True)
    (deep / "1.jpg").write_bytes(b"one")
    (deep / "2.jpg").write_bytes(b"two")
    os.symlink(tmp_path, deep / "loop")
    before = folder_state(tmp_path)
    assert folder_state(tmp_path) == before
    (deep / ".hidden").touch()
    assert folder_state(tmp_path) == before
    if change == "edit":
        (deep / "1.jpg").write_bytes(b"ONE")
        os.utime(deep / "1.jpg", (1, 1))
    elif change == "add":
        (deep / "3.jpg").touch()
    elif change == "remove":
        (deep / "2.jpg").unlink()
    else:
        (deep / "2.jpg").rename(deep / "3.jpg")
    assert folder_state(tmp_path) != before
    assert content_of(str(tmp_path)) == folder_state(tmp_path)


def test_weights_from_elsewhere_have_a_place_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    defaults = shipped_weights(load_schema(SCHEMA))
    assert weights_places(["vgg16"], defaults, defaults) == {"vgg16": "vgg16"}
    own = tmp_path / "vgg16.pth"
    own.write_bytes(b"1")
    other_places = []
    for settings in (
        {"source": [{"path": str(own)}], "sha256": None},
        {"source": defaults["vgg16"]["source"], "sha256": "397923af"},
        {"source": [{"url": "https://mirror.example/vgg16.pth"}], "sha256": None},
    ):
        other_places.append(weights_places(["vgg16"], defaults | {"vgg16": settings}, defaults)["vgg16"])
    own.write_bytes(b"2")
    settings = {"source": [{"path": str(own)}], "sha256": None}
    other_places.append(weights_places(["vgg16"], defaults | {"vgg16": settings}, defaults)["vgg16"])
    assert len(set(other_places)) == 4
    assert all(place.endswith("/vgg16") for place in other_places)
