import os
import subprocess
import sys
from pathlib import Path

import pytest

import vaebench
from vaebench.base.files import atomic_path, link, md5_of, sha256_of


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


def test_what_killed_processes_of_this_machine_left_is_removed(tmp_path):
    """One writes and is killed, another writes still: a name tells its process, and the machine."""
    program = (
        "import os, signal, sys; from vaebench.base.files import atomic_path\nwith atomic_path(sys.argv[1]) as path:\n"
    )
    program += "    path.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)"
    environment = os.environ | {"PYTHONPATH": str(Path(vaebench.__file__).parents[1])}
    target = tmp_path / "table.csv"
    subprocess.run([sys.executable, "-c", program, target], env=environment, check=False)
    (left_over,) = tmp_path.iterdir()
    machine = os.uname().nodename
    others = {f".table.{machine}-{os.getppid()}.csv", f".table.elsewhere-{left_over.stem.rpartition('-')[2]}.csv"}
    for name in (*others, "table.1.csv"):
        (tmp_path / name).touch()
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {"table.csv", "table.1.csv", *others}


def test_link_survives_the_removal_of_the_other_name(tmp_path):
    (tmp_path / "a").write_text("content")
    link(tmp_path / "a", tmp_path / "sub/b")
    (tmp_path / "sub/b").unlink()
    link(tmp_path / "a", tmp_path / "sub/b")
    assert (tmp_path / "a").read_text() == (tmp_path / "sub/b").read_text() == "content"
