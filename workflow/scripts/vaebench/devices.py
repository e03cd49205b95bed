"""Which device computes, and bytes made into the numbers it computes with."""

import fcntl
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vaebench.errors import UserError


def choose_device(name: str, locks: Path | None = None) -> torch.device:
    """The device for `auto`, `cuda` (also cuda:1) or `cpu`; `UserError` when there is no such GPU.

    Where several GPUs are visible, `auto` and `cuda` take one that no other process of vaebench has (see `claim`), so
    that the jobs of one study spread over a workstation's GPUs. `locks` is the folder of the claims.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise UserError(f"training.device: {name} was asked for, but torch {torch.__version__} sees no GPU here")
    if name in ("auto", "cuda"):
        identities = [str(torch.cuda.get_device_properties(index).uuid) for index in range(count)]
        return torch.device("cuda", claim(identities, locks or lock_folder()) if count > 1 else 0)
    device = torch.device(name)
    if device.index >= count:
        raise UserError(f"training.device: {name} was asked for, but torch sees {count} GPUs here, from cuda:0 on")
    return device


def claim(identities: Sequence[str], locks: Path) -> int:
    """The first of the GPUs that no other process holds, by position; it is held until this process ends.

    A claim is a lock on a file named after the GPU, which the system releases with the process, however that ends.
    When all are held, one is shared.
    """
    locks.mkdir(parents=True, exist_ok=True)
    for index, identity in enumerate(identities):
        descriptor = os.open(locks / f"{identity}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
        else:
            return index  # the descriptor stays open, and with it the lock
    return os.getpid() % len(identities)


def lock_folder() -> Path:
    """Where the processes of this user on this machine keep their claims."""
    return Path(tempfile.gettempdir()) / f"vaebench-{os.getuid()}"


def to_unit_interval(pixels: Tensor, memory_format: torch.memory_format = torch.contiguous_format) -> Tensor:
    """uint8 images as float32 in [0, 1] on their device, with the same bits on every device.

    CUDA would multiply by the rounded 1/255 if the divisor were a number of Python's, and miss the quotient by one unit
    in the last place for some values; a tensor on the device is divided by.
    """
    images = pixels.to(torch.float32, memory_format=memory_format)
    return images.div_(torch.full((), 255.0, device=pixels.device))
