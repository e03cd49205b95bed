"""The resize on a GPU against Pillow and the CPU, and the whole road over it."""

import numpy as np
import pytest
import torch
from image_cases import READING, RECIPE, SETTINGS, encoded, faces, picture, preprocess, validate, write_celeba
from test_resampling import GEOMETRIES, by_pillow, hostile_image

from vaebench.base.npz import open_array
from vaebench.data.archive.decoding import decode
from vaebench.data.resize import gpu
from vaebench.data.resize.filters import FILTERS
from vaebench.data.resize.resampling import Resampler

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("filter_name", FILTERS)
@pytest.mark.parametrize(("shape", "size"), GEOMETRIES)
def test_equal_to_pillow(filter_name, shape, size, device):
    images = np.stack([hostile_image(*shape, 3, seed) for seed in range(16)])
    expected = np.stack([by_pillow(image, size, filter_name) for image in images])
    resampler = Resampler(*shape, 3, size, filter_name)
    assert np.array_equal(resampler.resize_batch(torch.from_numpy(images).to(device)).cpu().numpy(), expected)


def test_the_files_are_the_same_from_both_devices(device, tmp_path):
    images, partition = write_celeba(tmp_path, faces(100))
    validate(images, partition, tmp_path / "images.csv", tmp_path / "summary.json", SETTINGS, 2)
    for number, name in enumerate(("cpu", device)):
        outputs = {split: tmp_path / f"{number}" / f"{split}_data.npz" for split in ("train", "eval", "test")}
        preprocess(images, partition, tmp_path / "images.csv", outputs, RECIPE | {"device": name}, 2, "small")
    for path in (tmp_path / "0").iterdir():
        assert path.read_bytes() == (tmp_path / "1" / path.name).read_bytes()


def test_the_memory_depends_on_the_batch_not_on_the_number_of_images(device):
    if device == "cpu":
        pytest.skip("the memory of a GPU is measured, and this is a rehearsal on the CPU")
    peaks = []
    for count in (40, 400):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        resampler = Resampler(148, 148, 3, (64, 64), "lanczos")
        frames = [hostile_image(148, 148, 3)] * 20
        for _ in range(count // 20):
            gpu.resize(frames, lambda height, width, resampler=resampler: resampler)
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[0] == peaks[1]


def test_nvjpeg_is_close_and_not_taken_for_equal(device, tmp_path):
    if device == "cpu":
        pytest.skip("nvJPEG needs a GPU, and this is a rehearsal on the CPU")
    # without subsampled colours, where nvJPEG takes the nearest and libjpeg interpolates, only roundings differ
    files = [encoded(picture(seed), subsampling=0) for seed in range(20)]
    for pixels, data in zip(gpu.decode(files, 3), files, strict=True):
        _, expected = decode(data, 3, READING)
        assert pixels.shape == expected.shape
        assert abs(pixels.astype(int) - expected).mean() < 1
    images, partition = write_celeba(tmp_path, faces(10))
    validate(images, partition, tmp_path / "images.csv", tmp_path / "summary.json", SETTINGS, 2)
    outputs = {split: tmp_path / "out" / f"{split}_data.npz" for split in ("train", "eval", "test")}
    settings = RECIPE | {"device": "cuda", "decoder": "nvjpeg"}
    preprocess(images, partition, tmp_path / "images.csv", outputs, settings, 2, "small")
    assert open_array(outputs["train"]).shape == (6, 3, 64, 64)
