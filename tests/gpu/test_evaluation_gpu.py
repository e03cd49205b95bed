"""The evaluation on a GPU: the CPU's numbers, whatever the batch size."""

import numpy as np
import pandas as pd
import pytest
from evaluation_cases import (
    SETTINGS,
    WITH_VGG,
    evaluate,
    result_paths,
    save_run,
    smooth_images,
    write_data,
    write_samples,
)

from vaebench.models.batches import prepare_torch

pytestmark = pytest.mark.gpu
SHAPE = (3, 64, 64)


def measure(folder, weights, size, **settings):
    data = write_data(folder / "data", {s: smooth_images(n, SHAPE, i) for i, (s, n) in enumerate(zip(
        ("train", "eval", "test"), (40, 8, 37), strict=True))})  # fmt: skip
    model, spec = save_run(folder, "VAE", SHAPE, latent_dim=8)
    write_samples(folder / "samples.npz", smooth_images(20, SHAPE, seed=9))
    paths = result_paths(folder)
    chosen = SETTINGS | WITH_VGG | {"batch_size": size} | settings
    evaluate(model, spec, 0, "faces", data, folder / "samples.npz", weights, chosen, None, paths, threads=4)
    sets = pd.read_csv(paths["generation.csv"]).set_index("metric")["value"]
    return pd.read_parquet(paths["per_image.parquet"]).drop(columns="image"), sets.dropna()


def test_the_device_gives_the_processors_numbers(device, tmp_path, perceptual_weights):
    assert prepare_torch(4, "auto").startswith(device)
    here, sets_here = measure(tmp_path / "here", perceptual_weights, 16)
    on_cpu, sets_on_cpu = measure(tmp_path / "cpu", perceptual_weights, 16, device="cpu")
    np.testing.assert_allclose(here, on_cpu, rtol=1e-4, atol=1e-6)
    assert list(sets_here.index) == list(sets_on_cpu.index)
    np.testing.assert_allclose(sets_here, sets_on_cpu, rtol=1e-3, atol=1e-4)


def test_batches_change_nothing_that_matters(device, tmp_path, perceptual_weights):
    (first, _), (second, _) = (measure(tmp_path / str(size), perceptual_weights, size) for size in (16, 128))
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(first.mean(), second.mean(), rtol=1e-6)
