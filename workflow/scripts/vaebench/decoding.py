"""From the bytes of an image file to its pixels, with every damage that a decoder can notice reported."""

import io
import warnings
from dataclasses import dataclass

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

JPEG_START = b"\xff\xd8\xff"
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


class ImageError(Exception):
    """An image that cannot be used; the message is the reason, for the table of images."""


@dataclass(frozen=True)
class Header:
    """What an image file says about itself: Pillow's names for format and mode, the size in pixels."""

    format: str
    mode: str
    width: int
    height: int


class Memory:
    """Bytes that are used for one image after the other."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def of(self, size: int) -> np.ndarray:
        """At least `size` bytes."""
        if len(self._bytes) < size:
            self._bytes = np.empty(size, np.uint8)
        return self._bytes


def decode(data: bytes, channels: int, memory: Memory | None = None) -> tuple[Header, np.ndarray]:
    """Decode an image file in full.

    With `memory` the pixels may last only until its next use: fresh memory for every image costs a quarter of the time.

    Returns the header and the pixels, uint8 (height, width, channels), equal to Pillow's `convert("RGB")` (3
    channels) or `convert("L")` (1 channel). Raises ImageError for whatever is cut short, damaged, or no image.
    """
    found = _decode_colour_jpeg(data, memory, "RGB") if channels == 3 else None
    return _decode_any(data, channels) if found is None else found


def examine(data: bytes, memory: Memory | None = None) -> Header:
    """Decode an image file in full, for its header or the same ImageError as `decode`.

    A colour JPEG is decoded to grey at a quarter of its size: all data of its three components are read, where damage
    shows; only arithmetic that turns coefficients into pixels, which cannot fail, is saved.
    """
    found = _decode_colour_jpeg(data, memory, "GRAY", min_height=1, min_width=1, min_factor=4)
    return _decode_any(data, 3)[0] if found is None else found[0]


def _decode_colour_jpeg(
    data: bytes, memory: Memory | None, colours: str, **scale: int
) -> tuple[Header, np.ndarray] | None:
    """A colour JPEG by libjpeg-turbo, which takes less than half of Pillow's time; None for all other kinds."""
    if not data.startswith(JPEG_START):
        return None
    try:
        height, width, stored, _ = simplejpeg.decode_jpeg_header(data)
        if stored != "YCbCr":
            return None
        pixels = simplejpeg.decode_jpeg(data, colours, buffer=memory and memory.of(height * width * 3), **scale)
        return Header("JPEG", "RGB", width, height), pixels
    except ValueError as error:
        raise ImageError(f"damaged JPEG: {error}") from error


def _decode_any(data: bytes, channels: int) -> tuple[Header, np.ndarray]:
    if not data:
        raise ImageError("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if not data.startswith(JPEG_START):
                Image.open(io.BytesIO(data)).verify()  # the checksums inside PNG files, which load() skips
            image = Image.open(io.BytesIO(data))
            header = Header("JPEG" if image.format == "MPO" else image.format, image.mode, *image.size)
            if image.mode not in EIGHT_BIT_MODES:
                raise ImageError(f"mode {image.mode} is not 8 bits per channel")
            pixels = np.asarray(image.convert("RGB" if channels == 3 else "L"))
    except UnidentifiedImageError as error:
        kind = "an HTML page" if data.lstrip()[:1] == b"<" else "of no known image format"
        raise ImageError(f"not an image: {kind}") from error
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's plugins raise many kinds on damaged files
        raise ImageError(f"damaged image: {error}") from error
    return header, pixels.reshape(header.height, header.width, channels)
