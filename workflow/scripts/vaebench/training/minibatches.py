"""Minibatches for training: from a memory-mapped uint8 array to float32 tensors on the device.

On a GPU with room the uint8 images are moved there once. Otherwise a thread gathers the next batches in pinned memory
while the device computes.
"""

import mmap
import os
from collections import deque
from collections.abc import Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaebench.base.devices import to_unit_interval
from vaebench.base.errors import UserError
from vaebench.base.platforms import read_row
from vaebench.models.interface import Autoencoder

ROOM = 0.25  # share of the GPU's free memory that the images may take
AHEAD = 3  # batches gathered before they are asked for


class Minibatches:
    """The images of one split, batch by batch.

    `images` is uint8 (n, C, H, W), usually a memory map. A last batch of fewer than `smallest` images joins the one
    before it. Batches are float32 (b, C, H, W) in [0, 1] on `device`. Raises `UserError` when the file ends before
    its images do.
    """

    def __init__(
        self,
        images: np.ndarray,
        batch_size: int,
        device: torch.device,
        smallest: int = 1,
        channels_last: bool = False,
    ) -> None:
        self.images = images
        self.batch_size = batch_size
        self.device = device
        self.smallest = smallest
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        whole_file = isinstance(images.base, mmap.mmap)  # and no view of a part
        self._file = os.open(_map_of(images).filename, os.O_RDONLY) if whole_file else None
        self.resident = self._resident()
        self.conditions: Tensor | None = None  # of a conditional model, the rows of all images, on the device

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def order(self, shuffle: bool, mirror: bool = False) -> list[np.ndarray]:
        """The image indices of each batch of one epoch.

        A shuffled order takes two numbers from torch's global random stream, as torch's own DataLoader does: the same
        seed gives the batches that pythae's trainers see. With `mirror` every image is mirrored with probability one
        half, which takes nothing more from that stream: for the mirrored image i stands -1 - i.
        """
        if shuffle:
            _random_int64()  # DataLoader draws the seed of its workers first
            generator = torch.Generator().manual_seed(_random_int64())
            indices = torch.randperm(len(self), generator=generator).numpy()
            if mirror:
                mirrored = torch.randint(2, (len(self),), generator=generator).numpy() == 1
                indices = np.where(mirrored, -1 - indices, indices)
        else:
            indices = np.arange(len(self))
        batches = [indices[i : i + self.batch_size] for i in range(0, len(indices), self.batch_size)]
        if len(batches) > 1 and len(batches[-1]) < self.smallest:
            batches[-2:] = [np.concatenate(batches[-2:])]
        return batches

    def load(self, order: list[np.ndarray]) -> Iterator[Tensor]:
        """The images of each batch of `order`, on the device, those of negative indices mirrored."""
        if self.resident is not None and order:
            all_of_them = torch.from_numpy(np.concatenate(order)).to(self.device)
            some_mirrored = bool((np.concatenate(order) < 0).any())
            for chosen in all_of_them.split([len(batch) for batch in order]):
                batch = self.resident[unmirrored(chosen) if some_mirrored else chosen]
                yield self._to_float(mirror_some(batch, chosen < 0) if some_mirrored else batch)
        elif self.device.type == "cuda":
            for batch in _ahead(self._gather(indices).pin_memory() for indices in order):
                yield self._to_float(batch.to(self.device, non_blocking=True))
        else:
            for indices in order:
                yield self._to_float(self._gather(indices).to(self.device))

    def load_given(self, model: Autoencoder, order: list[np.ndarray]) -> Iterator[Tensor]:
        """The same; while a batch is worked on, a conditional `model` is given the labels of its images."""
        for x, indices in zip(self.load(order), order, strict=True):
            rows = None
            if self.conditions is not None:
                rows = self.conditions[unmirrored(torch.from_numpy(indices)).to(self.device)]
            with model.given(rows):
                yield x

    def _gather(self, chosen: np.ndarray) -> Tensor:
        """The images of these indices, uint8, in memory."""
        if not (chosen < 0).any():
            return self._read(chosen)
        indices = torch.from_numpy(chosen)
        return mirror_some(self._read(unmirrored(indices).numpy()), indices < 0)

    def _read(self, indices: np.ndarray) -> Tensor:
        if self._file is None:
            return torch.from_numpy(self.images[indices])
        mapped = _map_of(self.images)
        batch = np.empty((len(indices), *self.images.shape[1:]), np.uint8)
        for row, index in zip(batch, indices, strict=True):  # pages of the map would count as this process's memory
            try:
                read_row(self._file, row, mapped.offset + int(index) * row.nbytes)
            except (EOFError, OSError) as error:
                raise UserError(f"{mapped.filename} cannot be read: {error}; delete it and run again") from error
        return torch.from_numpy(batch)

    def _to_float(self, batch: Tensor) -> Tensor:
        return to_unit_interval(batch, self.memory_format)

    def _resident(self) -> Tensor | None:
        """The whole split on the GPU, if it takes no more than `ROOM` of what is free there."""
        if self.device.type != "cuda" or self.images.nbytes > ROOM * torch.cuda.mem_get_info(self.device)[0]:
            return None
        resident = torch.empty(self.images.shape, dtype=torch.uint8, device=self.device)
        for i in range(0, len(self.images), 4096):
            rows = self._read(np.arange(i, min(i + 4096, len(self.images))))
            resident[i : i + 4096] = rows.to(self.device)
        return resident


def mean_losses(losses: Sequence[Tensor], order: Sequence[Sized], by_batch: bool = False) -> list[float]:
    """Means of each term over the images, of the losses (terms,) of each batch of `order`.

    With `by_batch` they are means over the batches, whatever their sizes, as pythae has them.
    """
    weights = torch.tensor([1 if by_batch else len(indices) for indices in order], dtype=torch.float64)
    means: list[float] = ((weights[:, None] * torch.stack(list(losses)).cpu().double()).sum(0) / weights.sum()).tolist()
    return means


def unmirrored(indices: Tensor) -> Tensor:
    """Which images an order's indices mean."""
    return torch.where(indices < 0, -1 - indices, indices)


def mirror_some(images: Tensor, chosen: Tensor) -> Tensor:
    """Images (B, C, H, W) with those that are `chosen`, (B,) bool, mirrored from left to right."""
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(-1), images)


def _map_of(images: np.ndarray) -> Any:
    """The memory map that `images` is, with its `filename` and `offset`."""
    return images


def _random_int64() -> int:
    return int(torch.empty((), dtype=torch.int64).random_().item())


def _ahead(items: Iterator[Tensor]) -> Iterator[Tensor]:
    """Yield `items`, made by a thread up to `AHEAD` before they are needed; an error there is raised here."""
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, items, None) for _ in range(AHEAD))
        try:
            while (item := waiting.popleft().result()) is not None:
                waiting.append(thread.submit(next, items, None))
                yield item
        finally:
            thread.shutdown(cancel_futures=True)
