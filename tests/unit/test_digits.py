import io
import zipfile
from collections import Counter

import numpy as np
from PIL import Image

from vaebench.data.demo.digits import make_digits, read_digits


def test_archive_holds_every_digit_unchanged_in_balanced_splits(digit_package, tmp_path):
    images, classes = read_digits(digit_package)
    assert images.shape == (5000, 28, 28)
    assert np.bincount(classes).tolist() == [500] * 10
    make_digits(digit_package, tmp_path / "digits.zip", tmp_path / "partition.txt")
    partition = dict(line.split() for line in (tmp_path / "partition.txt").read_text().splitlines())
    counts = Counter((split, name[11]) for name, split in partition.items())
    assert {split: {counts[split, str(digit)] for digit in range(10)} for split in "012"} == {
        "0": {400},
        "1": {50},
        "2": {50},
    }
    with zipfile.ZipFile(tmp_path / "digits.zip") as file:
        assert len(file.namelist()) == len(partition) == 5000
        for member in file.namelist()[::100]:
            position, label = int(member[6:11]), int(member[17])
            image = Image.open(io.BytesIO(file.read(member)))
            assert image.mode == "L"
            assert np.array_equal(np.asarray(image), images[position])
            assert label == classes[position]
