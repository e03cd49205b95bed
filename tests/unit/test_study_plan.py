import shutil
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from vaebench.base.errors import UserError
from vaebench.base.npz import write_manifest
from vaebench.config.plan import describe, disks, make_plan, read_config, trainings
from vaebench.training.record import write_history

PROJECT = Path(__file__).parents[2]
CONFIGS = [PROJECT / "config" / "config.yaml"]


def write_speed(training, speed):
    training.folder.mkdir(parents=True)
    rows = [(0, "eval", "loss", 3.0), (1, "train", "images_per_second", float(speed))]
    named = [dict(zip(("epoch", "split", "term", "value"), row, strict=True)) for row in rows]
    write_history(named, training.folder / "history.csv")


def write_manifests(folder, counts):
    data = folder / "data" / "celeba"
    data.mkdir(parents=True)
    for split, count in counts.items():
        write_manifest(data / f"{split}_data.npz", {"shape": [count, 3, 64, 64]}, [])


def test_files_are_merged_key_by_key(tmp_path):
    over = tmp_path / "over.yaml"
    over.write_text(yaml.safe_dump({"seeds": [7], "models": {"vae": None, "vqvae": {"config": {"latent_dim": 8}}}}))
    config = read_config([*CONFIGS, over])
    assert config["seeds"] == [7]
    assert config["models"]["vae"] is None
    assert config["models"]["vqvae"]["config"]["latent_dim"] == 8
    assert config["models"]["vqvae"]["config"]["num_embeddings"] == 1024
    with pytest.raises(UserError, match=r"absent\.yaml"):
        read_config([tmp_path / "absent.yaml"])


@pytest.mark.parametrize(
    "over",
    [
        {"seeds": [7], "models": {"vae": None, "vqvae": {"config": {"latent_dim": 8}}}},
        {"models": {"vae": {"sweep": {"latent_dim": [4, 8]}}}, "preprocessing": {"crop": None}},
        {"dataset": {"labels": {"file": "a.csv"}}},  # a mapping in the place of null, or of text
        {"preprocessing": {"crop": {"box": [0, 0, 64, 64]}}},
    ],
)
def test_files_are_merged_as_snakemake_merges_them(tmp_path, over):
    (tmp_path / "over.yaml").write_text(yaml.safe_dump(over))
    expected = yaml.safe_load(CONFIGS[0].read_text())
    update_config(expected, over)
    (tmp_path / "merged.yaml").write_text(yaml.safe_dump(expected, sort_keys=False))
    assert read_config([*CONFIGS, tmp_path / "over.yaml"]) == read_config([tmp_path / "merged.yaml"])


def test_every_training_has_its_folder(tmp_path):
    config = read_config(CONFIGS)
    planned = trainings(config, tmp_path)
    assert len(planned) == 21
    assert planned[0].folder == tmp_path / "results" / "celeba" / "runs" / "vae" / "seed0"
    assert planned[0].name == "vae/seed0"


def test_hours_from_measured_speed(tmp_path):
    config = read_config(CONFIGS)
    write_manifests(tmp_path, {"train": 162770, "eval": 19867, "test": 19962})
    plan = make_plan(config, tmp_path)
    assert plan.gpu_hours is None
    assert "vae" in plan.unknown
    first_seed = [training for training in trainings(config, tmp_path) if training.seed == 0]
    for training in first_seed:
        if training.run != "beta_vae-beta4":  # its speed is known from the other runs of the same model
            write_speed(training, 5000.0)
    plan = make_plan(config, tmp_path)
    assert len(plan.remaining) == 21 - 6
    assert plan.gpu_hours == pytest.approx(15 * 50 * 162770 / 5000 / 3600)
    assert f"GPU hours: about {plan.gpu_hours:.1f}" in describe(plan, disks(config, plan, tmp_path))[-1]


def disk_bytes(config, folder):
    (disk,) = disks(config, make_plan(config, folder), folder)
    assert disk.folder == "data and results"
    return disk.needed


def test_disk_falls_as_files_appear(tmp_path):
    config = read_config(CONFIGS)
    at_first = disk_bytes(config, tmp_path)
    images = 3 * 64 * 64
    assert at_first > 1443490838 + 202599 * images + 21 * 10000 * images
    write_manifests(tmp_path, {"train": 162770, "eval": 19867, "test": 19962})
    assert disk_bytes(config, tmp_path) == pytest.approx(at_first - 202599 * images, rel=1e-3)
    raw = tmp_path / "data" / "celeba" / "raw"
    raw.mkdir()
    (raw / "img_align_celeba.zip").touch()
    assert disk_bytes(config, tmp_path) < at_first - 202599 * images - 1.4e9


def test_a_folder_of_images_that_is_used_in_place_is_not_written(tmp_path):
    config = read_config(CONFIGS)
    before = disk_bytes(config, tmp_path)
    config["dataset"]["images"]["source"] = [{"path": str(tmp_path)}]
    assert disk_bytes(config, tmp_path) == before - 1443490838


def test_each_folder_is_held_against_its_own_disk(tmp_path):
    """/dev/shm is a file system of its own."""
    config = read_config(CONFIGS) | {"data_dir": "/dev/shm/not there yet"}
    plan = make_plan(config, tmp_path)
    data, results = disks(config, plan, tmp_path)
    assert (data.folder, results.folder) == ("/dev/shm/not there yet", "results")
    assert data.free == pytest.approx(shutil.disk_usage("/dev/shm").free, rel=0.01)
    assert results.free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.01)
    assert data.needed == plan.data_bytes > 1443490838
    assert results.needed == plan.results_bytes > 21 * 500e6
    assert [
        line for line in describe(plan, [data, results]) if line.startswith("disk of /dev/shm/not there yet: 3.9 GB")
    ]
