"""Pictures inside the page: strips of images and figure files as data addresses."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


def embedded(path: Path) -> str:
    """A PNG or SVG file as a data address."""
    return _address(path.read_bytes(), _TYPES[path.suffix])


def comment(path: Path) -> str:
    """The comment in a PNG file: why a figure has no data; empty where it has."""
    with Image.open(path) as image:
        return str(image.info.get("Comment", ""))


def strip(images: np.ndarray) -> str:
    """Images (k, C, H, W) uint8 side by side in one lossless WebP, as a data address."""
    count, channels, height, width = images.shape
    row = images.transpose(2, 0, 3, 1).reshape(height, count * width, channels)
    buffer = io.BytesIO()
    Image.fromarray(row[..., 0] if channels == 1 else row).save(buffer, "WEBP", lossless=True, quality=50, method=2)
    return _address(buffer.getvalue(), "image/webp")


def _address(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
