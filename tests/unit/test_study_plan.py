import json
from pathlib import Path

import pytest
import yaml

from vaebench.errors import UserError
from vaebench.planning import describe, make_plan, read_config, trainings

PROJECT = Path(__file__).parents[2]
CONFIGS = [PROJECT / "config" / "config.yaml"]


def write_history(training, speed):
    training.folder.mkdir(parents=True)
    lines = ["epoch,split,term,value", "0,eval,loss,3.0", f"1,train,images_per_second,{speed}"]
    (training.folder / "history.csv").write_text("\n".join(lines) + "\n")


def write_manifests(folder, counts):
    data = folder / "data" / "celeba"
    data.mkdir(parents=True)
    for split, count in counts.items():
        (data / f"{split}_data.json").write_text(json.dumps({"shape": [count, 3, 64, 64]}))


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


def test_every_training_has_its_folder(tmp_path):
    config = read_config(CONFIGS)
    planned = trainings(config, tmp_path)
    assert len(planned) == 15
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
            write_history(training, 5000.0)
    plan = make_plan(config, tmp_path)
    assert len(plan.remaining) == 15 - 4
    assert plan.gpu_hours == pytest.approx(11 * 50 * 162770 / 5000 / 3600)
    assert f"GPU hours: about {plan.gpu_hours:.1f}" in describe(plan, 1e12)[-1]


def test_disk_falls_as_files_appear(tmp_path):
    config = read_config(CONFIGS)
    at_first = make_plan(config, tmp_path).disk_bytes
    images = 3 * 64 * 64
    assert at_first > 1443490838 + 202599 * images + 15 * 10000 * images
    write_manifests(tmp_path, {"train": 162770, "eval": 19867, "test": 19962})
    assert make_plan(config, tmp_path).disk_bytes == pytest.approx(at_first - 202599 * images, rel=1e-3)
    raw = tmp_path / "data" / "celeba" / "raw"
    raw.mkdir()
    (raw / "img_align_celeba.zip").touch()
    assert make_plan(config, tmp_path).disk_bytes < at_first - 202599 * images - 1.4e9
