"""Each process of a machine takes a GPU of its own, as long as there is one."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vaebench.base.devices import choose_device, claim, to_unit_interval
from vaebench.base.errors import UserError

SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
CLAIM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from vaebench.base.devices import claim
print(claim(sys.argv[3:], Path(sys.argv[2])), flush=True)
sys.stdin.read()
"""


def start(folder, *gpus):
    """A process that has one of the GPUs, and which."""
    command = [sys.executable, "-c", CLAIM, str(SCRIPTS), str(folder), *(gpus or ("gpu-a", "gpu-b", "gpu-c"))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())


def test_processes_take_different_gpus_and_give_them_back_when_killed(tmp_path):
    started = [start(tmp_path) for _ in range(3)]
    try:
        assert [index for _, index in started] == [0, 1, 2]
        assert claim(["gpu-a", "gpu-b", "gpu-c"], tmp_path) in range(3)  # all are taken: one is shared
        started[1][0].kill()
        started[1][0].wait()
        assert claim(["gpu-a", "gpu-b", "gpu-c"], tmp_path) == 1
    finally:
        for process, _ in started:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()


def test_a_process_that_asks_again_gets_the_same_gpu(tmp_path):
    """As the worker of a tuning does for each of its trials."""
    process, index = start(tmp_path)
    try:
        assert index == 0
        assert [claim(["gpu-a", "gpu-b", "gpu-c"], tmp_path) for _ in range(3)] == [1, 1, 1]
    finally:
        process.communicate()


@pytest.fixture
def four_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"gpu-{index}"))
    present = []
    monkeypatch.setattr(torch.cuda, "set_device", present.append)
    return present


def test_auto_takes_a_free_gpu_and_a_named_one_is_taken_as_named(four_gpus, tmp_path):
    process, _ = start(tmp_path, "gpu-0")
    try:
        assert choose_device("auto", tmp_path) == torch.device("cuda", 1)
        assert choose_device("cuda", tmp_path) == torch.device("cuda", 1)
        assert choose_device("cuda:3", tmp_path) == torch.device("cuda", 3)
        assert choose_device("cpu", tmp_path) == torch.device("cpu")
    finally:
        process.communicate()


def test_the_chosen_gpu_is_the_one_that_streams_and_recordings_belong_to(four_gpus, tmp_path):
    """A step recorded on the stream of another GPU would hold nothing: its replay would train nothing."""
    process, _ = start(tmp_path, "gpu-0")
    try:
        chosen = [choose_device(name, tmp_path) for name in ("auto", "cuda:2")]
    finally:
        process.communicate()
    assert four_gpus == chosen == [torch.device("cuda", 1), torch.device("cuda", 2)]


def test_a_gpu_that_is_not_there_is_named(four_gpus):
    with pytest.raises(UserError, match="cuda:4 was asked for, but torch sees 4 GPUs"):
        choose_device("cuda:4")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu():
    with pytest.raises(UserError, match="sees no GPU here"):
        choose_device("cuda")


def test_bytes_are_divided_in_float32():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    found = to_unit_interval(torch.from_numpy(pixels), torch.channels_last)
    assert torch.equal(found, torch.from_numpy(pixels / np.float32(255)))
    on_meta = to_unit_interval(torch.empty(2, 3, 4, 4, dtype=torch.uint8, device="meta"), torch.channels_last)
    assert (on_meta.device.type, on_meta.dtype) == ("meta", torch.float32)
