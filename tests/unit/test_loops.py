"""The compiled loop: kept and loaded wherever files can be kept, compiled all the same where they cannot."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vaebench.data.resize import loops
from vaebench.data.resize.loops import BITS, compiled
from vaebench.data.resize.resampling import Resampler

PACKAGE = Path(loops.__file__).parents[2]
RESIZE = "data/resize"  # where the loops are

ADD = """
import numpy as np
from vaebench.data.resize.loops import BITS, compiled
add, rows = compiled(), np.full((1, 1, 2), 200, np.uint8)
assert (add(rows, np.zeros(1, np.int64), np.full((1, 2), 1 << (BITS - 1), np.int32), 1) == 200).all()
print("loaded" if add.stats.cache_hits else "compiled")
"""


def start(package, **places):
    """A process that has nowhere to keep files but beside the package and in `places`."""
    environment = os.environ | {"PYTHONPATH": str(package.parent), "HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null"}
    environment |= {name: str(path) for name, path in places.items()}
    command = [sys.executable, "-c", ADD]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def outcome(process):
    text, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return text.strip()


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A package that two processes were the first to use, at the same time."""
    folder = tmp_path_factory.mktemp("warm") / "vaebench"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    assert {outcome(process) for process in [start(folder), start(folder)]} <= {"compiled", "loaded"}
    return folder


def test_what_was_kept_is_loaded_wherever_the_package_moves(warm, tmp_path):
    moved = shutil.copytree(warm, tmp_path / "vaebench")
    assert [outcome(process) for process in [start(moved), start(moved)]] == ["loaded"] * 2


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_what_was_kept_and_is_damaged_is_compiled_anew(warm, tmp_path, suffix):
    package = shutil.copytree(warm, tmp_path / "vaebench")
    (kept,) = package.glob(f"{RESIZE}/__pycache__/loops.weighted_sums*.{suffix}")
    os.truncate(kept, kept.stat().st_size // 2)
    assert outcome(start(package)) == "compiled"


def test_another_source_is_compiled_anew(warm, tmp_path):
    package = shutil.copytree(warm, tmp_path / "vaebench")
    with open(package / RESIZE / "loops.py", "a") as source:
        source.write("# another version\n")
    assert outcome(start(package)) == "compiled"


def read_only(package):
    """Not to be written to, even by the superuser."""
    kept = package / RESIZE / "__pycache__"
    shutil.rmtree(kept, ignore_errors=True)
    kept.write_text("no folder")
    return package


@pytest.mark.parametrize("variable", ["NUMBA_CACHE_DIR", "XDG_CACHE_HOME"])
def test_kept_elsewhere_where_the_package_cannot_be_written_to(warm, tmp_path, variable):
    package = read_only(shutil.copytree(warm, tmp_path / "vaebench"))
    place = {variable: tmp_path / "cache"}
    assert [outcome(start(package, **place)) for _ in range(2)] == ["compiled", "loaded"]
    assert list((tmp_path / "cache").rglob("loops.weighted_sums*.nbc"))


def test_compiled_all_the_same_where_nothing_can_be_kept(warm, tmp_path):
    assert outcome(start(read_only(shutil.copytree(warm, tmp_path / "vaebench")))) == "compiled"


@pytest.mark.parametrize("taps", [1, 4, 5])
@pytest.mark.parametrize("count", [1, 8, 13])
@pytest.mark.parametrize("apart", [False, True])
def test_weighted_sums(taps, count, apart):
    """Against 64-bit arithmetic, with results that are to be clipped on both sides; channels together and apart."""
    numbers = np.random.default_rng(0)
    rows, starts = numbers.choice(np.uint8([0, 1, 254, 255]), (count, 20, 3)), numbers.integers(0, 21 - taps, 50)
    weights = numbers.integers(-1 << 21, 1 << 21, (50, taps), dtype=np.int32)
    laid = rows.transpose(0, 2, 1).copy() if apart else rows.reshape(count, 1, 60)
    result = compiled()(laid, starts, weights, 3)
    inputs = rows.astype(np.int64).transpose(1, 2, 0)
    pairs = zip(starts, weights, strict=True)
    sums = np.stack([np.tensordot(weight, inputs[start : start + taps], 1) for start, weight in pairs])
    expected = ((sums + (1 << (BITS - 1))) >> BITS).clip(0, 255)
    assert np.array_equal(result[..., :count], expected)
    assert (result[..., count:] == expected[..., -1:]).all()
    assert expected.min() == 0 < expected.max()


def test_an_image_of_another_size_or_type_is_refused():
    resampler, output = Resampler(8, 8, 3, (4, 4), "bilinear"), np.empty((3, 4, 4), np.uint8)
    with pytest.raises(ValueError, match=r"cannot resize \(7, 8, 3\)"):
        resampler.resize(np.zeros((7, 8, 3), np.uint8), output)
    with pytest.raises(ValueError, match="cannot resize float32 to uint8"):
        resampler.resize(np.zeros((8, 8, 3), np.float32), output)


@pytest.mark.parametrize("turned", [np.s_[::-1], np.s_[:, ::-1], np.s_[..., ::-1]])
def test_any_view_of_an_image_is_resized(turned):
    image = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    found, expected = np.empty((3, 5, 4), np.uint8), np.empty((3, 5, 4), np.uint8)
    resampler = Resampler(12, 10, 3, (5, 4), "lanczos")
    resampler.resize(image[turned], found)
    resampler.resize(image[turned].copy(), expected)
    assert np.array_equal(found, expected)
