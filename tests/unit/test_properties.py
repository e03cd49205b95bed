"""Properties that hold for any input, searched by Hypothesis for one that breaks them."""

import io
import tempfile
import zipfile
from copy import deepcopy
from pathlib import Path

import numpy as np
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from vaebench.base.errors import UserError
from vaebench.config.completion import complete, load_schema
from vaebench.config.runs import expand_runs
from vaebench.data.archive import packed_names
from vaebench.data.archive.images import read_partition
from vaebench.data.archive.zips import ZipReader
from vaebench.data.cropping import crop_box
from vaebench.data.resize.filters import FILTERS
from vaebench.data.resize.resampling import Resampler

ROOT = Path(__file__).parents[2]
CONFIG = yaml.safe_load((ROOT / "config/config.yaml").read_text())
SCHEMA = load_schema()
search = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

sides = st.integers(1, 60)
# Any text that a file system takes as a name.
names = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="/\\"), min_size=1)


@search
@given(
    height=sides,
    width=sides,
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.sampled_from([1, 3]),
    filter_name=st.sampled_from(sorted(FILTERS)),
    seed=st.integers(0, 999),
)
def test_a_resize_is_pillow_s_for_any_geometry(height, width, size, channels, filter_name, seed):
    image = np.random.default_rng(seed).choice([0, 255, 127, 3], (height, width, channels)).astype(np.uint8)
    pillow = Image.fromarray(image[..., 0] if channels == 1 else image).resize(size[::-1], FILTERS[filter_name])
    output = np.empty((channels, *size), np.uint8)
    Resampler(height, width, channels, size, filter_name).resize(image, output)
    assert np.array_equal(output, np.asarray(pillow).reshape(*size, channels).transpose(2, 0, 1))


@search
@given(width=sides, height=sides, crop=st.one_of(st.none(), sides, st.tuples(sides, sides)))
def test_a_crop_has_its_size_lies_within_the_image_and_in_its_middle(width, height, crop):
    wanted = {"center": list(crop) if isinstance(crop, tuple) else crop} if crop else None
    crop_height, crop_width = (height, width) if crop is None else crop if isinstance(crop, tuple) else (crop, crop)
    try:
        left, top, right, bottom = crop_box(wanted, width, height)
    except UserError:
        assert crop_height > height or crop_width > width
        return
    assert (right - left, bottom - top) == (crop_width, crop_height)
    assert left >= 0 <= top
    assert right <= width
    assert bottom <= height
    assert abs(left - (width - right)) <= 1
    assert abs(top - (height - bottom)) <= 1


@search
@given(rows=st.lists(st.tuples(names, st.integers(0, 2)), min_size=1, max_size=20), comma=st.booleans())
def test_a_partition_says_what_was_written_into_it(rows, comma):
    rows = [(name.strip() or "x", split) for name, split in rows]
    assume(all(name.isprintable() and '"' not in name and "," not in name for name, _ in rows))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "partition.csv" if comma else "partition.txt")
        header = "image_id,partition\n" if comma else ""
        separator = "," if comma else " "
        path.write_text(header + "".join(f"{name}{separator}{split}\n" for name, split in rows), encoding="utf-8")
        found = read_partition(path)
    assert found.splits.tolist() == [split for _, split in rows]
    assert list(packed_names.unpack(found.names)) == [packed_names.canonical_name(name) for name, _ in rows]


@search
@given(
    members=st.dictionaries(names, st.binary(max_size=200), min_size=1, max_size=8),
    deflate=st.booleans(),
    before=st.binary(max_size=50),
    comment=st.binary(max_size=50),
)
def test_a_zip_is_read_as_python_s_zipfile_reads_it(members, deflate, before, comment):
    assume(b"PK" not in before + comment)
    buffer = io.BytesIO(before)
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.comment = comment
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "images.zip")
        path.write_bytes(buffer.getvalue())
        reader = ZipReader(path)
        found = {name: reader.read(position) for name, position in reader.entries()}
        with zipfile.ZipFile(path) as archive:
            expected = {info.filename: archive.read(info) for info in archive.infolist()}
    assert found == expected


def reordered(value, draw):
    """A mapping with its keys, and those of the mappings in it, in another order."""
    if not isinstance(value, dict):
        return value
    return {key: reordered(value[key], draw) for key in draw(st.permutations(sorted(value)))}


@search
@given(data=st.data())
def test_the_order_of_keys_in_a_configuration_means_nothing_but_the_order_of_its_runs(data):
    shuffled = reordered(deepcopy(CONFIG), data.draw)
    expected, found = (expand_runs(complete(config, SCHEMA)) for config in (CONFIG, shuffled))
    assert found == expected
    entries = [name for name, spec in shuffled["models"].items() if spec is not None]
    assert list(dict.fromkeys(spec.entry for spec in found.values())) == entries


@search
@given(
    betas=st.lists(st.floats(0.01, 100).map(lambda beta: round(beta, 3)), min_size=1, max_size=4, unique=True),
    dims=st.lists(st.integers(1, 64), min_size=1, max_size=3, unique=True),
)
def test_a_sweep_makes_one_run_of_each_combination(betas, dims):
    assume(len({f"{beta:g}" for beta in betas}) == len(betas))
    config = deepcopy(CONFIG)
    entry = config["models"]["beta_vae"]
    entry["config"] = {
        key: value for key, value in entry.get("config", {}).items() if key not in ("beta", "latent_dim")
    }
    entry["sweep"] = {"beta": betas, "latent_dim": dims}
    runs = [spec for spec in expand_runs(complete(config, SCHEMA)).values() if spec.entry == "beta_vae"]
    assert {(spec.config["beta"], spec.config["latent_dim"]) for spec in runs} == {
        (beta, dim) for beta in betas for dim in dims
    }
    assert len(runs) == len(betas) * len(dims)
