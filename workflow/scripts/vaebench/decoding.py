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
    pixels = _decode_colour_jpeg(data, "RGB", memory) if channels == 3 else None
    if pixels is None:
        return _decode_any(data, channels)
    return _header(pixels), pixels


def examine(data: bytes, memory: Memory | None = None) -> Header:
    """Decode an image file in full, for its header or the same ImageError as `decode`.

    A colour JPEG is decoded to grey: all data of its three components are read, where damage shows; only the arithmetic
    that turns the two components of colour into pixels, which cannot fail, is saved.
    """
    pixels = _decode_colour_jpeg(data, "GRAY", memory)
    return _decode_any(data, 3)[0] if pixels is None else _header(pixels)


def _header(pixels: np.ndarray) -> Header:
    """What a colour JPEG of these pixels said about itself."""
    return Header("JPEG", "RGB", pixels.shape[1], pixels.shape[0])


def _decode_colour_jpeg(data: bytes, colours: str, memory: Memory | None) -> np.ndarray | None:
    """A colour JPEG by libjpeg-turbo, which takes less than half of Pillow's time; None for all other kinds."""
    if not data.startswith(JPEG_START):
        return None
    try:
        height, width, stored, _ = simplejpeg.decode_jpeg_header(data)
        if stored != "YCbCr":
            return None
        return simplejpeg.decode_jpeg(data, colours, buffer=memory and memory.of(height * width * 3))
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
