"""The compiled loops: kept, loaded without the compiler, independent of Python, and within their memory."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest
from numba import carray, cfunc

from vaebench import machine_code
from vaebench.resampling import Resampler

PACKAGE = Path(machine_code.__file__).parent

RESIZE = """
import sys
import numpy as np
from vaebench.resampling import Resampler
output = np.empty((3, 1, 2), np.uint8)
Resampler(2, 4, 3, (1, 2), "bilinear").resize(np.full((2, 4, 3), 200, np.uint8), output)
assert (output == 200).all()
print("compiled" if "numba" in sys.modules else "loaded")
"""

TOUCHED_OUTSIDE = """
import ctypes
import sys
import numpy as np
from vaebench.machine_code import address, compiled
from vaebench.resampling import Resampler

PAGE = 4096
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

def fenced(array, at_the_end):
    pages = -(-array.nbytes // PAGE)
    base = libc.mmap(None, (pages + 2) * PAGE, 3, 0x22, -1, 0)
    libc.mprotect(base, PAGE, 0)
    libc.mprotect(base + (pages + 1) * PAGE, PAGE, 0)
    start = base + (pages + 1) * PAGE - array.nbytes if at_the_end else base + PAGE
    ctypes.memmove(start, address(array), array.nbytes)
    return start, (base, (pages + 2) * PAGE)

numbers = np.random.default_rng(0)
for trial in range(300):
    largest = 200 if trial % 5 == 0 else 40
    (height, width), size = numbers.integers(1, largest, 2).tolist(), tuple(numbers.integers(1, 30, 2).tolist())
    if (height, width) == size:
        continue
    channels = int(numbers.choice([1, 3]))
    resampler = Resampler(height, width, channels, size, ("lanczos", "bicubic", "bilinear")[trial % 3])
    image = numbers.integers(0, 256, (height, width, channels), dtype=np.uint8)
    expected = np.zeros((channels, *size), np.uint8)
    resampler.resize(image, expected)
    for at_the_end in (True, False):
        arrays = (image, np.zeros_like(expected), *resampler._arrays)
        starts, regions = zip(*[fenced(array, at_the_end) for array in arrays], strict=True)
        source, target, sizes, first, weights, memory, total, words = starts
        passes = sizes, first, weights, memory, memory, total, words, words
        compiled("resize")(source, width * channels, target, *passes)
        assert ctypes.string_at(target, expected.nbytes) == expected.tobytes()
        for region in regions:
            libc.munmap(*region)
"""


def run(code, package, user_cache):
    environment = os.environ | {"PYTHONPATH": str(package.parent), "XDG_CACHE_HOME": str(user_cache)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def copy_of_the_package(folder):
    return Path(shutil.copytree(PACKAGE, folder / "vaebench", ignore=shutil.ignore_patterns("__pycache__")))


def test_compiled_once_and_again_when_the_source_changes(tmp_path):
    package = copy_of_the_package(tmp_path)
    assert [run(RESIZE, package, tmp_path / "cache") for _ in range(2)] == ["compiled", "loaded"]
    assert len(list((package / "__pycache__").glob("loops.*.code"))) == 1
    assert not (tmp_path / "cache").exists()
    with open(package / "loops.py", "a") as source:
        source.write("# another version\n")
    assert run(RESIZE, package, tmp_path / "cache") == "compiled"


def test_compiled_again_when_what_was_kept_is_damaged(tmp_path):
    package = copy_of_the_package(tmp_path)
    run(RESIZE, package, tmp_path / "cache")
    (kept,) = (package / "__pycache__").glob("loops.*.code")
    whole = kept.read_bytes()
    for damaged in (b"", whole[:-1], whole[:999] + bytes([whole[999] ^ 1]) + whole[1000:]):
        kept.write_bytes(damaged)
        assert run(RESIZE, package, tmp_path / "cache") == "compiled"
        assert kept.read_bytes() == whole


def test_kept_for_the_user_where_the_package_cannot_be_written_to(tmp_path):
    package = copy_of_the_package(tmp_path)
    (package / "__pycache__").write_text("no folder")
    assert [run(RESIZE, package, tmp_path / "cache") for _ in range(2)] == ["compiled", "loaded"]
    assert len(list((tmp_path / "cache" / "vaebench").glob("loops.*.code"))) == 1
    assert run(RESIZE, package, package / "__pycache__") == "compiled"  # nowhere to keep it: it works all the same


def test_what_needs_python_is_refused():
    @cfunc("void(CPointer(float64), int64)")
    def reverse(values, count):
        carray(values, (count,))[:] = np.array([values[count - 1 - i] for i in range(count)])

    machine_code.compiled("resize")  # initializes LLVM
    machine = llvm.Target.from_default_triple().create_target_machine()
    with pytest.raises(RuntimeError, match=r"need Python: .*NRT_"):
        machine_code.compile_functions(machine, {"reverse": reverse})


def test_nothing_outside_the_arrays_is_touched(tmp_path):
    """Pages that must not be touched lie before and behind each array: the process would die."""
    run(TOUCHED_OUTSIDE, PACKAGE, tmp_path)


def test_sums_per_channel_are_exact():
    batch = np.random.default_rng(0).integers(0, 256, (5, 3, 17, 9), dtype=np.uint8)
    sums = np.empty((2, 3))
    machine_code.compiled("channel_sums")(machine_code.address(batch), 5, 3, 17 * 9, machine_code.address(sums))
    wide = batch.astype(np.int64)
    assert sums.tolist() == [wide.sum((0, 2, 3)).tolist(), (wide**2).sum((0, 2, 3)).tolist()]


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
