"""Which device computes, and bytes made into the numbers it computes with."""

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from vaebench.base.errors import UserError


def choose_device(name: str, locks: Path | None = None) -> torch.device:
    """The device for `auto`, `cuda` (also cuda:1), `mps` or `cpu`; `UserError` when there is no such GPU.

    `auto` is an NVIDIA GPU, else the GPU of an Apple processor (mps), else the CPU. Where several GPUs are visible,
    `auto` and `cuda` take one that no other process of vaebench has (see `claim`), so that the jobs of one study spread
    over a workstation's GPUs. `locks` is the folder of the claims. The GPU becomes the present one of this process, to
    which streams, and the steps recorded on them, belong.
    """
    if name == "auto" and not torch.cuda.is_available():
        name = "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "mps" and not torch.backends.mps.is_available():
        raise UserError(f"training.device: mps was asked for, but torch {torch.__version__} sees no Apple GPU here")
    if name in ("cpu", "mps"):
        return torch.device(name)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise UserError(f"training.device: {name} was asked for, but torch {torch.__version__} sees no GPU here")
    if name in ("auto", "cuda"):
        identities = [str(torch.cuda.get_device_properties(index).uuid) for index in range(count)]
        device = torch.device("cuda", claim(identities, locks or lock_folder()) if count > 1 else 0)
    else:
        device = torch.device(name)
    if device.index >= count:
        raise UserError(f"training.device: {name} was asked for, but torch sees {count} GPUs here, from cuda:0 on")
    torch.cuda.set_device(device)
    return device


def claim(identities: Sequence[str], locks: Path) -> int:
    """The first of the GPUs that no other process holds, by position; it is held until this process ends.

    A claim is a lock on a file named after the GPU, which the system releases with the process, however that ends. A
    process that asks again gets the GPU that it has. When all are held, one is shared.
    """
    locks.mkdir(parents=True, exist_ok=True)
    for index, identity in enumerate(identities):
        descriptor = os.open(locks / f"{identity}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
        else:
            return index  # the descriptor stays open, and with it the lock
    return os.getpid() % len(identities)


def lock_folder() -> Path:
    """Where the processes of this user on this machine keep their claims."""
    return Path(tempfile.gettempdir()) / f"vaebench-{os.getuid()}"


def random_state(device: torch.device) -> Tensor | None:
    """The state of the device's own random numbers; None for the CPU, whose generator is torch's global one."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None


def set_random_state(state: Tensor | None, device: torch.device) -> None:
    """Put back what `random_state` gave; a state of another kind of device is left aside."""
    if state is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    elif state is not None and device.type == "mps":
        torch.mps.set_rng_state(state)


@contextmanager
def random_numbers_kept(device: torch.device) -> Iterator[None]:
    """After the block torch's random numbers, on the CPU and on `device`, go on as if it had drawn none."""
    states = torch.get_rng_state(), random_state(device)
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        set_random_state(states[1], device)


def sum_in_float64(values: Tensor) -> Tensor:
    """Their sum, float64, on their device; on the CPU for an Apple GPU, which has no float64."""
    return (values.cpu() if values.device.type == "mps" else values).sum(dtype=torch.float64)


def to_unit_interval(pixels: Tensor, memory_format: torch.memory_format = torch.contiguous_format) -> Tensor:
    """uint8 images as float32 in [0, 1] on their device, with the same bits on every device.

    CUDA would multiply by the rounded 1/255 if the divisor were a number of Python's, and miss the quotient by one unit
    in the last place for some values; a tensor on the device is divided by.
    """
    images = pixels.to(torch.float32, memory_format=memory_format)
    return images.div_(torch.full((), 255.0, device=pixels.device))
