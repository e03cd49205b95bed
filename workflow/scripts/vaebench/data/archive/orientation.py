"""How a photograph is to be turned: the EXIF orientation that cameras write instead of turning the pixels."""

import io
import warnings

import numpy as np
from PIL import ExifTags, Image

UPRIGHT = 1
# What each orientation asks for, in this order: exchange rows and columns, turn rows upside down, mirror them.
SIDEWAYS, UPSIDE_DOWN, MIRRORED = (5, 6, 7, 8), (3, 4, 7, 8), (2, 3, 6, 7)
APP1 = b"\xff\xe1"  # begins the segments of a JPEG that hold EXIF and XMP blocks, and occurs nowhere in the pixels


def orientation_of(image: Image.Image) -> int:
    """The orientation, 1 to 8, of a loaded image; 1 where none is written, or what is written is damaged."""
    try:
        value: object = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Pillow raises many kinds on a damaged block, which says nothing about the pixels
        return UPRIGHT
    return int(value) if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def jpeg_orientation(data: bytes) -> int:
    """The same of a JPEG file, of which only the blocks before the pixels are read, and only when there are such."""
    if data.rfind(APP1) < 0:  # half the time of a search from the start
        return UPRIGHT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data), formats=("JPEG",))
        except Exception:  # as above
            return UPRIGHT
        return orientation_of(image)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(height, width, channels) pixels as they are to be seen; a view."""
    if orientation in SIDEWAYS:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in UPSIDE_DOWN:
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in MIRRORED else pixels
