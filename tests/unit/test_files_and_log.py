import os
import random
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from vaebench.crc32 import joined
from vaebench.files import atomic_path, known_md5, link, md5_of, remember_md5, sha256_of

SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(TypeError), atomic_path(target) as temporary, temporary.open("w") as file:
        file.writelines(["half", None])
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".csv"
    assert target.read_text() == "new"


def test_checksums_are_the_published_ones_of_the_empty_file(tmp_path):
    (tmp_path / "empty").touch()
    assert md5_of(tmp_path / "empty") == "d41d8cd98f00b204e9800998ecf8427e"
    assert sha256_of(tmp_path / "empty").startswith("e3b0c44298fc1c149afbf4c8996fb924")


def test_a_remembered_checksum_holds_until_the_file_changes(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"content")
    assert known_md5(file) == md5_of(file)
    remember_md5(file, "remembered")
    file.rename(tmp_path / "other")
    (tmp_path / "other").rename(file)
    assert known_md5(file) == "remembered"
    before = file.stat()
    file.write_bytes(b"CONTENT")  # of the same size
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert known_md5(file) == md5_of(file)
    for damaged in ("", "remembered", "{}", "remembered 7 bytes"):
        (tmp_path / ".file.md5").write_text(damaged)
        assert known_md5(file) == md5_of(file)


def test_the_crc_of_joined_pieces_is_that_of_zlib():
    numbers = random.Random(0)
    for length in [0, 1, 2, 7, 4096, 12345, 1 << 20]:
        first, second = numbers.randbytes(numbers.randrange(1000)), numbers.randbytes(length)
        assert joined(zlib.crc32(first), zlib.crc32(second), length) == zlib.crc32(first + second)
    zeros = zlib.crc32(bytes(1 << 20))
    crc, length = zeros, 1 << 20
    for _ in range(13):  # doubled up to 8 GiB
        crc, length = joined(crc, crc, length), 2 * length
    expected, block = 0, bytes(1 << 28)
    for _ in range(32):
        expected = zlib.crc32(block, expected)
    assert (crc, length) == (expected, 1 << 33)


def test_link_survives_the_removal_of_the_other_name(tmp_path):
    (tmp_path / "a").write_text("content")
    link(tmp_path / "a", tmp_path / "sub/b")
    (tmp_path / "sub/b").unlink()
    link(tmp_path / "a", tmp_path / "sub/b")
    assert (tmp_path / "a").read_text() == (tmp_path / "sub/b").read_text() == "content"


@pytest.mark.parametrize(
    ("body", "code", "expected", "unexpected"),
    [
        ("print('done')", 0, "done", "Error"),
        ("raise UserError('the disk is full')", 1, "Error: the disk is full", "Traceback"),
        ("raise ValueError('a defect')", 1, "Traceback", "\nError: a"),
        ("import os; os.system('echo from a child >&2')", 0, "from a child", "Error"),
    ],
)
def test_job_log_gets_everything(tmp_path, body, code, expected, unexpected):
    script = (
        f"from vaebench.errors import UserError\nfrom vaebench.log import job\nwith job('log/a.txt'):\n    {body}\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env={"PYTHONPATH": str(SCRIPTS)}, capture_output=True, text=True
    )
    log = (tmp_path / "log/a.txt").read_text()
    assert result.returncode == code
    assert expected in log
    assert unexpected not in log


def test_the_log_of_the_attempt_before_is_kept(tmp_path):
    for attempt in ("first", "second", "third"):
        program = f"from vaebench.log import job\nwith job('log/a.log'):\n    print('{attempt}')\n"
        subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, env={"PYTHONPATH": str(SCRIPTS)})
    texts = {path.name: path.read_text() for path in (tmp_path / "log").iterdir()}
    assert texts == {"a.log": "third\n", "a.previous.log": "second\n"}
