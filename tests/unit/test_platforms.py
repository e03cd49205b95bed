"""Each thing that Linux alone has, taken away: what stands in for it gives the same."""

import json
import os
import resource
import runpy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from image_cases import RECIPE, SETTINGS, faces, preprocess, validate, write_celeba
from training_cases import make_spec, outputs, run, write_data

from vaebench.base import devices, platforms
from vaebench.base.devices import choose_device, random_numbers_kept
from vaebench.models.batches import prepare_torch
from vaebench.models.state import load_weights


def be(platform, monkeypatch):
    """Show the module another platform, and only it: torch asks for the platform too."""
    monkeypatch.setattr(platforms, "sys", SimpleNamespace(platform=platform))
    if platform == "darwin":
        monkeypatch.setattr(platforms, "os", SimpleNamespace(pread=os.pread))


def test_workers_are_forked_on_linux_and_spawned_elsewhere(monkeypatch):
    for platform, method in (("linux", "fork"), ("darwin", "spawn")):
        be(platform, monkeypatch)
        assert platforms.process_context().get_start_method() == method


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_rows_are_read_and_a_short_file_is_an_error(platform, tmp_path, monkeypatch):
    be(platform, monkeypatch)
    (tmp_path / "bytes").write_bytes(bytes(range(100)))
    file = os.open(tmp_path / "bytes", os.O_RDONLY)
    try:
        row = np.zeros((2, 5), np.uint8)
        platforms.read_row(file, row, 20)
        assert row.tolist() == [list(range(20, 25)), list(range(25, 30))]
        with pytest.raises(EOFError, match="4 of 10 bytes at 96"):
            platforms.read_row(file, row, 96)
    finally:
        os.close(file)


def test_peak_memory_is_given_in_bytes_by_both(monkeypatch):
    found = {}
    for platform, counted in (("linux", 2048), ("darwin", 2048 * 1024)):
        be(platform, monkeypatch)
        monkeypatch.setattr(resource, "getrusage", lambda who, counted=counted: SimpleNamespace(ru_maxrss=counted))
        found[platform] = platforms.peak_memory_bytes()
    assert found == {"linux": 2 * 2**20, "darwin": 2 * 2**20}


def test_a_training_gives_the_same_weights(tmp_path, monkeypatch):
    data = write_data(tmp_path)
    for platform in ("linux", "darwin"):
        be(platform, monkeypatch)
        run(make_spec("VAE"), data, tmp_path / platform)
    first, second = (load_weights(outputs(tmp_path / name)["output"] / "model.pt") for name in ("linux", "darwin"))
    assert all(torch.equal(value, second["model_state_dict"][k]) for k, value in first["model_state_dict"].items())


def test_spawned_workers_write_the_same_arrays(tmp_path, monkeypatch):
    images, partition = write_celeba(tmp_path, faces(12))
    for platform in ("linux", "darwin"):
        be(platform, monkeypatch)
        folder = tmp_path / platform
        folder.mkdir()
        validate(images, partition, folder / "images.csv", folder / "summary.json", SETTINGS, 2)
        arrays = {split: folder / f"{split}_data.npz" for split in ("train", "eval", "test")}
        preprocess(images, partition, folder / "images.csv", arrays, RECIPE, 2, "small")
    for path in (tmp_path / "linux").glob("*.npz"):
        assert path.read_bytes() == (tmp_path / "darwin" / path.name).read_bytes()
    assert json.loads((tmp_path / "darwin/summary.json").read_text())


def test_a_spawned_worker_that_imports_an_adapter_does_none_of_its_work():
    """Without the guard this would fail: there is no `snakemake` to ask for a log."""
    for name in ("validate", "preprocess", "figures", "paper", "unfinished"):
        runpy.run_path(f"workflow/scripts/{name}.py", run_name="__mp_main__")


def test_an_apple_gpu_trains_and_the_cpu_measures(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == choose_device("mps") == torch.device("mps")
    assert choose_device("cpu") == torch.device("cpu")
    assert prepare_torch(1, "auto") == "cpu"


def test_random_numbers_of_an_apple_gpu_are_kept(monkeypatch):
    states = {"now": torch.tensor([1])}
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: states["now"])
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda state: states.update(now=state))
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with random_numbers_kept(torch.device("mps")):
        torch.rand(5)
        states["now"] = torch.tensor([2])
    assert torch.equal(torch.rand(3), expected)
    assert states["now"] == 1


def test_no_float64_is_made_on_an_apple_gpu():
    """The meta device stands in for it: it takes part in the same dispatch, and the sum must have left it."""
    values = SimpleNamespace(device=torch.device("mps"), cpu=lambda: torch.ones(3))
    found = devices.sum_in_float64(values)
    assert (found.device.type, found.dtype, float(found)) == ("cpu", torch.float64, 3.0)
