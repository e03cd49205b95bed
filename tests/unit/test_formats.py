"""Files of an older or a newer format are refused in one line by whoever reads them; no version is the first."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from training_cases import make_spec, outputs, run, write_data

from vaebench.base import formats
from vaebench.base.digests import check_unchanged
from vaebench.base.errors import UserError
from vaebench.base.formats import FORMATS, KEY, read_json, stamped, unstamped, write_npz
from vaebench.base.npz import read_manifest, write_array, write_manifest
from vaebench.base.provenance import write_provenance
from vaebench.base.sealed import load_sealed
from vaebench.models.building import build_model
from vaebench.models.storage import load_model, save_model
from vaebench.results.budget import budget
from vaebench.results.opened import open_study
from vaebench.results.study import Run
from vaebench.results.suite_files import COLUMNS, read_context, write_per_image
from vaebench.results.tables import runs_table
from vaebench.training.checkpoint import Checkpoint
from vaebench.training.record import TrainingFiles, write_history

PAGE = Path(__file__).parents[2] / "docs/formats.md"
SPEC = make_spec("VAE", epochs=1)
RECORD = SPEC.as_record()


def training(folder: Path) -> Path:
    """The folder of a training of a study."""
    return folder / "runs/vae/seed0"


def run_of(folder: Path) -> Run:
    return Run("vae", RECORD, folder / "runs/vae", (0,))


def write_manifest_of(folder):
    write_array(folder / "test_data.npz", np.zeros((2, 1, 4, 4), np.uint8))
    write_manifest(folder / "test_data.npz", {"sha256": "0"}, ["a", "b"])
    return folder / "test_data.json"


def write_model(folder):
    save_model(build_model(SPEC, (1, 32, 32)), RECORD, folder / "final_model")
    return folder / "final_model/vaebench.json"


def write_training(folder):
    write_history([{"epoch": 1, "split": "eval", "term": "mse", "value": 0.5}], training(folder) / "history.csv")
    write_provenance(training(folder) / "provenance.json", {"spec": RECORD})
    return training(folder) / "provenance.json"


def write_attempts(folder):
    Checkpoint(folder, "key").begin_attempt({})
    return folder / "attempts.json"


def write_failure(folder):
    Checkpoint(training(folder) / "training_state", "key").fail({"reason": "diverged"})
    return training(folder) / "training_state/failure.json"


def write_state(folder):
    run(SPEC, write_data(folder), folder)
    return outputs(folder)["state"] / "state.pt"


def write_choice(folder):
    path = folder / "choice.json"
    path.write_text(json.dumps(stamped("tuning", {"values": {}})))
    return path


def chosen(folder):
    return TrainingFiles(*[folder] * 6, choice=folder / "choice.json").chosen()


def npz_writer(kind, *parts):
    def write(folder):
        write_training(folder)
        arrays = {"data": np.zeros((2, 1, 4, 4), np.uint8), "sampler": np.array("{}")}
        write_npz(kind, training(folder).joinpath(*parts), arrays)
        return training(folder).joinpath(*parts)

    return write


def write_metrics(folder):
    path = training(folder) / "metrics/per_image.parquet"
    write_per_image(path, ["a"], {"mse": np.zeros(1)}, {"run": "vae"})
    path.with_name("latent.csv").write_text(",".join(COLUMNS) + "\n")
    return path


def train_on(folder):
    return run(SPEC, {name: folder / f"{name}.npz" for name in ("train_data", "eval_data")}, folder)


CASES = {
    "choice": ("tuning", write_choice, chosen),
    "manifest": ("array", write_manifest_of, lambda folder: read_manifest(folder / "test_data.npz")),
    "manifest, changed": ("array", write_manifest_of, lambda folder: check_unchanged(folder / "test_data.npz")),
    "model": ("model", write_model, lambda folder: load_model(folder / "final_model")),
    "provenance": ("training", write_training, open_study),
    "provenance, budget": (
        "training",
        write_training,
        lambda folder: budget([training(folder) / "provenance.json"], {}, folder),
    ),
    "history": ("training", write_training, lambda folder: run_of(folder).history),
    "attempts": ("state", write_attempts, lambda folder: Checkpoint(folder, "key").begin_attempt({})),
    "failure": ("state", write_failure, lambda folder: run_of(folder).failures),
    "state": ("state", write_state, train_on),
    "samples": ("samples", npz_writer("samples", "samples.npz"), lambda folder: run_of(folder).generated(1)),
    "samples, opened": (
        "samples",
        npz_writer("samples", "samples.npz"),
        lambda folder: open_study(folder).samples("vae"),
    ),
    "showcase": (
        "showcase",
        npz_writer("showcase", "showcase.npz"),
        lambda folder: run_of(folder).arrays("showcase.npz"),
    ),
    "latent": (
        "metrics",
        npz_writer("metrics", "metrics", "latent.npz"),
        lambda folder: run_of(folder).arrays("metrics", "latent.npz"),
    ),
    "per image": (
        "metrics",
        write_metrics,
        lambda folder: read_context(training(folder) / "metrics/per_image.parquet"),
    ),
    "suite": (
        "metrics",
        write_metrics,
        lambda folder: runs_table([training(folder) / "metrics/latent.csv"], folder / "runs.csv"),
    ),
}


def set_version(monkeypatch, kind, version):
    monkeypatch.setitem(formats.FORMATS, kind, dataclasses.replace(FORMATS[kind], version=version))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("written", [1, 3])
def test_another_format_is_refused_in_one_line_and_the_file_stays(case, written, tmp_path, monkeypatch):
    kind, write, read = CASES[case]
    set_version(monkeypatch, kind, written)
    path = write(tmp_path)
    content = path.read_bytes()
    set_version(monkeypatch, kind, 2)
    with pytest.raises(UserError) as refused:
        read(tmp_path)
    advice = ("update vaebench, or " if written == 3 else "") + FORMATS[kind].remedy
    assert str(refused.value) == f"{path} was written in format {written}, this vaebench reads format 2: {advice}"
    assert path.read_bytes() == content


def test_every_format_has_a_case_or_is_read_by_its_kind_alone():
    assert {kind for kind, _, _ in CASES.values()} == set(FORMATS) - {"validation"}


def test_the_summary_of_the_validation(tmp_path):
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({KEY: 7, "images": 3}))
    with pytest.raises(
        UserError, match=r"summary\.json was written in format 7, .*: update vaebench, or run `snakemake"
    ):
        read_json("validation", path)


@pytest.mark.parametrize("kind", FORMATS)
def test_what_has_no_version_is_of_the_first(kind, tmp_path):
    assert unstamped(kind, {"a": 1}, tmp_path) == {"a": 1}
    np.savez(tmp_path / "a.npz", a=1)
    assert formats.read_npz(kind, tmp_path / "a.npz") == {"a": 1}
    formats.check_npz(kind, tmp_path / "a.npz")


def test_a_version_that_is_no_number_is_shown(tmp_path):
    with pytest.raises(UserError, match="was written in format x, this vaebench reads format 1: run"):
        unstamped("samples", {KEY: "x"}, tmp_path)


def test_the_version_is_not_part_of_what_is_read(tmp_path):
    write_training(tmp_path)
    assert run_of(tmp_path).provenance == {"spec": RECORD}
    assert KEY in load_sealed(write_state(tmp_path))
    npz_writer("showcase", "showcase.npz")(tmp_path)
    assert KEY not in run_of(tmp_path).arrays("showcase.npz")


def test_the_page_has_the_versions():
    rows = [f"| {one.files} | {one.version} | {one.remedy} |" for one in FORMATS.values()]
    assert set(rows) <= set(PAGE.read_text().splitlines())
