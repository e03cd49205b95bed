"""Small image data sets for the tests, in CelebA's layout and others, sound and damaged."""

import io
import zipfile

import numpy as np
from PIL import Image

from vaebench.base.values import from_dict
from vaebench.data import preprocessing, validation
from vaebench.data.archive.image_file import Reading
from vaebench.data.image_table import ImageFiles

DECODING = {
    "exif_orientation": True,
    "background": [255, 255, 255],
    "max_pixels": 50_331_648,
    "max_bytes": 250_000_000,
}
READING = from_dict(Reading, DECODING)
EXPECTED = {"format": "JPEG", "mode": "RGB", "width": 178, "height": 218, "min_width": None, "min_height": None}
SETTINGS = EXPECTED | DECODING | {"crop": None, "max_bad_fraction": 0.5}
RECIPE = DECODING | {
    "crop": {"center": 148},
    "size": [64, 64],
    "filter": "lanczos",
    "channels": 3,
    "batch_size": 7,
    "decoder": "libjpeg",
    "device": "cpu",
    "compress": False,
    "limit": None,
}
PATTERN = [0, 0, 0, 1, 2]  # splits of consecutive images


def validate(images, partition, table, summary, settings, workers):
    """The validation, its settings as the configuration has them."""
    settings = from_dict(validation.ValidationSettings, settings)
    validation.validate(ImageFiles(images, partition, table), summary, settings, workers)


def preprocess(images, partition, table, outputs, settings, workers, dataset):
    """The preprocessing, its settings as the configuration has them."""
    settings = from_dict(preprocessing.PreprocessingSettings, settings)
    preprocessing.preprocess(ImageFiles(images, partition, table), outputs, settings, workers, dataset)


def picture(seed, width=178, height=218, mode="RGB"):
    """A smooth picture with noise, so that its JPEG is about as large as one of CelebA."""
    rng = np.random.default_rng(seed)
    bands = len(mode)
    coarse = rng.integers(0, 256, (9, 7, bands), dtype=np.uint8)
    smooth = [
        Image.fromarray(coarse[..., band]).resize((width, height), Image.Resampling.BICUBIC) for band in range(bands)
    ]
    noisy = np.stack([np.asarray(band) for band in smooth], axis=-1) + rng.normal(0, 4, (height, width, bands))
    pixels = noisy.clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if bands == 1 else pixels)


def encoded(image, kind="JPEG", **options):
    """The bytes of an image file."""
    buffer = io.BytesIO()
    defaults = {"quality": 85} if kind == "JPEG" else {}
    image.save(buffer, kind, **defaults | options)
    return buffer.getvalue()


def write_zip(path, files, compression=zipfile.ZIP_STORED):
    """A zip of {name: bytes} or of a list of (name, bytes)."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, data)
    return path


def write_celeba(folder, files):
    """`img_align_celeba/{name}` for each of {name: bytes}, and a partition file in CelebA's form; both paths."""
    images = write_zip(folder / "images.zip", {f"img_align_celeba/{name}": data for name, data in files.items()})
    return images, write_partition(folder / "partition.txt", files)


def write_partition(path, names):
    """CelebA's partition file (CRLF) that gives the names to the splits in PATTERN."""
    lines = [f"{name} {PATTERN[row % len(PATTERN)]}\r\n" for row, name in enumerate(names)]
    path.write_bytes("".join(lines).encode())
    return path


def faces(count):
    """{name: JPEG} of that many pictures in CelebA's size."""
    return {f"{row + 1:06d}.jpg": encoded(picture(row)) for row in range(count)}


def by_pillow(data, crop, size, filter_name, channels=3):
    """The reference: Pillow's own crop and resize, as uint8 (channels, height, width)."""
    image = Image.open(io.BytesIO(data)).convert("RGB" if channels == 3 else "L")
    if crop is not None:
        image = image.crop(crop)
    if size is not None:
        image = image.resize((size[1], size[0]), Image.Resampling[filter_name.upper()])
    pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], channels).transpose(2, 0, 1)
