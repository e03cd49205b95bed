"""What is known of an image file before its pixels, how it is to be read, and why it may be of no use."""

from dataclasses import dataclass
from typing import ClassVar

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".ppm"),
    *(".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".avif", ".avifs"),
    *(".heic", ".heif"),  # for the message that they are not read
)
# Of files that hold images and are not read. Of camera raw, which is made like TIFF, Pillow would read a small preview.
NOT_READ = (
    *(".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".jxl", ".jxr", ".hif"),
    *(".psd", ".psb", ".xcf", ".svg", ".eps", ".pdf", ".exr", ".tga", ".pcx", ".ico"),
    *(".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"),
)


class ImageError(Exception):
    """An image that cannot be used; the message is the reason, for the table of images, and `status` its kind."""

    status: ClassVar[str] = "damaged"


class UnsupportedImageError(ImageError):
    """A kind of image that is not read, sound as the file may be."""

    status = "unsupported"


class LargeImageError(ImageError):
    """More pixels or bytes than the settings allow."""

    status = "large"


@dataclass(frozen=True)
class Header:
    """What an image file says about itself: Pillow's names for format and mode, the size in pixels as it is seen."""

    format: str
    mode: str
    width: int
    height: int


@dataclass(frozen=True)
class Reading:
    """How image files are read: the section `decoding` of the configuration."""

    exif_orientation: bool  # whether a photograph is turned as its EXIF block says
    background: tuple[int, int, int]  # the colour (R, G, B) behind what is transparent
    max_pixels: int
    max_bytes: int  # of a file, in an archive when unpacked

    def check(self, width: int, height: int, weight: float = 1.0) -> None:
        """LargeImageError when an image of that size is not to be decoded, whose pixels count `weight` times each."""
        if width * height * weight > self.max_pixels:
            counted = f" (each counts {weight:.2f} times: docs/dataset-card.md)" if weight > 1 else ""
            size = f"{width} x {height} pixels{counted}"
            raise LargeImageError(f"{size}, more than decoding.max_pixels: {self.max_pixels}")


def check_bytes(size: int, most: int | None) -> None:
    """LargeImageError when a file of `size` bytes is not to be read, for it has more than `most`."""
    if most is not None and size > most:
        raise LargeImageError(f"{size} bytes, more than decoding.max_bytes: {most}")
