"""One's own images: what lies at the source is what the arrays hold, and no other data set's files."""

import csv
import io
import os
import shutil
import zipfile

import pytest
from PIL import Image

from vaebench.base.files import md5_of
from vaebench.base.npz import open_array, read_manifest

from .conftest import new_project

STUDY = """
dataset:
  name: {name}
  images: {{file: birds.zip, bytes: null, md5: null, source: [{images}]}}
  partition: {{file: split.csv, bytes: null, md5: null, source: [{{path: {partition}}}]}}
validation: {{format: null, mode: RGB, width: null, height: null}}
preprocessing: {{crop: null, size: [64, 64], device: cpu}}
evaluation: {{lpips: [], distribution: {{features: []}}}}
threads: {{validate: 1, preprocess: 1}}
"""
MADE = {"validate": 1, "preprocess": 1}
FROM_ZIP = {"download": 2} | MADE


def picture(level):
    """A grey PNG of one level."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (level, level, level)).save(buffer, "PNG")
    return buffer.getvalue()


def write_zip(path, level):
    """Six images of one level, and their partition beside: two for each split."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(6):
            archive.writestr(f"{number}.png", picture(level))
    write_partition(path.with_name("split.csv"), range(6))
    return path


def write_partition(path, numbers):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("image_id", "partition"), *((f"{n}.png", n // 2 % 3) for n in numbers)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project whose arrays are made of mine/birds.zip."""
    project = new_project(tmp_path_factory.mktemp("birds") / "project")
    write_zip(project.root / "mine/birds.zip", 100)
    study(project, "mine/birds.zip")
    output = project.snakemake("data", configfiles=("mine.yaml",)).stdout
    assert "Done. Arrays: data/birds/  Validation: results/birds/validation/\n" in output
    assert not (project.root / "results/birds/tables").exists()
    assert levels(project) == [100]
    return project


@pytest.fixture
def project(finished, tmp_path):
    """A copy of it."""
    return finished.copy(tmp_path / "project")


def study(project, images, name="birds", partition="mine/split.csv"):
    """Write the configuration of a study on the images at a path or an address."""
    kind = "url" if images.startswith("http") else "path"
    text = STUDY.format(name=name, images=f"{{{kind}: {images!r}}}", partition=partition)
    (project.root / "mine.yaml").write_text(text)


def make(project):
    """Make the arrays: the jobs that ran."""
    return project.ran("data", configfiles=("mine.yaml",))


def planned(project):
    return project.planned("data", configfiles=("mine.yaml",))


def levels(project, name="birds", split="train"):
    """The grey levels in an array."""
    return sorted(set(open_array(project.root / f"data/{name}/{split}_data.npz").flatten().tolist()))


def test_braces_in_a_path_are_said_to_be_wildcards_and_a_link_helps(project):
    folder = project.root / "photo{s}/{0}"
    folder.mkdir(parents=True)
    for number in range(6):
        (folder / f"{number}.png").write_bytes(picture(100))
    study(project, "photo{s}/{0}")
    result = project.snakemake("data", flags=["--dry-run"], configfiles=("mine.yaml",), check=False)
    assert result.returncode == 1
    assert "photo{s}/{0}: Snakemake takes what is in braces for a wildcard." in result.stdout
    (project.root / "photographs").symlink_to(folder)
    study(project, "photographs")
    assert planned(project) == MADE
    write_zip(project.root / "photo{s}/birds.zip", 200)
    study(project, "photo{s}/birds.zip")
    assert planned(project) == {"download": 1} | MADE


def test_jobs_run_the_library_of_the_checkout_whichever_is_installed(project):
    """The plan judges the code of the checkout: jobs that ran another's would leave results that it does not belong to.

    Installed in the environment of these tests is the checkout that they are of, and this project is a copy.
    """
    project.edit("workflow/scripts/vaebench/data/validation.py", " images are sound", " images are sound in this copy")
    summary = "results/birds/validation/summary.json"
    project.snakemake(summary, flags=["--forcerun", "validate"], configfiles=("mine.yaml",))
    assert "images are sound in this copy" in (project.root / "results/birds/logs/validate.log").read_text()


def test_two_data_sets_with_the_same_file_names_do_not_mix(project):
    write_zip(project.root / "cats/birds.zip", 200)
    study(project, "cats/birds.zip", name="cats", partition="cats/split.csv")
    assert make(project) == FROM_ZIP
    assert (levels(project), levels(project, "cats")) == ([100], [200])


def test_another_source_is_taken(project):
    write_zip(project.root / "more/birds.zip", 200)
    study(project, "more/birds.zip")
    assert planned(project) == {"download": 1} | MADE
    study(project, "http://mirror.example/birds.zip")
    assert planned(project) == {"download": 1} | MADE, "the plan asks no network"


@pytest.mark.parametrize("how", ["moved, older", "under its old date"])
def test_another_file_under_the_same_name_is_taken(project, how):
    assert planned(project) == {}
    images, other = project.root / "mine/birds.zip", write_zip(project.root / "more/birds.zip", 200)
    facts = images.stat()
    if how == "moved, older":
        os.utime(other, (1, 1))
        other.rename(images)
        assert make(project) == {"download": 1} | MADE
        assert levels(project) == [200]
        assert planned(project) == {}
    else:
        images.write_bytes(other.read_bytes())
        os.utime(images, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        assert planned(project) == {"download": 1} | MADE


def test_another_partition_under_the_same_name_and_date_is_taken(project):
    partition = project.root / "mine/split.csv"
    facts = partition.stat()
    partition.write_text(partition.read_text().replace("0.png,0", "0.png,1").replace("2.png,1", "2.png,0"))
    os.utime(partition, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert planned(project) == {"download": 1} | MADE


def test_equal_bytes_a_new_date_or_no_source_any_more_change_nothing(finished, tmp_path):
    project = finished.copy(tmp_path / "project", keep_dates=False)
    assert planned(project) == {}
    images = project.root / "mine/birds.zip"
    images.write_bytes(images.read_bytes())
    assert planned(project) == {}
    images.unlink()
    assert planned(project) == {}


def test_a_zip_of_equal_images_changes_no_digest(project):
    """What trainings depend on: a zip written anew, with another order of members, gives the same arrays."""
    digests = {path.name: path.read_bytes() for path in (project.root / "data/birds").glob("*.sha256")}
    assert len(digests) == 6
    with zipfile.ZipFile(project.root / "mine/birds.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in reversed(range(6)):
            archive.writestr(f"{number}.png", picture(100))
    assert make(project) == {"download": 1} | MADE
    assert {path.name: path.read_bytes() for path in (project.root / "data/birds").glob("*.sha256")} == digests


def test_a_folder_is_looked_at_file_by_file(project):
    folder = project.root / "photographs"
    (folder / "deep/er").mkdir(parents=True)
    for number in range(6):
        (folder / f"deep/er/{number}.png").write_bytes(picture(100))
    study(project, "photographs")
    assert make(project) == MADE
    (folder / "deep/er/0.png").write_bytes(picture(200))
    assert make(project) == MADE
    assert levels(project) == [100, 200]
    assert planned(project) == {}
    (folder / "deep/er/6.png").write_bytes(picture(200))
    assert planned(project) == MADE


def test_a_file_that_was_changed_by_hand_and_contradicts_its_md5_is_named(project):
    project.edit("mine.yaml", "md5: null", f"md5: {md5_of(project.root / 'mine/birds.zip')}")
    raw = project.root / "data/birds/raw/birds.zip"
    raw.write_bytes(raw.read_bytes() + b"more")
    result = project.snakemake("data", flags=["--dry-run"], configfiles=("mine.yaml",), check=False)
    assert result.returncode == 1
    assert "data/birds/raw/birds.zip has been changed" in result.stdout


def test_a_path_where_nothing_is_stops_before_anything_is_deleted(project):
    """The plan can be looked at on another machine than the one that has the files."""
    study(project, "mine/sparrows.zip")
    assert planned(project) == {"download": 1} | MADE
    result = project.snakemake("data", configfiles=("mine.yaml",), check=False)
    assert result.returncode == 1
    assert "dataset.images.source: there is no mine/sparrows.zip; correct the path" in result.stdout
    study(project, "mine/birds.zip")
    assert planned(project) == {}


def test_tables_that_the_study_no_longer_has_are_removed(project):
    """Report and manuscript show the tables of samplers and published values that lie there."""
    tables = project.root / "results/birds/tables"
    tables.mkdir()
    for name in ("samplers.csv", "samplers.tex", "by_sampler.csv", "published.md", "mine.csv"):
        (tables / name).touch()
    project.edit("mine.yaml", "mode: RGB", "mode: L")  # no image is of use: the first job fails
    project.snakemake("tables", configfiles=("mine.yaml",), check=False)
    assert len(list(tables.iterdir())) == 5, "of a part of the study nobody knows"
    result = project.snakemake(configfiles=("mine.yaml",), check=False)
    assert "Not everything was done" in result.stdout
    assert [path.name for path in tables.iterdir()] == ["mine.csv"]


SIX_LINES = """
dataset:
  name: holidays
  images: {source: [{path: PHOTOGRAPHS}]}
  split: {by: folder}
validation: {format: null, mode: null, width: null, height: null}
preprocessing: {crop: null, size: [64, 64]}
"""


def test_six_lines_make_a_study_of_one_s_own_photographs(project, monkeypatch):
    """Photographs of many sizes and kinds in folders: split by folder; a new folder is found."""
    home = project.root / "home"
    for person in range(8):
        for number, (mode, size, suffix) in enumerate(
            [("RGB", (300, 200), "jpg"), ("L", (90, 120), "JPEG"), ("P", (80, 80), "png")]
        ):
            path = home / f"photographs/p{person}/{number}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size, (20 * person, 0, 0)).convert(mode).save(path)
    monkeypatch.setenv("HOME", str(home))
    (project.root / "mine.yaml").write_text(SIX_LINES.replace("PHOTOGRAPHS", "~/photographs").lstrip())
    assert make(project) == {"split": 1} | MADE
    splits = {
        split: read_manifest(project.root / f"data/holidays/{split}_data.npz")["ids"]
        for split in ("train", "eval", "test")
    }
    assert sorted(len(names) for names in splits.values()) == [3, 3, 18]
    assert len({name.split("/")[0] for name in splits["test"]}) == 1
    shutil.copytree(home / "photographs/p0", home / "photographs/p8")
    assert planned(project) == {"split": 1} | MADE


def test_every_file_lies_in_the_folders_of_the_configuration(project, monkeypatch):
    """Downloads, arrays and annotations on one disk, results on another; what Snakemake notes stays where it runs."""
    (project.root / "mine/who.csv").write_text("image,person\n" + "".join(f"{n}.png,{n + 7}\n" for n in range(6)))
    project.edit("mine.yaml", "validation:", "  identity: {file: who.csv, source: [{path: mine/who.csv}]}\nvalidation:")
    monkeypatch.setenv("SCRATCH", str(project.root / "scratch"))
    project.append("mine.yaml", "data_dir: $SCRATCH/data of birds\nresults_dir: ../elsewhere\n")
    there = {str(path) for path in project.root.rglob("*")}
    project.snakemake("data", configfiles=("mine.yaml",))
    new = {path for path in project.root.rglob("*") if str(path) not in there and path.is_file()}
    places = {path.relative_to(project.root).parts[:2] for path in new if ".snakemake" not in path.parts}
    assert {place for place in places if "__pycache__" not in place} == {("scratch", "data of birds")}
    assert (project.root / "../elsewhere/birds/validation/images.csv").exists()
    persons = project.root / "scratch/data of birds/birds/test_identity.csv"
    assert persons.read_text() == "image,person\n4.png,11\n5.png,12\n"
    lines = project.snakemake(flags=["--summary"], configfiles=("mine.yaml",)).stdout.splitlines()
    files = [line.split("\t")[0] for line in lines if "\t" in line and not line.startswith("output_file")]
    assert len(files) > 50
    homes = (str(project.root / "scratch/data of birds/"), "../elsewhere/birds/")
    assert [file for file in files if not file.startswith(homes)] == []
