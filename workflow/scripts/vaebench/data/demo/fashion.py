"""Fashion-MNIST: 70,000 real product photographs of ten classes, as Debian's dataset-fashion-mnist packages them."""

import gzip
import hashlib
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from vaebench.base.errors import UserError
from vaebench.data.archive.packed_names import draw_order
from vaebench.data.demo.image_archives import write_archive

PACKAGE = "dataset-fashion-mnist"
INSTALLED = Path("/usr/share/datasets/fashion-mnist")
CLASSES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle-boot")
IMAGES, LABELS = "{}-images-idx3-ubyte", "{}-labels-idx1-ubyte"  # of train and t10k
SHA256 = {  # of the content, however it is compressed
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
HEADER = {IMAGES: 16, LABELS: 8}  # bytes before the values
HELD_OUT = 500  # images of each class that are taken from the training set to validate

Sets = Mapping[str, tuple[np.ndarray, np.ndarray]]


def obtain_fashion(kept: Path, installed: Path = INSTALLED) -> Path:
    """The folder that holds the four files: where Debian installs them, or `kept`, downloaded with apt where need be.

    UserError that says where to put the files when there are none and apt cannot download the package.
    """
    for folder in (installed, kept):
        if all(_file(folder, name) for name in SHA256):
            return folder
    reason = _download(kept)
    if reason:
        raise UserError(
            f"Fashion-MNIST is not here, and {reason}. Install {PACKAGE}, a package of Debian and Ubuntu, or put "
            f"{', '.join(f'{name}.gz' for name in SHA256)} into {kept}"
        )
    return kept


def read_fashion(folder: Path) -> Sets:
    """Images (n, 28, 28) uint8 and classes (n,) uint8 of `train` (60,000) and `t10k` (10,000, the test set).

    UserError when a file is not the published one.
    """
    sets = {}
    for part in ("train", "t10k"):
        images, classes = (_values(folder, layout.format(part), HEADER[layout]) for layout in (IMAGES, LABELS))
        sets[part] = images.reshape(-1, 28, 28), classes
    return sets


def make_fashion(sets: Sets, archive: Path, partition: Path, held_out: int = HELD_OUT, seed: int = 0) -> None:
    """Write the images as a zip with a folder for each class, and their partition.

    The test set is the published one; of each class `held_out` training images, drawn with `seed`, are to validate.
    """
    count = write_archive(archive, partition, "fashion", _images(sets, held_out, seed))
    print(f"{count} real photographs of {len(CLASSES)} classes in {archive}")


def _images(sets: Sets, held_out: int, seed: int) -> Iterator[tuple[str, np.ndarray, int]]:
    for part, (images, classes) in sets.items():
        names = [f"{CLASSES[label]}/{part}-{row:05d}.png" for row, label in enumerate(classes)]
        chosen = set(_drawn(names, classes, held_out, seed)) if part == "train" else set()
        for row, name in enumerate(names):
            yield name, images[row], 2 if part == "t10k" else int(row in chosen)


def _drawn(names: Sequence[str], classes: np.ndarray, count: int, seed: int) -> Iterator[int]:
    """The rows of `count` names of each class."""
    for label in range(len(CLASSES)):
        rows = np.flatnonzero(classes == label)
        order = draw_order((names[row] for row in rows.tolist()), seed)
        yield from rows[order[:count]].tolist()


def _file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)


def _values(folder: Path, name: str, header: int) -> np.ndarray:
    path = _file(folder, name) or folder / name
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is damaged ({error}); delete it, or install {PACKAGE} again") from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        raise UserError(
            f"{path} is not the file of Fashion-MNIST: its content has the SHA-256 {found}, not {SHA256[name]}"
        )
    return np.frombuffer(content, np.uint8, offset=header)


def _download(kept: Path) -> str:
    """Have apt download the package, for which it needs no rights, to `kept`; why that failed, or empty."""
    missing = [program for program in ("apt-get", "dpkg-deb") if shutil.which(program) is None]
    if missing:
        return f"there is no {missing[0]} to download it with"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        got = subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, capture_output=True, text=True)
        archives = list(Path(folder).glob("*.deb"))
        if got.returncode != 0 or len(archives) != 1:
            return f"apt-get download {PACKAGE} failed: {' '.join(got.stderr.split()) or 'no archive came'}"
        unpacked = subprocess.run(["dpkg-deb", "--extract", archives[0], folder], capture_output=True, text=True)
        found = list(Path(folder, *INSTALLED.parts[1:]).glob("*"))
        if unpacked.returncode != 0 or not found:
            return (
                f"{archives[0].name} cannot be unpacked: {' '.join(unpacked.stderr.split()) or 'its files are missing'}"
            )
        kept.mkdir(exist_ok=True)
        for file in found:
            file.replace(kept / file.name)
    return ""
