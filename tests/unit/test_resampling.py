"""Crop and resize against Pillow, to the last bit."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from vaebench.base.errors import UserError
from vaebench.data.cropping import crop_box
from vaebench.data.resize.filters import FILTERS, weights
from vaebench.data.resize.resampling import PillowResampler, Resampler

GEOMETRIES = [
    ((148, 148), (64, 64)),
    ((140, 140), (64, 64)),
    ((178, 178), (128, 128)),
    ((160, 120), (48, 64)),
    ((218, 178), (37, 91)),
    ((28, 28), (64, 32)),
    ((90, 70), (90, 35)),
    ((50, 60), (25, 60)),
    ((5, 7), (1, 1)),
    ((33, 20), (33, 20)),
    ((500, 700), (64, 48)),  # in several blocks
]


def hostile_image(height, width, channels, seed=0):
    """Noise with hard edges between black and white: every clip and every rounding is met."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    image[rng.random((height, width)) < 0.3] = 0
    image[rng.random((height, width)) < 0.3] = 255
    image[: height // 3, : width // 2] = np.where(np.arange(width // 2)[None, :, None] % 8 < 4, 0, 255)
    return image


def by_pillow(image, size, filter_name):
    mode = image[..., 0] if image.shape[-1] == 1 else image
    resized = Image.fromarray(mode).resize(size[::-1], FILTERS[filter_name])
    return np.asarray(resized).reshape(*size, -1).transpose(2, 0, 1)


@pytest.mark.parametrize("filter_name", FILTERS)
@pytest.mark.parametrize(("shape", "size"), GEOMETRIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_equal_to_pillow_image_by_image_and_in_batches(filter_name, shape, size, channels):
    images = np.stack([hostile_image(*shape, channels, seed) for seed in range(3)])
    expected = np.stack([by_pillow(image, size, filter_name) for image in images])
    resampler = Resampler(*shape, channels, size, filter_name)
    output = np.empty_like(expected)
    for image, row in zip(images, output, strict=True):
        resampler.resize(image, row)
    assert np.array_equal(output, expected)
    assert np.array_equal(resampler.resize_batch(torch.from_numpy(images)).numpy(), expected)


@pytest.mark.parametrize("filter_name", FILTERS)
@pytest.mark.parametrize(("shape", "size"), GEOMETRIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_rare_sizes_are_left_to_pillow(filter_name, shape, size, channels):
    images = [hostile_image(*shape, channels, seed) for seed in range(2)]
    images.append(images[0][::-1, ::-1])  # a photograph that was turned
    expected = np.stack([by_pillow(np.ascontiguousarray(image), size, filter_name) for image in images])
    assert np.array_equal(PillowResampler(size, filter_name).resize_all(images, "any"), expected)


def random_geometry(numbers):
    largest = 300 if numbers.random() < 0.2 else 40
    (height, width), size = numbers.integers(1, largest, 2).tolist(), numbers.integers(1, 30, 2).tolist()
    return (height, width), tuple(size), str(numbers.choice(list(FILTERS))), int(numbers.choice([1, 3]))


def test_equal_to_pillow_in_any_geometry():
    numbers = np.random.default_rng(0)
    few_pixels = [
        ((38, 13), (1, 6), "bilinear", 3),
        ((36, 11), (7, 2), "bilinear", 3),
        ((28, 24), (1, 11), "bicubic", 1),
    ]
    for shape, size, filter_name, channels in few_pixels + [random_geometry(numbers) for _ in range(400)]:
        resampler, output = Resampler(*shape, channels, size, filter_name), np.empty((channels, *size), np.uint8)
        for seed in range(4):
            image = np.random.default_rng(seed).integers(0, 256, (*shape, channels), dtype=np.uint8)
            resampler.resize(image, output)
            assert np.array_equal(output, by_pillow(image, size, filter_name)), (shape, size, filter_name, channels)


def test_a_view_of_a_larger_image_and_ties_that_end_in_a_half():
    image = np.zeros((20, 20, 3), np.uint8)
    image[::2, ::4] = 1  # halving gives exact halves, which Pillow rounds up
    view = image[2:18, 4:20]
    output = np.empty((3, 8, 8), np.uint8)
    Resampler(16, 16, 3, (8, 8), "bilinear").resize(view, output)
    assert np.array_equal(output, by_pillow(np.ascontiguousarray(view), (8, 8), "bilinear"))


def test_the_weights_are_those_of_the_formula():
    """Lanczos with three lobes, widened by the scale, as in the literature; Pillow rounds it to 22 bits."""
    size_in, size_out = 148, 64
    scale = size_in / size_out
    expected = np.zeros((size_out, size_in))
    for row in range(size_out):
        distance = (np.arange(size_in) + 0.5 - (row + 0.5) * scale) / scale
        expected[row] = np.where(abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0)
        expected[row] /= expected[row].sum()
    found = weights(size_in, size_out, "lanczos")
    assert abs(found - expected).max() <= 2.0**-23 + 1e-12
    assert np.array_equal(found * 2**22, np.round(found * 2**22))


@pytest.mark.parametrize(
    ("width", "height", "side"), [(178, 218, 148), (178, 218, 140), (179, 218, 148), (9, 12, 6), (8, 9, 5)]
)
def test_the_centre_crop_is_that_of_torchvision(width, height, side):
    image = torch.arange(height * width).reshape(1, height, width)
    left, top, right, bottom = crop_box({"center": side}, width, height)
    assert torch.equal(image[:, top:bottom, left:right], v2.functional.center_crop(image, [side, side]))


def test_boxes_and_no_crop():
    assert crop_box({"center": 148}, 178, 218) == (15, 35, 163, 183)
    assert crop_box({"center": [100, 60]}, 178, 218) == (59, 59, 119, 159)
    assert crop_box({"box": [15, 40, 163, 188]}, 178, 218) == (15, 40, 163, 188)  # that of VAE/GAN
    assert crop_box(None, 178, 218) == (0, 0, 178, 218)


@pytest.mark.parametrize(
    "crop", [{"center": 179}, {"box": [0, 0, 179, 10]}, {"box": [-1, 0, 5, 5]}, {"box": [5, 5, 5, 9]}]
)
def test_a_crop_outside_the_image_is_an_error(crop):
    with pytest.raises(UserError, match=r"preprocessing\.crop .* does not fit .* 178 wide and 218 high"):
        crop_box(crop, 178, 218)
