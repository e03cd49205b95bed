"""The download against a Drive on this machine; gdown is the installed one, untouched."""

import hashlib
import os
import random
import resource
from contextlib import contextmanager
from dataclasses import replace

import pytest
from fake_drive import FakeDrive, FakeFile

from vaebench.base.digests import known_md5
from vaebench.base.errors import UserError
from vaebench.download.fetch import celeba_partition, fetch
from vaebench.download.file_source import DownloadSettings, FileSource

BODY = random.Random(0).randbytes(1_500_000)
MD5 = hashlib.md5(BODY).hexdigest()
ID = "0B7EVK8r0v71pZjFTYXZWM3FlRnM"
SETTINGS = DownloadSettings(timeout=5, retries=0, cookies=None)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with FakeDrive(tmp_path_factory.mktemp("fake_drive")) as drive:
        yield drive


@pytest.fixture
def drive(server, monkeypatch):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_PROXY", "no_proxy", "https_proxy", "ALL_PROXY", "all_proxy", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    server.files.clear()
    server.requests.clear()
    return server


def block(*sources, **changes):
    return FileSource.of({"file": "images.zip", "bytes": len(BODY), "md5": MD5, "source": list(sources)} | changes)


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".md5")


@contextmanager
def largest_file(size):
    """Writing past `size` bytes fails with "File too large", which stands for a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", ["direct", "confirm"])
def test_a_drive_file_arrives_whole(drive, tmp_path, kind):
    drive.files[ID] = FakeFile(kind, BODY)
    fetch(block({"drive": ID}), tmp_path / "images.zip", SETTINGS)
    assert (tmp_path / "images.zip").read_bytes() == BODY
    assert leftovers(tmp_path) == ["images.zip"]


def test_a_drive_link_is_as_good_as_an_id(drive, tmp_path):
    drive.files[ID] = FakeFile(body=BODY)
    fetch(block({"drive": f"https://drive.google.com/file/d/{ID}/view?usp=sharing"}), tmp_path / "images.zip", SETTINGS)
    assert (tmp_path / "images.zip").read_bytes() == BODY


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (FakeFile("quota"), ["quota", "24 hours", "cookies", "copy", "mirror"]),
        (FakeFile("quota", status=403), ["quota", "24 hours", "cookies", "copy", "mirror"]),
        (FakeFile("signin"), ["sign-in", "anyone with the link", "cookies"]),
        (FakeFile("status", status=404), ["404", "check the id"]),
        (FakeFile("status", status=429), ["429", "wait"]),
        (FakeFile("status", status=503), ["503", "later"]),
        (FakeFile("html"), ["without a download link", "browser"]),
    ],
    ids=["quota-200", "quota-403", "sign-in", "404", "429", "503", "html"],
)
def test_each_refusal_says_what_to_do_and_leaves_nothing(drive, tmp_path, file, words):
    drive.files[ID] = file
    with pytest.raises(UserError) as error:
        fetch(block({"drive": ID}), tmp_path / "images.zip", SETTINGS)
    message = str(error.value)
    assert all(word in message for word in [*words, "by hand", str(tmp_path / "images.zip"), MD5]), message
    assert leftovers(tmp_path) == []


def test_a_file_of_cookies_that_is_not_there_is_named(drive, tmp_path, monkeypatch):
    """gdown goes on without them, and the quota's message asks for them again."""
    monkeypatch.setenv("HOME", str(tmp_path))
    drive.files[ID] = FakeFile(body=BODY)
    with_cookies = replace(SETTINGS, cookies="~/cookies.txt")
    with pytest.raises(UserError, match=rf"download\.cookies: there is no file {tmp_path}/cookies\.txt"):
        fetch(block({"drive": ID}), tmp_path / "images.zip", with_cookies)
    (tmp_path / "cookies.txt").write_text("# Netscape HTTP Cookie File\n")
    fetch(block({"drive": ID}), tmp_path / "images.zip", with_cookies)
    assert (tmp_path / "images.zip").read_bytes() == BODY


def test_messages_differ(drive, tmp_path):
    messages = set()
    for file in (FakeFile("quota"), FakeFile("signin"), FakeFile("status", status=404), FakeFile("status", status=429)):
        drive.files[ID] = file
        with pytest.raises(UserError) as error:
            fetch(block({"drive": ID}), tmp_path / "images.zip", SETTINGS)
        messages.add(str(error.value))
    assert len(messages) == 4


def test_too_many_requests_are_waited_out(drive, tmp_path, monkeypatch):
    drive.files[ID] = FakeFile("status", status=429)
    monkeypatch.setattr(
        "vaebench.download.google_drive.time.sleep", lambda seconds: drive.files.update({ID: FakeFile(body=BODY)})
    )
    fetch(block({"drive": ID}), tmp_path / "images.zip", replace(SETTINGS, retries=1))
    assert (tmp_path / "images.zip").read_bytes() == BODY


def test_a_body_cut_short_is_kept_and_resumed(drive, tmp_path):
    drive.files[ID] = FakeFile("confirm", BODY, cuts=1)
    with pytest.raises(UserError, match=r"ended early.*kept"):
        fetch(block({"drive": ID}), tmp_path / "images.zip", SETTINGS)
    (partial,) = tmp_path.iterdir()
    assert partial.suffix == ".part"
    assert 0 < partial.stat().st_size < len(BODY)
    half = partial.stat().st_size
    fetch(block({"drive": ID}), tmp_path / "images.zip", SETTINGS)
    assert (tmp_path / "images.zip").read_bytes() == BODY
    assert f"bytes={half}-" in [span for _, _, span in drive.requests]
    assert leftovers(tmp_path) == ["images.zip"]


def test_a_body_cut_short_is_resumed_within_a_run(drive, tmp_path):
    drive.files[ID] = FakeFile("direct", BODY, cuts=1)
    fetch(block({"drive": ID}), tmp_path / "images.zip", replace(SETTINGS, retries=1))
    assert (tmp_path / "images.zip").read_bytes() == BODY


def test_a_partial_file_that_does_not_fit_is_dropped(drive, tmp_path, monkeypatch):
    monkeypatch.setattr("vaebench.download.google_drive.time.sleep", lambda seconds: None)
    drive.files[ID] = FakeFile("direct", BODY, cuts=1)
    with pytest.raises(UserError):
        fetch(block({"drive": ID}), tmp_path / "images.zip", SETTINGS)
    (partial,) = tmp_path.iterdir()
    partial.write_bytes(BODY + b"too long")
    fetch(block({"drive": ID}), tmp_path / "images.zip", replace(SETTINGS, retries=1))
    assert (tmp_path / "images.zip").read_bytes() == BODY


@pytest.mark.parametrize("source", [{"drive": ID}, {"url": f"https://mirror.example/{ID}"}])
def test_a_wrong_md5_is_an_error_and_the_file_is_gone(drive, tmp_path, source):
    drive.files[ID] = FakeFile(body=BODY[::-1])
    with pytest.raises(UserError, match=f"md5 {hashlib.md5(BODY[::-1]).hexdigest()} instead of {MD5}"):
        fetch(block(source), tmp_path / "images.zip", SETTINGS)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("source", [{"drive": ID}, {"url": f"https://mirror.example/{ID}"}])
def test_a_full_disk_is_one_clear_error(drive, tmp_path, source):
    drive.files[ID] = FakeFile(body=BODY)
    with largest_file(600_000), pytest.raises(UserError, match=r"no space left.*free some space"):
        fetch(block(source, {"path": "/nowhere"}), tmp_path / "images.zip", SETTINGS)
    assert not (tmp_path / "images.zip").exists()


def test_a_disk_that_is_too_small_is_noticed_before_anything_is_asked_for(drive, tmp_path):
    with pytest.raises(UserError, match="are needed"):
        fetch(block({"drive": ID}, bytes=10**18), tmp_path / "images.zip", SETTINGS)
    assert drive.requests == []


def test_the_next_source_is_tried_and_the_first_is_named_when_all_fail(drive, tmp_path):
    other = "1zmsC4yvw-e089uHXj5EdP0BSZ0AlDQRR"
    drive.files |= {ID: FakeFile("quota"), other: FakeFile("confirm", BODY)}
    fetch(block({"drive": ID}, {"drive": other}), tmp_path / "images.zip", SETTINGS)
    assert (tmp_path / "images.zip").read_bytes() == BODY
    (tmp_path / "images.zip").unlink()
    with pytest.raises(UserError, match=r"(?s)drive 0B7.*quota.*path /nowhere.*no such file"):
        fetch(block({"drive": ID}, {"path": "/nowhere"}), tmp_path / "images.zip", SETTINGS)


def test_a_file_in_a_drive_folder(drive, tmp_path):
    folder = "0B7EVK8r0v71pWEZsZE9oNnFzTm8"
    drive.folders[folder] = {"README.txt": "1" * 28, "images.zip": ID}
    drive.files[ID] = FakeFile("confirm", BODY)
    link = f"https://drive.google.com/drive/folders/{folder}?usp=sharing"
    fetch(block({"drive_folder": link}), tmp_path / "images.zip", SETTINGS)
    assert (tmp_path / "images.zip").read_bytes() == BODY
    with pytest.raises(UserError, match=r"holds no file called labels\.txt, but README\.txt, images\.zip"):
        fetch(block({"drive_folder": folder}, file="labels.txt"), tmp_path / "labels.txt", SETTINGS)
    with pytest.raises(UserError, match="404"):
        fetch(block({"drive_folder": "2" * 28}), tmp_path / "other.zip", SETTINGS)


def test_a_mirror_is_streamed_resumed_and_retried(drive, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr("vaebench.download.http.time.sleep", waits.append)
    drive.files["celeba.zip"] = FakeFile(body=BODY, cuts=3)
    url = {"url": "https://mirror.example/celeba.zip"}
    with pytest.raises(UserError, match=r"in 2 attempts.*bytes are kept"):
        fetch(block(url), tmp_path / "images.zip", replace(SETTINGS, retries=1))
    fetch(block(url), tmp_path / "images.zip", replace(SETTINGS, retries=5))
    assert (tmp_path / "images.zip").read_bytes() == BODY
    assert waits == [1, 1]
    spans = [span for _, _, span in drive.requests]
    assert spans[0] is None
    assert all(span.startswith("bytes=") for span in spans[1:])


def test_a_mirror_without_ranges_starts_again(drive, tmp_path, monkeypatch):
    monkeypatch.setattr("vaebench.download.http.time.sleep", lambda seconds: None)
    drive.files["celeba.zip"] = FakeFile(body=BODY, cuts=1, ranges=False)
    fetch(block({"url": "https://mirror.example/celeba.zip"}), tmp_path / "images.zip", replace(SETTINGS, retries=1))
    assert (tmp_path / "images.zip").read_bytes() == BODY


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (FakeFile("html"), "HTML page"),
        (FakeFile("direct", b"\n <!DOCTYPE html><html>blocked by the proxy</html>"), "HTML page"),
        (FakeFile("status", status=404), "404.*check the address"),
        (FakeFile("status", status=403), "403.*mirror"),
        (FakeFile("status", status=401), "sign-in"),
        (FakeFile("status", status=429), "429.*wait"),
        (FakeFile("status", status=500), "500"),
    ],
)
@pytest.mark.parametrize("checked", [True, False])
def test_a_page_from_a_mirror_is_never_taken_for_the_file(drive, tmp_path, file, words, checked):
    drive.files["celeba.zip"] = file
    unknown = {} if checked else {"md5": None, "bytes": None}
    with pytest.raises(UserError, match=words):
        fetch(block({"url": "https://mirror.example/celeba.zip"}, **unknown), tmp_path / "images.zip", SETTINGS)
    assert not (tmp_path / "images.zip").exists()


def test_no_network_says_where_to_download(monkeypatch, tmp_path):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    for source in ({"drive": ID}, {"url": "https://mirror.example/celeba.zip"}):
        with pytest.raises(UserError, match="login node"):
            fetch(block(source), tmp_path / "images.zip", SETTINGS)


def test_a_local_file_is_checked_and_linked(tmp_path):
    given, destination = tmp_path / "mine.zip", tmp_path / "raw" / "images.zip"
    given.write_bytes(BODY)
    fetch(block({"path": str(given)}), destination, SETTINGS)
    assert destination.read_bytes() == BODY
    destination.unlink()
    given.write_bytes(BODY[:-1])
    with pytest.raises(UserError, match=r"1499999 bytes instead of 1500000.*set its bytes and md5 to null"):
        fetch(block({"path": str(given)}), destination, SETTINGS)


def test_a_local_file_that_cannot_be_read_is_no_source(tmp_path, monkeypatch):
    given = tmp_path / "mine.zip"
    given.write_bytes(BODY)

    def refuse(path, *arguments):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("vaebench.download.fetch.Path.open", refuse)
    with pytest.raises(UserError, match=r"path /.*mine\.zip: it cannot be read: Permission denied"):
        fetch(block({"path": str(given)}, md5=None), tmp_path / "raw" / "images.zip", SETTINGS)


def test_a_path_that_is_wrong_is_to_be_corrected(tmp_path):
    """Whoever mistyped the folder of their photographs is not told to put CelebA's zip somewhere."""
    with pytest.raises(
        UserError, match=r"mine: there is no such .*\. Correct the path in the configuration"
    ) as failure:
        fetch(block({"path": str(tmp_path / "mine")}), tmp_path / "raw" / "images.zip", SETTINGS)
    assert "by hand" not in str(failure.value)
    with pytest.raises(UserError, match="by hand"):
        fetch(block(), tmp_path / "raw" / "images.zip", SETTINGS)


def test_a_local_folder_of_images(tmp_path):
    (tmp_path / "mine").mkdir()
    fetch(block({"path": str(tmp_path / "mine")}, bytes=None, md5=None), tmp_path / "raw" / "images", SETTINGS)
    assert (tmp_path / "raw" / "images").is_dir()


def test_what_is_there_is_kept_when_right_and_replaced_when_wrong(drive, tmp_path):
    drive.files[ID] = FakeFile(body=BODY)
    destination = tmp_path / "images.zip"
    destination.write_bytes(BODY)
    fetch(block({"drive": ID}), destination, SETTINGS)
    assert drive.requests == []
    before = destination.stat()
    destination.write_bytes(BODY[::-1])
    os.utime(destination, ns=(before.st_atime_ns, before.st_mtime_ns))  # what was remembered of it is not trusted here
    fetch(block({"drive": ID}), destination, SETTINGS)
    assert destination.read_bytes() == BODY


@pytest.mark.parametrize("kind", ["drive", "path", "there"])
def test_the_checksum_that_was_found_right_is_remembered(drive, tmp_path, monkeypatch, kind):
    drive.files[ID] = FakeFile(body=BODY)
    given, destination = tmp_path / "mine.zip", tmp_path / "raw" / "images.zip"
    destination.parent.mkdir()
    given.write_bytes(BODY)
    if kind == "there":
        destination.write_bytes(BODY)
    fetch(block({"path": str(given)} if kind == "path" else {"drive": ID}), destination, SETTINGS)
    monkeypatch.setattr("vaebench.base.digests.md5_of", lambda path: f"read {path.name}")
    assert known_md5(destination) == MD5
    given.write_bytes(BODY[:-1])
    assert known_md5(destination) == ("read images.zip" if kind == "path" else MD5)


def test_without_a_checksum_nothing_is_remembered(drive, tmp_path):
    drive.files[ID] = FakeFile(body=BODY)
    fetch(block({"drive": ID}, md5=None), tmp_path / "images.zip", SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["images.zip"]


def test_what_another_source_gave_in_part_is_gone_when_a_file_is_there(drive, tmp_path):
    drive.files |= {"one.zip": FakeFile("direct", BODY, cuts=1), "two.zip": FakeFile("direct", BODY)}
    urls = [{"url": f"https://mirror.example/{name}.zip"} for name in ("one", "two")]
    with pytest.raises(UserError):
        fetch(block(urls[0]), tmp_path / "images.zip", SETTINGS)
    assert leftovers(tmp_path) != []
    fetch(block(urls[1]), tmp_path / "images.zip", SETTINGS)
    assert leftovers(tmp_path) == ["images.zip"]


def test_a_wrong_file_stays_until_a_right_one_has_come(drive, tmp_path):
    drive.files[ID] = FakeFile("quota")
    destination = tmp_path / "images.zip"
    destination.write_bytes(b"old")
    with pytest.raises(UserError):
        fetch(block({"drive": ID}), destination, SETTINGS)
    assert destination.read_bytes() == b"old"


def test_the_generated_partition_is_the_official_file(tmp_path):
    content = celeba_partition()
    assert len(content) == 2_836_386
    assert hashlib.sha256(content).hexdigest() == "fc955bcb3ef8fbdf7d5640d9a8693a8431b5f2ee291a5c1449a1549e7e073fe7"
    official = FileSource.of(
        {
            "file": "list_eval_partition.txt",
            "bytes": 2_836_386,
            "md5": "d32c9cbf5e040fd4025c592c306e6668",
            "source": [{"generate": "celeba_partition"}],
        }
    )
    fetch(official, tmp_path / "partition.txt", SETTINGS)
    assert (tmp_path / "partition.txt").read_bytes() == content
    with pytest.raises(UserError, match="not CelebA's partition"):
        fetch(replace(official, md5=MD5), tmp_path / "other.txt", SETTINGS)


def test_progress_shows_rate_and_remaining_time(drive, tmp_path, capfd):
    drive.files[ID] = FakeFile(body=BODY)
    fetch(block({"drive": ID}), tmp_path / "images.zip", SETTINGS)
    shown = capfd.readouterr().err
    assert "B/s" in shown
    assert "1.50M/1.50M" in shown
