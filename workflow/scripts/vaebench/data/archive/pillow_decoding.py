"""What Pillow decodes: every image format that is read but most colour JPEGs, turned into 8 bits per channel."""

import io
import warnings
from collections.abc import Callable

import numpy as np
from PIL import Image, UnidentifiedImageError, __version__, features
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    SAMPLEFORMAT,
    TILELENGTH,
    TILEWIDTH,
    TiffImageFile,
)

from vaebench.data.archive.image_file import Header, ImageError, LargeImageError, Reading, UnsupportedImageError
from vaebench.data.archive.orientation import UPRIGHT, orientation_of

JPEG_START = b"\xff\xd8\xff"
# Those that Pillow reads by itself: for others, such as EPS, it starts a program or needs one more library.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")
EIGHT_BIT_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
GREYS = {"L;2": 85, "L;4": 17}  # of 2 and 4 bits in a PNG: by what Pillow multiplies them, but for the transparent one
SIGNED, APART = 2, 2  # values of SampleFormat and PlanarConfiguration in a TIFF
BYTES_PER_PIXEL = 17  # that decoding takes at most (WebP)
STRIP_PIXELS = 1 << 18  # converted at a time, so that what lies between takes little memory

# Of these Image.open() keeps to itself why it does not take a file for one.
EXPLAINING: dict[bytes, Callable[[io.BytesIO], object]] = {
    JPEG_START: JpegImageFile,
    b"II*\0": TiffImageFile,
    b"MM\0*": TiffImageFile,
}
UNSUPPORTED = (
    "nsupported",
    "cannot handle",
    "unknown pixel mode",
    "MAX_TEXT_CHUNK",  # a text or colour profile of more than 1 MB in a PNG
)  # Pillow's words for sound files that it cannot read
OTHER_KINDS = {b"%!PS": "EPS or PostScript", b"\xc5\xd0\xd3\xc6": "EPS", b"%PDF": "PDF", b"8BPS": "Photoshop"}
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
AVIF_BRANDS = (b"avif", b"avis")


def decode(data: bytes, channels: int, reading: Reading) -> tuple[Header, np.ndarray, int]:
    """Decode an image file in full: header and uint8 pixels (height, width, channels) as stored, and the orientation.

    Of several images in a file, the first. The orientation is 1 where `reading` leaves it aside; that of TIFF files,
    which is not EXIF's, Pillow has applied. Raises ImageError.
    """
    if not data:
        raise ImageError("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what is beside the pixels, and about sizes, which are checked here
            image = _opened(data)
            reading.check(*image.size, _weight(image))
            reading.check(*_tile(image))
            if not data.startswith(JPEG_START):
                image.verify()  # the checksums inside PNG files, which load() skips
                image = _opened(data)
            mode = image.mode
            _set_right(image)
            image.load()
            pixels = _pixels(image, channels, reading.background)
            orientation = orientation_of(image) if reading.exif_orientation else UPRIGHT
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise LargeImageError(
            f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels, the most that Pillow opens"
        ) from error
    except UnidentifiedImageError as error:
        raise _unidentified(data) from error
    except Exception as error:  # Pillow's plugins raise many kinds on damaged files
        raise _judged(error) from error
    return Header("JPEG" if image.format == "MPO" else str(image.format), mode, *image.size), pixels, orientation


def _opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=FORMATS)


def _set_right(image: Image.Image) -> None:
    """Mend the transparent grey of an opened image, which Pillow takes for one of 8 bits.

    UnsupportedImageError where Pillow would make wrong pixels.
    """
    if isinstance(image, PngImageFile) and "transparency" in image.info:
        stored = image.tile[0].args  # how the file has its pixels, where the mode is how Pillow will
        if stored == "RGB;16B":
            raise UnsupportedImageError("a PNG of 16 bits with a transparent colour")
        if stored in GREYS:
            image.info["transparency"] *= GREYS[stored]
    if isinstance(image, TiffImageFile) and (kind := _misread_tiff(image)):
        raise UnsupportedImageError(f"a TIFF of {kind}")


def _misread_tiff(image: TiffImageFile) -> str | None:
    """The kind of an opened TIFF if it is one of those that Pillow reads wrongly."""
    tags = image.tag_v2
    bits = tags.get(BITSPERSAMPLE, (1,))
    if image.mode in SIXTEEN_BIT_MODES and bits[0] != 16:  # the numbers come as they are, not as shares of 2^16
        return f"{bits[0]} bits"
    if image.mode == "I;16" and not tags.get(PHOTOMETRIC_INTERPRETATION, 1):
        return "16 bits whose white is 0"
    if image.mode in EIGHT_BIT_MODES and SIGNED in tags.get(SAMPLEFORMAT, ()):
        return "signed numbers"
    if tags.get(PLANAR_CONFIGURATION) == APART and len(bits) > 1:
        if len(image.getbands()) < 3:
            return "grey whose channels lie apart"
        if max(bits) == 16 and image.tile[0].codec_name == "raw":
            return "16 bits whose channels lie apart, not compressed"
    return None


def _weight(image: Image.Image) -> float:
    """How often a pixel counts: by the memory that decoding takes, of which OpenJPEG needs more than the others."""
    needed = 5 * (len(image.getbands()) + 1) if image.format == "JPEG2000" else 0
    return max(1.0, needed / BYTES_PER_PIXEL)


def _tile(image: Image.Image) -> tuple[int, int]:
    """Width and height of a TIFF file's tiles, which may be larger than the image and are decoded whole; else 1, 1."""
    if not isinstance(image, TiffImageFile):
        return 1, 1
    return image.tag_v2.get(TILEWIDTH, 1), image.tag_v2.get(TILELENGTH, 1)


def _pixels(image: Image.Image, channels: int, background: tuple[int, int, int]) -> np.ndarray:
    """uint8 (height, width, channels), converted strip by strip."""
    if image.mode not in EIGHT_BIT_MODES + SIXTEEN_BIT_MODES and (image.format, image.mode) != ("PPM", "I"):
        raise UnsupportedImageError(f"mode {image.mode} is not 8 or 16 bits per channel")
    pixels = np.empty((image.height, image.width, channels), np.uint8)
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        converted = _opaque(_eight_bits(strip, image.format), background).convert("RGB" if channels == 3 else "L")
        pixels[top : top + rows] = np.asarray(converted).reshape(-1, image.width, channels)
    return pixels


def _eight_bits(image: Image.Image, file_format: str | None) -> Image.Image:
    """Grey of 16 bits as Pillow reads colours of 16 bits: the upper 8, but PNM files are scaled and rounded."""
    if image.mode in EIGHT_BIT_MODES:
        return image
    values = np.asarray(image)
    grey = Image.fromarray(((values + 128) // 257 if file_format == "PPM" else values >> 8).astype(np.uint8))
    if "transparency" in image.info:
        grey.putalpha(Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8)))
    return grey


def _opaque(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """The image over the background where it is transparent."""
    if image.mode == "La":
        image = image.convert("LA")
    if not image.has_transparency_data and image.mode != "RGBa":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, background), image.convert("RGBA"))


def _unidentified(data: bytes) -> ImageError:
    """What to say of a file that Pillow does not take for an image of the formats that are read."""
    kind = next((kind for start, kind in OTHER_KINDS.items() if data.startswith(start)), "")
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand in HEIF_BRANDS:
        kind = "HEIF"
    elif brand in AVIF_BRANDS and not features.check("avif"):
        kind = "AVIF"
    if kind:
        return UnsupportedImageError(f"{kind}, which is not read (Pillow {__version__}): convert it to JPEG or PNG")
    for start, plugin in EXPLAINING.items():
        if data.startswith(start):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    plugin(io.BytesIO(data))
                except Exception as error:  # as above
                    return _judged(error)
    if brand in AVIF_BRANDS:
        return ImageError("damaged image: its header cannot be read")
    return ImageError(f"not an image: {'an HTML page' if data.lstrip()[:1] == b'<' else 'of no known image format'}")


def _judged(error: Exception) -> ImageError:
    """Pillow's complaint, which may be about a kind of image that it does not read."""
    if any(words in str(error) for words in UNSUPPORTED):
        return UnsupportedImageError(f"not read by Pillow {__version__}: {error}")
    if isinstance(error.__cause__, KeyError):  # of its table of the compressions of TIFF files
        return UnsupportedImageError(f"not read by Pillow {__version__}: compression {error}")
    return ImageError(f"damaged image: {error}")
