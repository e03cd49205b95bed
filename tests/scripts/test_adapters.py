"""The adapters, driven without Snakemake: each must hand what a rule declares to the one function it calls."""

import io
import runpy
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fake_study import Fake, build_study
from PIL import Image

from vaebench.base.files import md5_of
from vaebench.base.npz import open_array
from vaebench.base.values import as_dict
from vaebench.download.file_source import Place
from vaebench.results.protocol import StudyProtocol
from vaebench.results.published_values import read_published

DECODING = {"exif_orientation": True, "background": [255, 255, 255], "max_pixels": 10_000, "max_bytes": 10_000}
ANYTHING = dict.fromkeys(("format", "mode", "width", "height", "min_width", "min_height", "crop"))
SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"


class Files(list):
    """Snakemake's named lists: items by position and by name."""

    def __init__(self, items=(), **names):
        super().__init__([*items, *(value for value in names.values() if isinstance(value, str))])
        self.__dict__.update(names)

    def get(self, name):
        return self.__dict__.get(name)


@pytest.fixture
def run_script(tmp_path, monkeypatch):
    """Run a script as Snakemake would, its output kept by pytest instead of the log's file descriptors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vaebench.base.log.redirect_output", lambda log: None)

    def run(name, **attributes):
        snakemake = SimpleNamespace(log=["log.txt"], threads=1, wildcards=SimpleNamespace(), **attributes)
        runpy.run_path(str(SCRIPTS / name), init_globals={"snakemake": snakemake}, run_name="__main__")

    return run


@pytest.fixture
def pictures(tmp_path):
    """A zip of eight grey images with a partition, and the images as an array."""
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32), dtype=np.uint8)
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for index, image in enumerate(images):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "PNG")
            archive.writestr(f"{index}.png", buffer.getvalue())
    (tmp_path / "partition.txt").write_text("".join(f"{index}.png {min(index // 3, 2)}\n" for index in range(8)))
    return images


def test_validate_and_preprocess(run_script, pictures, tmp_path):
    expected = {"format": "PNG", "mode": "L", "width": 32, "height": 32, "max_bad_fraction": 0.0}
    settings = ANYTHING | DECODING | expected
    run_script(
        "validate.py",
        input=Files(images="pictures.zip", partition="partition.txt"),
        output=Files(table="images.csv", summary="summary.json"),
        params=SimpleNamespace(settings=settings),
    )
    run_script(
        "preprocess.py",
        input=Files(images="pictures.zip", partition="partition.txt", table="images.csv"),
        output=Files(arrays=[f"{split}_data.npz" for split in ("train", "eval", "test")]),
        params=SimpleNamespace(
            settings=DECODING
            | {
                "crop": None,
                "size": None,
                "filter": "lanczos",
                "channels": 1,
                "decoder": "libjpeg",
                "compress": False,
                "limit": None,
            },
            how=SimpleNamespace(batch_size=4, device="cpu"),
            dataset="pictures",
        ),
    )
    assert np.array_equal(open_array(tmp_path / "train_data.npz")[:, 0], pictures[:3])
    assert np.array_equal(open_array(tmp_path / "eval_data.npz")[:, 0], pictures[3:6])
    assert np.array_equal(open_array(tmp_path / "test_data.npz")[:, 0], pictures[6:])


def test_bad_input_ends_with_one_line_and_exit_code_one(run_script, tmp_path, capsys):
    (tmp_path / "partition.txt").write_text("0.png 0\n")
    (tmp_path / "pictures.zip").write_text("<html>quota</html>")
    with pytest.raises(SystemExit) as caught:
        run_script(
            "validate.py",
            input=Files(images="pictures.zip", partition="partition.txt"),
            output=Files(table="images.csv", summary="summary.json"),
            params=SimpleNamespace(settings=ANYTHING | DECODING | {"max_bad_fraction": 0.0}),
        )
    assert caught.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith("Error: ")
    assert "pictures.zip" in message
    assert not (tmp_path / "images.csv").exists()


def test_download_keeps_the_checked_file_when_snakemake_deletes_the_output(run_script, tmp_path):
    """The second run has no source that works: the file of the first one, kept and checked again, must do."""
    file = {"file": "partition.txt", "bytes": 2836386, "md5": "d32c9cbf5e040fd4025c592c306e6668", "origin": None}
    for source in ({"generate": "celeba_partition"}, {"path": "/nowhere"}):
        settings = {"timeout": 5, "retries": 0, "cookies": None}
        how = SimpleNamespace(source=Place.all_of([source]), downloads="data/downloads", settings=settings)
        (tmp_path / "data/celeba/raw/partition.txt").unlink(missing_ok=True)
        run_script(
            "download.py",
            output=["data/celeba/raw/partition.txt"],
            params=SimpleNamespace(file=file, how=how),
        )
        assert md5_of(tmp_path / "data/celeba/raw/partition.txt") == file["md5"]


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.py")))
def test_adapters_are_short_and_hold_no_logic(script):
    lines = (SCRIPTS / script).read_text().splitlines()
    assert len(lines) <= 30
    assert not [line for line in lines if line.startswith(("def ", "class "))]
    assert sys.path[0] != str(SCRIPTS)


def test_published_gets_values_and_protocol_as_the_snakefile_gives_them(run_script, tmp_path):
    study = build_study(tmp_path, (Fake("vae", "VAE"), Fake("ae", "AE")), seeds=(0,), shape=(3, 16, 16))
    source = Path(__file__).parents[2] / "workflow/published/rae.yaml"
    protocol = StudyProtocol("fake", None, None, (16, 16), "lanczos", 3, "test", None, 100)
    tables = tmp_path / "results/fake/tables"
    run_script(
        "published.py",
        input=Files(manifests=[f"data/fake/{split}_data.json" for split in ("train", "eval", "test")]),
        output=Files([str(tables / "published.md")], csv=str(tables / "published.csv")),
        params=SimpleNamespace(
            plugins=SimpleNamespace(files=[]),
            study=as_dict(study["plan"]),
            values=[as_dict(value) for value in read_published(str(source))],
            protocol=as_dict(protocol),
        ),
    )
    lines = (tables / "published.csv").read_text().splitlines()
    assert len(lines) == 1 + 70
    assert all("Ghosh" in line for line in lines[1:])
    assert (tables / "published.tex").exists()
