"""Images on their way to a device: batches in a fixed order, and the device itself."""

from collections.abc import Iterator
from itertools import repeat

import numpy as np
import torch
from torch import Tensor

from vaebench.base.devices import choose_device, to_unit_interval
from vaebench.base.malloc import keep_freed_memory

ALIGNMENT = 16


def prepare_torch(threads: int, device: str) -> str:
    """Set the number of threads, full float32 precision on GPUs too, and give the device for `auto`, `cuda`, `cpu`."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    chosen = choose_device(device)
    return "cpu" if chosen.type == "mps" else str(chosen)  # the metrics are computed in float64, which mps lacks


def batches(images: np.ndarray, batch_size: int, device: str) -> Iterator[Tensor]:
    """float32 batches in [0, 1] on `device` of uint8 images (n, C, H, W), in order."""
    for start in range(0, len(images), batch_size):
        yield to_float(images[start : start + batch_size], device)


def aligned_batches(images: np.ndarray, batch_size: int, device: str) -> Iterator[tuple[Tensor, int]]:
    """Batches whose size is a multiple of 16, and how many of their images count: the last repeats an image to fill up.

    Matrix products of other sizes take other code paths, which round differently: with these, a value is the same to
    the last bit whatever the batch size, on one device.
    """
    size = ALIGNMENT * max(round(batch_size / ALIGNMENT), 1)
    for start in range(0, len(images), size):
        block = images[start : start + size]
        padding = np.repeat(block[-1:], -len(block) % ALIGNMENT, axis=0)
        yield to_float(np.concatenate([block, padding]), device), len(block)


def aligned_rows(rows: Tensor, batch_size: int) -> Iterator[tuple[Tensor, int]]:
    """The same for the rows of a tensor."""
    size = ALIGNMENT * max(round(batch_size / ALIGNMENT), 1)
    for block in rows.split(size):
        missing = -len(block) % ALIGNMENT
        yield torch.cat([block, block[-1:].expand(missing, *block.shape[1:])]), len(block)


def conditions_beside(conditions: np.ndarray | None, batch_size: int, device: str) -> Iterator[Tensor | None]:
    """For each aligned batch of images or latents, the rows of `conditions` (n, K) that a conditional model is given.

    Without rows it yields None without end.
    """
    if conditions is None:
        yield from repeat(None)
    else:
        for rows, _ in aligned_rows(torch.from_numpy(conditions), batch_size):
            yield rows.to(device)


def to_float(images: np.ndarray, device: str) -> Tensor:
    """uint8 images (B, C, H, W) as float32 in [0, 1] on `device`."""
    return to_unit_interval(torch.from_numpy(np.array(images)).to(device))


def to_bytes(images: Tensor) -> np.ndarray:
    """float images in [0, 1] as uint8, rounded to the nearest; what is not a number becomes 0."""
    return (images.nan_to_num() * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
