"""Digests beside large files: read again only when the file was written to, whatever date it bears."""

import hashlib
import os
import time

import numpy as np
import pytest

from vaebench.base.digests import (
    check_unchanged,
    content_digest,
    digest_path,
    known_md5,
    read_digest,
    renew_digest,
    write_digest,
    write_digests,
)
from vaebench.base.errors import UserError
from vaebench.base.npz import write_array, write_manifest

OLD = 1_000_000_000


@pytest.fixture
def file(tmp_path):
    """A file with its digest, both older than the next write."""
    path = tmp_path / "faces.zip"
    path.write_bytes(b"content")
    time.sleep(0.02)  # the clock of file systems moves every few milliseconds
    write_digest(path)
    time.sleep(0.02)
    return path


def md5(content):
    return hashlib.md5(content).hexdigest()


def test_a_digest_is_what_md5sum_prints(file):
    assert digest_path(file).read_text() == f"{md5(b'content')}  faces.zip\n"
    assert read_digest(digest_path(file)) == md5(b"content")
    write_digests(file.with_name("all.md5"), [file, digest_path(file)])
    assert len(file.with_name("all.md5").read_text().splitlines()) == 2


def test_a_file_that_was_not_written_to_is_not_read(file, monkeypatch):
    monkeypatch.setattr("vaebench.base.digests.md5_of", lambda path: pytest.fail("it was read"))
    renew_digest(file)


def test_a_digest_is_current_at_once(tmp_path):
    for number in range(20):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(b"content")
        write_digest(path, "known")
        assert known_md5(path) == "known"


def test_a_known_md5_holds_until_the_file_changes(file):
    write_digest(file, "known")
    assert known_md5(file) == "known"
    before = file.stat()
    time.sleep(0.02)
    file.write_bytes(b"CONTENT")  # of the same size
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert known_md5(file) == md5(b"CONTENT")
    digest_path(file).write_text("")
    assert known_md5(file) == md5(b"CONTENT")
    digest_path(file).unlink()
    assert known_md5(file) == md5(b"CONTENT")


@pytest.mark.parametrize("how", ["written", "under its old date", "moved into its place", "touched"])
def test_other_bytes_are_noticed(file, tmp_path, how):
    before, digest = file.stat(), digest_path(file).read_bytes()
    if how == "touched":
        os.utime(file)
    elif how == "moved into its place":
        (tmp_path / "other").write_bytes(b"CONTENT")
        os.utime(tmp_path / "other", (OLD, OLD))
        digest_path(file).touch()
        time.sleep(0.02)
        (tmp_path / "other").rename(file)
    else:
        file.write_bytes(b"CONTENT")
    if how == "under its old date":
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    renew_digest(file)
    if how == "touched":
        assert digest_path(file).read_bytes() == digest
    else:
        assert read_digest(digest_path(file)) == md5(b"CONTENT")


def test_a_copy_is_read_once(file, monkeypatch):
    os.utime(digest_path(file), (OLD, OLD))  # as cp leaves it beside a file that came later
    renew_digest(file)
    monkeypatch.setattr("vaebench.base.digests.md5_of", lambda path: pytest.fail("it was read again"))
    renew_digest(file)


def test_a_file_without_a_digest_gets_one(file):
    digest_path(file).unlink()
    renew_digest(file)
    assert read_digest(digest_path(file)) == md5(b"content")
    renew_digest(file.with_name("absent"))
    assert not digest_path(file.with_name("absent")).exists()


def test_a_file_that_the_configuration_knows_better_is_refused(file):
    renew_digest(file, md5(b"content"))
    file.write_bytes(b"CONTENT")
    with pytest.raises(UserError, match=f"faces.zip has been changed: its md5 is {md5(b'CONTENT')}.*Delete it"):
        renew_digest(file, md5(b"content"))
    assert read_digest(digest_path(file)) == md5(b"content")


def test_an_array_that_was_changed_by_hand_stops_the_plan(tmp_path):
    path = tmp_path / "train_data.npz"
    write_array(path, np.zeros((2, 1, 4, 4), np.uint8))
    write_manifest(path, {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}, ["a.png", "b.png"])
    content_digest(path).write_text("pixels\n")
    os.utime(content_digest(path), (OLD, OLD))
    check_unchanged(path)
    assert content_digest(path).stat().st_mtime > OLD
    assert content_digest(path).read_text() == "pixels\n"
    time.sleep(0.02)
    write_array(path, np.ones((2, 1, 4, 4), np.uint8))
    with pytest.raises(UserError, match=r"train_data\.npz is not what preprocessing wrote.*Delete it"):
        check_unchanged(path)
    path.unlink()
    check_unchanged(path)
