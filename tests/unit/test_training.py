"""Training: history, selection, patience, precision, the scale of the VQ term, refusals, provenance."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from training_cases import digits, make_spec, outputs, read_history, run, write_data

from vaebench.base.errors import UserError
from vaebench.base.npz import open_array, pixels_sha256, write_manifest
from vaebench.models.building import build_model
from vaebench.models.inference import reconstruct
from vaebench.models.interface import Moment
from vaebench.models.storage import load_model
from vaebench.training.minibatches import Minibatches, _ahead
from vaebench.training.trainer import Trainer

CPU = torch.device("cpu")


def eval_images(data):
    """The validation images as the training sees them under the fixture float64."""
    return torch.from_numpy(np.load(data["eval_data"])["data"] / np.float32(255)).double()


def test_history_has_every_term_and_starts_before_training(data, tmp_path):
    paths = run(make_spec("VAEGAN"), data, tmp_path)
    with open(paths["history"]) as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows if (row["split"], row["term"]) == ("eval", "mse")] == ["0", "1", "2"]
    terms = {row["term"] for row in rows if row["split"] == "train"}
    adversarial = {"encoder_loss", "decoder_loss", "discriminator_loss"}
    rates = {f"learning_rate_{name}" for name in ("encoder", "decoder", "discriminator")}
    measured = {"images_per_second", "seconds", "peak_memory_mb"}
    assert terms == {"loss", "reconstruction_loss", "kl"} | adversarial | rates | measured


def test_kl_of_vaegan_is_the_closed_form(data, tmp_path, float64):
    paths = run(make_spec("VAEGAN", epochs=1), data, tmp_path)
    model = load_model(paths["output"])
    output = model.encoder(eval_images(data))
    mean, log_variance = output.embedding, output.log_covariance
    kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()
    assert read_history(paths["history"], "eval", "kl")[-1] == pytest.approx(float(kl), rel=1e-9)


def test_mse_is_that_of_the_saved_model(data, tmp_path, float64):
    paths = run(make_spec("BetaVAE", config={"beta": 4.0}), data, tmp_path)
    x = eval_images(data)
    mse = float((reconstruct(load_model(paths["output"]), x) - x).square().mean())
    kept = json.loads(paths["provenance"].read_text())
    assert kept["kept_by"] == {"metric": "mse", "value": min(read_history(paths["history"], "eval", "mse")[1:])}
    assert kept["kept_by"]["value"] == pytest.approx(mse, rel=1e-9)


def test_vae_is_the_beta_vae_with_a_beta_of_one(data, tmp_path):
    """The shipped studies train the two once, as the VAE."""
    vae = run(make_spec("VAE"), data, tmp_path / "vae")
    beta_vae = run(make_spec("BetaVAE", config={"beta": 1.0}), data, tmp_path / "beta_vae")
    one, other = (torch.load(paths["output"] / "model.pt", weights_only=True) for paths in (vae, beta_vae))
    assert all(torch.equal(one["model_state_dict"][name], value) for name, value in other["model_state_dict"].items())
    assert read_history(vae["history"], "eval", "loss") == read_history(beta_vae["history"], "eval", "loss")


def test_steps_and_images_are_counted(data, tmp_path):
    paths = run(make_spec("VAE", batch_size=13, epochs=3), data, tmp_path)
    provenance = json.loads(paths["provenance"].read_text())
    # 40 images: two batches of 13 and one of 14, since batch norm takes no batch of one image
    assert (provenance["steps"], provenance["images_seen"]) == (3 * 3, 3 * 40)


def test_validation_changes_nothing_in_the_training(data, tmp_path):
    weights = []
    for size in (7, 20):
        paths = run(make_spec("VAE", eval_batch_size=size, select="last"), data, tmp_path / str(size))
        weights.append(torch.load(paths["output"] / "model.pt", weights_only=True)["model_state_dict"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_epoch_with_the_lowest_metric_is_kept_and_patience_stops(data, tmp_path, monkeypatch):
    course = iter([0.9, 0.5, 0.3, 0.4, 0.35, 0.2])
    monkeypatch.setattr(Trainer, "validate", lambda *_, **__: {"loss": 1.0, "mse": next(course)})
    paths = run(make_spec("VAE", epochs=9, patience=2), data, tmp_path)
    provenance = json.loads(paths["provenance"].read_text())
    assert provenance["epochs"] == 4
    assert provenance["kept_epoch"] == 2
    assert provenance["kept_by"] == {"metric": "mse", "value": 0.3}


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("VAE", {"select": "psnr"}, "take last or one of .*mse"),
        ("VAEGAN", {"select": "loss"}, "losses of adversaries"),
        ("FactorVAE", {"select": "autoencoder_loss"}, "losses of adversaries"),
        ("VAE", {"select": "last", "patience": 3}, "patience needs a metric"),
        ("VAE", {"optimizer": {"name": "Adamm"}}, "no optimizer 'Adamm'"),
        ("VAE", {"optimizer": {"name": "Adam", "options": {"beta": 1}}}, "Adam refuses"),
        ("VAE", {"scheduler": {"name": "StepLR", "options": {"verbose": True}}}, "StepLR refuses"),
        ("VAE", {"components": {"decoder": {"learning_rate": 1.0}}}, "single optimizer"),
        ("FactorVAE", {"batch_size": 1}, "at least 2"),
    ],
)
def test_settings_that_cannot_be_are_refused(model, settings, message, data, tmp_path):
    with pytest.raises(UserError, match=message):
        run(make_spec(model, **settings), data, tmp_path)
    assert not outputs(tmp_path)["output"].exists()


def test_no_gpu_is_said(data, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="sees no GPU"):
        run(make_spec("VAE", device="cuda"), data, tmp_path)


@pytest.mark.parametrize(
    ("model", "setting"), [("VAE", "channels_last"), ("VAE", "compile"), ("VQVAE", "compile"), ("VAEGAN", "compile")]
)
def test_layout_and_compilation_change_only_rounding(model, setting, data, tmp_path, float64):
    if setting == "compile" and shutil.which("c++") is None:
        pytest.skip("torch.compile needs a C++ compiler, and there is none")
    histories = []
    for value in (True, False):
        optimizer = {"name": "SGD", "options": {}}
        spec = make_spec(model, optimizer=optimizer, learning_rate=1e-5, **{setting: value})
        paths = run(spec, data, tmp_path / str(value))
        histories.append(read_history(paths["history"], "eval", "loss"))
    assert histories[0] == pytest.approx(histories[1], rel=1e-9)
    assert abs(histories[1][-1] / histories[1][0] - 1) > 1e-4  # it did train


@pytest.mark.parametrize("use_ema", [False, True])
def test_vq_term_per_image_is_the_papers_sum(use_ema, float64):
    fields = {"use_ema": use_ema, "commitment_loss_factor": 0.25}
    model = build_model(make_spec("VQVAE", config=fields), (1, 32, 32)).eval()
    x = torch.from_numpy(digits(6)).double() / 255
    output = model({"data": x})
    grid = model.encoder(x).embedding
    distance = (grid - output.z).square().sum((1, 2, 3)).mean()
    factor = 0.25 if use_ema else 1.25
    terms = model.losses(x, Moment()).terms
    assert float(terms["vq"]) == pytest.approx(factor * float(distance), rel=1e-9)
    sse = (output.recon_x - x).square().sum((1, 2, 3)).mean()
    assert float(terms["loss"]) == pytest.approx(float(sse) + factor * float(distance), rel=1e-9)
    model.vq_scale = "mean"
    assert float(model.losses(x, Moment()).terms["loss"]) == pytest.approx(float(output.loss), rel=1e-9)


@pytest.mark.parametrize(("precision", "advice"), [("fp32", "or set training.precision to bf16$"), ("bf16", "them$")])
def test_out_of_memory_names_the_batch_size(precision, advice, data, tmp_path, monkeypatch):
    def no_room(trainer, tracker):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Trainer, "train_epoch", no_room)
    with pytest.raises(UserError, match=rf"batch_size 16 .* lower .*{advice}"):
        run(make_spec("VAE", precision=precision), data, tmp_path)
    failure = json.loads((outputs(tmp_path)["state"] / "failure.json").read_text())
    assert failure["reason"] == "out of memory"


def test_provenance_says_where_the_model_comes_from(data, tmp_path):
    (tmp_path / "data").mkdir()
    data = write_data(tmp_path / "data")
    for path in data.values():
        write_manifest(path, {"sha256": "of " + path.stem}, [])
    provenance = json.loads(run(make_spec("VAE"), data, tmp_path, seed=7)["provenance"].read_text())
    assert provenance["seed"] == 7
    assert provenance["code"] == "code"
    pixels = {split: pixels_sha256(data[f"{split}_data"]) for split in ("train", "eval")}
    assert provenance["data"] == pixels
    assert provenance["spec"] == make_spec("VAE").as_record()
    assert len(provenance["attempts"]) == 1
    assert re.fullmatch(r"[0-9a-f]{40}", provenance["environment"]["git"]["commit"] or "0" * 40)
    assert provenance["peak_memory_mb"] > 0


def test_order_is_that_of_torchs_own_loader():
    images = np.zeros((41, 1, 2, 2), np.uint8)
    torch.manual_seed(5)
    expected = [batch.tolist() for batch in DataLoader(range(41), batch_size=10, shuffle=True)]
    after = torch.rand(1)
    torch.manual_seed(5)
    assert [batch.tolist() for batch in Minibatches(images, 10, CPU).order(shuffle=True)] == expected
    assert torch.equal(torch.rand(1), after)
    merged = Minibatches(images, 10, CPU, smallest=2).order(shuffle=False)
    assert [len(batch) for batch in merged] == [10, 10, 10, 11]


def test_bytes_become_the_floats_that_pythae_uses():
    images = np.arange(256, dtype=np.uint8).reshape(16, 1, 4, 4)
    batches = Minibatches(images, 5, CPU)
    found = torch.cat(list(batches.load(batches.order(shuffle=False))))
    assert torch.equal(found, torch.from_numpy(images / 255.0).float())


def test_rows_are_read_from_the_file_not_through_the_map(data):
    mapped = open_array(data["train_data"])
    assert isinstance(mapped, np.memmap)
    order = [np.array([3, 0, 39]), np.array([7])]
    found = torch.cat(list(Minibatches(mapped, 2, CPU).load(order)))
    assert torch.equal(found, torch.from_numpy(np.load(data["train_data"])["data"][[3, 0, 39, 7]] / 255.0).float())


def test_batches_made_ahead_keep_their_order_and_hand_on_errors():
    assert list(_ahead(iter(range(50)))) == list(range(50))
    items = _ahead(1 / (3 - i) for i in range(9))
    with pytest.raises(ZeroDivisionError):
        list(items)
    early = _ahead(iter(range(1000)))
    assert next(early) == 0
    early.close()
