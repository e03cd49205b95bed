"""The evaluation on a GPU: the processor's numbers, whatever the batch size, and the speed that the issue asks for."""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from evaluation_cases import SETTINGS, WITH_VGG, result_paths, save_run, smooth_images, write_data

from vaebench import evaluation
from vaebench.metrics.pairs import PairMetrics

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
SHAPE = (3, 64, 64)


def measure(folder, weights, size, **settings):
    data = write_data(folder / "data", {s: smooth_images(n, SHAPE, i) for i, (s, n) in enumerate(zip(
        ("train", "eval", "test"), (40, 8, 37), strict=True))})  # fmt: skip
    model, spec = save_run(folder, "VAE", SHAPE, latent_dim=8)
    np.savez(folder / "samples.npz", data=smooth_images(20, SHAPE, seed=9))
    paths = result_paths(folder)
    chosen = SETTINGS | WITH_VGG | {"batch_size": size} | settings
    evaluation.evaluate(model, spec, 0, "faces", data, folder / "samples.npz", weights, chosen, None, paths, threads=4)
    return pd.read_parquet(paths["per_image.parquet"]).drop(columns="image")


def test_the_gpu_gives_the_processors_numbers(tmp_path, monkeypatch, perceptual_weights):
    on_gpu = measure(tmp_path / "gpu", perceptual_weights, 16)
    monkeypatch.setattr(evaluation, "prepare_torch", lambda threads: "cpu")
    on_cpu = measure(tmp_path / "cpu", perceptual_weights, 16)
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-4, atol=1e-6)


def test_batches_change_nothing_that_matters(tmp_path, perceptual_weights):
    first, second = (measure(tmp_path / str(size), perceptual_weights, size) for size in (16, 128))
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(first.mean(), second.mean(), rtol=1e-6)


def test_the_test_split_of_celeba_takes_under_thirty_seconds(perceptual_weights):
    metrics = PairMetrics(SHAPE, ["alex", "vgg"], ["vgg16"], perceptual_weights, "cuda")
    x, y = torch.rand(2, 512, *SHAPE, device="cuda")
    metrics(x, y)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(39):  # 19,968 pairs
        metrics(x, y)
    torch.cuda.synchronize()
    assert time.perf_counter() - start < 30
