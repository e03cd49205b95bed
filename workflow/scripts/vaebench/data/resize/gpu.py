"""The part of the preprocessing that a GPU does: the resize, and on demand the decoding. Only this loads PyTorch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from vaebench.base.errors import UserError
from vaebench.data.resize.resampling import PillowResampler, Resampler

DRIVERS = ("/dev/nvidiactl", "/dev/dxg")  # present where an NVIDIA driver is; asking PyTorch costs seconds and memory


def choose(device: str, decoder: str) -> str:
    """`cpu` or `cuda` for the setting auto, cpu or cuda; UserError when a GPU is asked for and there is none."""
    if device == "cpu" or (device == "auto" and not any(Path(driver).exists() for driver in DRIVERS)):
        chosen = "cpu"
    else:
        import torch

        chosen = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and chosen == "cpu":
        raise UserError("preprocessing.device is cuda, but PyTorch finds no usable GPU here: use auto or cpu")
    if decoder == "nvjpeg" and chosen == "cpu":
        raise UserError("preprocessing.decoder nvjpeg needs a GPU, and there is none here: use libjpeg")
    return chosen


def resize(
    frames: list[np.ndarray], resampler: Callable[[int, int], Resampler | PillowResampler], device: str = "cuda"
) -> np.ndarray:
    """Resize uint8 images (height, width, channels), of one size or several, to uint8 (n, channels, H, W)."""
    shapes = [frame.shape for frame in frames]
    results: dict[int, np.ndarray] = {}
    for shape in dict.fromkeys(shapes):
        rows = [row for row, other in enumerate(shapes) if other == shape]
        resized = resampler(*shape[:2]).resize_all([frames[row] for row in rows], device)
        results.update(zip(rows, resized, strict=True))
    return np.stack([results[row] for row in range(len(frames))])


def decode(files: list[bytes], channels: int) -> list[np.ndarray]:
    """Decode JPEGs by nvJPEG to uint8 (height, width, channels); not bit-equal to libjpeg (docs/dataset-card.md)."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    data = [torch.frombuffer(bytearray(file), dtype=torch.uint8) for file in files]
    mode = ImageReadMode.RGB if channels == 3 else ImageReadMode.GRAY
    return [pixels.permute(1, 2, 0).cpu().numpy() for pixels in decode_jpeg(data, mode=mode, device="cuda")]
