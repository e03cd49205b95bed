"""The demo's data set: synthetic faces in exactly CelebA's layout. No photograph of a person is involved.

They are drawn from the generator of a DCGAN (Radford et al. 2016, arXiv:1511.06434) that the package gan-face-generate
ships, trained by its authors on renderings of synthetic heads. A few images are damaged on purpose, so that the
validation has something to find.
"""

import io
import zipfile
from collections.abc import Iterator
from functools import cache
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from vaebench.base.files import atomic_path
from vaebench.data.worker_pool import in_order, worker_pool
from vaebench.download.package_index import read_member

LATENT_DIM, WIDTH, HEIGHT, CROP = 100, 178, 218, 148
COUNTS = {0: 6000, 1: 300, 2: 500}  # images of each split
SEED = 0
BATCH = 100  # faces that are drawn together
TRUNCATION = 0.7  # times which the noise is multiplied: the generator's tails are no faces
DAMAGE = ("cut in half", "empty", "web page", "wrong size", "png")


def make_faces(
    package: Path, archive: Path, partition: Path, splits: dict[int, int] = COUNTS, workers: int = 1
) -> None:
    """Write a zip of 178x218 JPEGs `img_align_celeba/000001.jpg ...` and the partition file that goes with it.

    `package` is the archive of gan-face-generate; `splits` gives the number of sound images of train (0), eval (1) and
    test (2). The five last images of the training split come on top of them and are damaged, one in each way of
    `DAMAGE`. The images are the same for any number of `workers`, the processes that draw.
    """
    tasks = ((package, noise.numpy()) for noise in _noise(sum(splits.values()), SEED))
    lines: list[str] = []
    with (
        worker_pool(workers) as pool,
        atomic_path(archive) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file,
    ):
        encoded = chain.from_iterable(in_order(pool, _draw_jpegs, tasks))
        for split, count in splits.items():
            for _ in tqdm(range(count), desc=f"faces of split {split}", mininterval=5):
                _add(file, lines, split, next(encoded))
            if split == 0:
                for damage in DAMAGE:
                    _add(file, lines, split, damaged(encode_jpeg(_placeholder()), damage))
    with atomic_path(partition) as temporary:
        temporary.write_bytes("".join(lines).encode())
    print(f"{len(lines)} synthetic faces, {len(DAMAGE)} of them damaged on purpose, in {archive}")


def load_generator(package: Path) -> nn.Module:
    """The DCGAN generator with the package's weights: (n, 100, 1, 1) normal noise to (n, 3, 64, 64) in [-1, 1]."""
    weights = torch.load(io.BytesIO(read_member(package, "weights.tar")), weights_only=True, map_location="cpu")
    channels = [LATENT_DIM, 512, 256, 128, 64]
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(pairwise(channels)):
        stride, padding = (1, 0) if index == 0 else (2, 1)
        layers += [nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False)]
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
    layers += [nn.ConvTranspose2d(channels[-1], 3, 4, 2, 1, bias=False), nn.Tanh()]
    generator = nn.Sequential(*layers)
    generator.load_state_dict({name.removeprefix("main."): value for name, value in weights["netG_state_dict"].items()})
    return generator.eval()


def draw_faces(generator: nn.Module, count: int, seed: int) -> Iterator[np.ndarray]:
    """`count` faces as uint8 arrays (64, 64, 3), drawn in the order of the seed from less noise (`TRUNCATION`)."""
    for noise in _noise(count, seed):
        yield from _faces_of(generator, noise)


def _noise(count: int, seed: int) -> Iterator[Tensor]:
    """The generator's noise for `count` faces, (up to `BATCH`, 100, 1, 1) at a time."""
    random = torch.Generator().manual_seed(seed)
    for start in range(0, count, BATCH):
        yield TRUNCATION * torch.randn(min(BATCH, count - start), LATENT_DIM, 1, 1, generator=random)


@torch.no_grad()
def _faces_of(generator: nn.Module, noise: Tensor) -> np.ndarray:
    """The faces of some noise, uint8 (n, 64, 64, 3)."""
    drawn: Tensor = generator(noise)
    return ((drawn + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def _draw_jpegs(package: Path, noise: np.ndarray) -> list[bytes]:
    """What a worker does for one batch."""
    return [encode_jpeg(face) for face in _faces_of(_worker_generator(package), torch.from_numpy(noise))]


@cache
def _worker_generator(package: Path) -> nn.Module:
    torch.set_num_threads(1)  # the processes are the parallelism
    return load_generator(package)


def encode_jpeg(face: np.ndarray, quality: int = 90) -> bytes:
    """A face as a JPEG of CelebA's 178x218 pixels: enlarged to the square that the study crops, edges extended."""
    square = Image.fromarray(face).resize((CROP, CROP), Image.Resampling.BICUBIC)
    left, top = (WIDTH - CROP) // 2, (HEIGHT - CROP) // 2
    margins = ((top, HEIGHT - CROP - top), (left, WIDTH - CROP - left), (0, 0))
    buffer = io.BytesIO()
    Image.fromarray(np.pad(np.asarray(square), margins, mode="edge")).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def damaged(jpeg: bytes, damage: str) -> bytes:
    """The bytes of an image spoilt in one of the ways of `DAMAGE`."""
    if damage == "cut in half":
        return jpeg[: len(jpeg) // 2]
    if damage == "empty":
        return b""
    if damage == "web page":
        return b"<!DOCTYPE html><html><body>Too many users have viewed this file recently.</body></html>"
    image = Image.open(io.BytesIO(jpeg))
    buffer = io.BytesIO()
    if damage == "wrong size":
        image.resize((WIDTH // 2, HEIGHT // 2)).save(buffer, "JPEG")
    elif damage == "png":
        image.save(buffer, "PNG")
    else:
        raise ValueError(f"unknown damage {damage!r}")
    return buffer.getvalue()


def _placeholder() -> np.ndarray:
    """A grey gradient to damage, so that no drawn face is lost to it."""
    return np.tile(np.linspace(0, 255, 64, dtype=np.uint8)[:, None, None], (1, 64, 3))


def _add(file: zipfile.ZipFile, lines: list[str], split: int, content: bytes) -> None:
    """Append one image to the zip, with a fixed date so that equal images give equal bytes, and its partition line."""
    name = f"{len(lines) + 1:06d}.jpg"
    file.writestr(zipfile.ZipInfo(f"img_align_celeba/{name}", (1980, 1, 1, 0, 0, 0)), content)
    lines.append(f"{name} {split}\r\n")
