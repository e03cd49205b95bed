"""From the bytes of an image file to its pixels, with every damage that a decoder can notice reported."""

import re

import numpy as np
import simplejpeg

from vaebench.data.archive import pillow_decoding
from vaebench.data.archive.image_file import Header, ImageError, Reading, UnsupportedImageError
from vaebench.data.archive.orientation import SIDEWAYS, UPRIGHT, jpeg_orientation, turned
from vaebench.data.archive.pillow_decoding import JPEG_START

MOST_SCANS = 100  # of a JPEG, as in libtiff; encoders write up to about 20
SCAN, END = b"\xff\xda", b"\xff\xd9"  # markers
SCANS = re.compile(SCAN)  # a third of the time of bytes.count
SEGMENT_OR_END = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
# Complaints of libjpeg that are not about the pixels: where their reason stands, and what has to stand there. It tells
# its first complaint alone, so that the file is mended and decoded once more.
BESIDE_PIXELS = {
    "bad ICC marker": (re.compile(rb"ICC_PROFILE\0"), b"icc profile\0"),
    "unknown JFIF revision": (re.compile(rb"(?s)JFIF\0.."), b"JFIF\0\x01\x01"),
    "Invalid SOS parameters": (re.compile(rb"(?s)(\xff\xda\0(?:\x08\x01..|\x0c\x03.{6}))..."), b"\\1\0\x3f\0"),
}


class Memory:
    """Bytes that are used for one image after the other."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def of(self, size: int) -> np.ndarray:
        """At least `size` bytes."""
        if len(self._bytes) < size:
            self._bytes = np.empty(size, np.uint8)
        return self._bytes


def decode(data: bytes, channels: int, reading: Reading, memory: Memory | None = None) -> tuple[Header, np.ndarray]:
    """Decode an image file in full.

    With `memory` the pixels may last only until its next use: fresh memory for every image costs a quarter of the time.

    Returns the header and the pixels, uint8 (height, width, channels). They equal Pillow's `convert("RGB")` (3
    channels) or `convert("L")` (1 channel), after `ImageOps.exif_transpose` where `reading` asks for it; transparent
    images are first composited on the background, and of 16 bits per channel the upper 8 are taken. Raises ImageError
    for whatever is cut short, damaged, too large, of no supported kind, or no image.
    """
    colours, width, height = _jpeg_header(data)
    if colours != "YCbCr" or channels != 3:
        header, pixels, orientation = pillow_decoding.decode(data, channels, reading)
    else:
        reading.check(width, height)
        pixels = _turbojpeg(data, "RGB", None if memory is None else memory.of(height * width * 3))
        header, orientation = Header("JPEG", "RGB", width, height), _orientation(data, reading)
    return _seen(header, orientation), turned(pixels, orientation)


def examine(data: bytes, reading: Reading, memory: Memory | None = None) -> Header:
    """Decode an image file in full, for its header or the same ImageError as `decode`.

    A colour JPEG is decoded to grey at a quarter of its size: all data of its three components are read, where damage
    shows; only arithmetic that turns coefficients into pixels, which cannot fail, is saved. Other JPEGs are decoded in
    this way too, since Pillow passes over what libjpeg complains about, and then by Pillow.
    """
    colours, width, height = _jpeg_header(data)
    if colours:
        reading.check(width, height)
        buffer = None if memory is None else memory.of(height * width * 4)
        target = "CMYK" if colours in ("CMYK", "YCCK") else "GRAY"
        _turbojpeg(data, target, buffer, min_height=1, min_width=1, min_factor=4)
    if colours == "YCbCr":
        return _seen(Header("JPEG", "RGB", width, height), _orientation(data, reading))
    header, _, orientation = pillow_decoding.decode(data, 3, reading)
    return _seen(header, orientation)


def _jpeg_header(data: bytes) -> tuple[str, int, int]:
    """(colours, width, height) of a JPEG that libjpeg-turbo decodes, in less than half of Pillow's time.

    The colours are empty for others: what is no JPEG or damaged before its pixels, and rare ways to sample colours.
    UnsupportedImageError for a JPEG of too many scans.
    """
    if not data.startswith(JPEG_START):
        return "", 0, 0
    if len(SCANS.findall(data)) > MOST_SCANS and (scans := _scans(data)) > MOST_SCANS:
        raise UnsupportedImageError(
            f"JPEG: {scans} scans, of which at most {MOST_SCANS} are decoded, since each may take as long as an image: "
            "save it anew"
        )
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError):  # KeyError: a way to sample colours (4:4:1) that simplejpeg has no name for
        return "", 0, 0
    return colours, width, height


def _scans(data: bytes) -> int:
    """How many scans a JPEG has, as libjpeg finds them: up to its end, and not inside other segments."""
    count, place = 0, len(JPEG_START) - 1
    while (found := SEGMENT_OR_END.search(data, place)) and found[0] != END:
        count += found[0] == SCAN
        place = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
    return count


def _turbojpeg(data: bytes, colours: str, buffer: np.ndarray | None, **scale: int) -> np.ndarray:
    try:
        pixels: np.ndarray = simplejpeg.decode_jpeg(data, colours, buffer=buffer, **scale)
        return pixels
    except ValueError as error:
        if str(error).startswith("Unsupported"):  # such as 12 bits per channel
            raise UnsupportedImageError(f"JPEG: {error}") from error
        if (mended := _mended_beside_pixels(data, str(error))) != data:
            return _turbojpeg(mended, colours, buffer, **scale)
        raise ImageError(f"damaged JPEG: {error}") from error


def _mended_beside_pixels(data: bytes, complaint: str) -> bytes:
    """The JPEG without what the complaint is about, if that is not the pixels."""
    for words, (wrong, right) in BESIDE_PIXELS.items():
        if words in complaint:
            data = wrong.sub(right, data)
    return data


def _orientation(data: bytes, reading: Reading) -> int:
    return jpeg_orientation(data) if reading.exif_orientation else UPRIGHT


def _seen(header: Header, orientation: int) -> Header:
    """The header of the image as it is to be seen."""
    if orientation not in SIDEWAYS:
        return header
    return Header(header.format, header.mode, header.height, header.width)
