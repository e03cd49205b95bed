"""The heap that tensors take their memory from."""

import ctypes
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from vaebench.base.malloc import keep_freed_memory

LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PROGRAM = """
import re
import torch
from vaebench.base.malloc import keep_freed_memory

keep_freed_memory()
tensor = torch.ones(8_000_000)
middle = tensor.data_ptr() + tensor.nbytes // 2
for line in open("/proc/self/smaps"):
    if area := re.match("([0-9a-f]+)-([0-9a-f]+) ", line):
        inside = int(area[1], 16) <= middle < int(area[2], 16)
    elif inside and line.startswith("VmFlags:"):
        print("hg" in line.split())
"""


@pytest.mark.skipif(
    not LARGE_PAGES.is_file() or not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs Linux's large pages and glibc"
)
def test_tensors_are_made_where_large_pages_were_asked_for():
    command = [sys.executable, "-c", PROGRAM]
    result = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": "workflow/scripts"})
    assert result.stdout == "True\n", result.stderr


def test_another_c_library_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    keep_freed_memory()


def test_where_addresses_are_limited_nothing_is_marked_or_freed(monkeypatch):
    calls = []

    def function(name):
        def call(*arguments):
            calls.append(name)  # and gives nothing, as malloc does then

        return call

    names = ("mallopt", "malloc", "madvise", "free")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(**{name: function(name) for name in names}))
    keep_freed_memory()
    assert set(calls) == {"mallopt", "malloc"}
