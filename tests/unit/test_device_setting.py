"""`training.device: cpu` holds for sampling and evaluation too, on a machine whose GPU others need."""

import numpy as np
import pytest
import torch
from evaluation_cases import (
    SAMPLES,
    SETTINGS,
    evaluate,
    make_showcase,
    result_paths,
    sample,
    save_run,
    smooth_images,
    write_data,
    write_samples,
)

from vaebench.models.batches import prepare_torch

AUTO = {"name": "auto", "options": {}}


@pytest.fixture
def pretended_gpu(monkeypatch):
    """A GPU that torch lists and that fails whoever uses it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)

    def refuse():
        raise AssertionError("the GPU was used")

    monkeypatch.setattr(torch.cuda, "_lazy_init", refuse)
    with pytest.raises((AssertionError, RuntimeError)):
        torch.zeros(1, device=prepare_torch(1, "auto"))


@pytest.fixture
def run(tmp_path):
    """A model, its data, and images that it generated."""
    images = smooth_images(30)
    data = write_data(tmp_path / "data", {"train": images[:20], "eval": images[20:25], "test": images[25:]})
    model, spec = save_run(tmp_path / "run", "VAE", latent_dim=4)
    write_samples(tmp_path / "samples.npz", images[:12])
    return model, spec, data


@pytest.mark.usefixtures("pretended_gpu")
def test_sampling_stays_on_the_cpu(run, tmp_path):
    model, _, data = run
    settings = SAMPLES | {"device": "cpu"}
    sample(model, data, tmp_path / "drawn.npz", AUTO, settings, seed=0, threads=1)
    assert len(np.load(tmp_path / "drawn.npz")["data"]) == settings["count"]


@pytest.mark.usefixtures("pretended_gpu")
def test_the_showcase_stays_on_the_cpu(run, tmp_path):
    model, _, data = run
    shown = SAMPLES["showcase"] | {"device": "cpu"}
    make_showcase(model, data["test"], tmp_path / "showcase.npz", shown, seed=0, threads=1)
    assert (tmp_path / "showcase.npz").exists()


@pytest.mark.usefixtures("pretended_gpu")
def test_evaluation_stays_on_the_cpu(run, tmp_path):
    model, spec, data = run
    outputs = result_paths(tmp_path)
    settings = SETTINGS | {"device": "cpu"}
    evaluate(model, spec, 0, "digits", data, tmp_path / "samples.npz", {}, settings, None, outputs, threads=1)
    assert outputs["per_image.parquet"].exists()
