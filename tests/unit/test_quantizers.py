"""An autoencoder with finite scalar quantisation, against the quantiser's own package and closed forms."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from evaluation_cases import SAMPLES, SETTINGS, evaluate, make_showcase, result_paths, sample, smooth_images
from evaluation_cases import write_data as write_splits
from run_specs import run_spec
from test_resume import assert_equal, in_a_process, result, train_and_kill
from training_cases import outputs, read_history, run, write_data
from vector_quantize_pytorch import FSQ

from vaebench.base.errors import UserError
from vaebench.models.building import build_model
from vaebench.models.inference import decode, encode, reconstruct
from vaebench.models.interface import Moment
from vaebench.models.lookup import MODELS, code_of_run
from vaebench.models.storage import load_model

SHAPE, LEVELS = (1, 32, 32), [5, 4, 3]
QUICK = {"epochs": 3, "channels": 8, "layers": 1, "batch_size": 16, "learning_rate": 5e-3, "patience": 3}


def spec(levels=LEVELS, config=None, **training):
    fields = {"latent_dim": 6, "quantizer": {"fsq": {"levels": levels}}} | (config or {})
    return run_spec("QuantizedAE", config=fields, training=training)


def built(**changes):
    torch.manual_seed(0)
    model = build_model(spec(**changes), SHAPE).eval()
    for parameter in model.encoder.layers[-1].parameters():
        parameter.data.mul_(20)  # grids that reach all levels
    return model


X = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(1))


def test_codes_and_vectors_are_the_packages_for_the_same_grid():
    model = built()
    package = FSQ(levels=LEVELS, dim=6).eval()
    package.load_state_dict(model.quantizer.layer.state_dict())
    with torch.no_grad():
        grid = model.encoder(X).embedding
        vectors, codes = package(grid)
    posterior = encode(model, X)
    assert posterior.codes.dtype == torch.int64
    assert torch.equal(posterior.codes, codes.long())
    assert torch.equal(posterior.mode(), vectors)
    assert len(posterior.codes.unique()) > 5, "several codes are compared"
    assert posterior.commitment() is None, "no code is the nearest of several vectors"
    assert torch.equal(reconstruct(model, X), model.decoder(vectors).reconstruction.detach())


def test_codes_are_levels_counted_through():
    """Without linear maps a vector's numbers are its levels, -1 to 1, and the code counts them, the first fastest."""
    model = built(config={"latent_dim": 3})
    assert model.codebook_size == math.prod(LEVELS) == 60
    codes = torch.arange(60).reshape(1, 6, 10)
    vectors = model.embed_codes(codes)
    digits = torch.stack([codes % 5, codes // 5 % 4, codes // 20], dim=1)
    halves = torch.tensor([2, 2, 1]).view(1, 3, 1, 1)
    torch.testing.assert_close(vectors, (digits - halves) / halves)


def test_embedded_codes_are_what_the_decoder_was_trained_on():
    model = built()
    posterior = encode(model, X)
    torch.testing.assert_close(model.embed_codes(posterior.codes), posterior.mode(), atol=1e-6, rtol=0)


def test_a_path_passes_through_codes():
    model = built()
    first, second = encode(model, X[:2]), encode(model, X[2:4])
    torch.testing.assert_close(first.between(second, 0.0), first.mode())
    middle = first.between(second, 0.5)
    again = model.quantizer.layer((first.unquantised + second.unquantised) / 2)[0]
    torch.testing.assert_close(middle, again)


def test_an_image_without_an_answer_has_no_code():
    model, x = built(), X.clone()
    x[1] = torch.nan
    posterior = encode(model, x)
    assert (posterior.codes[1] == -1).all()
    assert (posterior.codes[[0, 2, 3, 4]] >= 0).all()
    assert torch.isnan(decode(model, posterior.mode())[1]).all()


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_the_loss_is_the_error_of_the_reconstruction(loss, tmp_path, float64):
    data = write_data(tmp_path)
    chosen = spec(config={"reconstruction_loss": loss}, epochs=1)
    paths = run(chosen, data, tmp_path)
    model = load_model(paths["output"])
    x = torch.from_numpy(np.load(data["eval_data"])["data"] / np.float32(255)).double()
    y = reconstruct(model, x)
    error = (x - y).square() if loss == "mse" else -(x * y.log() + (1 - x) * (1 - y).log())
    assert read_history(paths["history"], "eval", "loss")[-1] == pytest.approx(float(error.sum() / len(x)), rel=1e-9)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_killed_training_ends_as_if_left_alone(precision, tmp_path):
    data = write_data(tmp_path)
    chosen = spec(epochs=2, precision=precision, checkpoint_minutes=1e-9)
    run(chosen, data, tmp_path / "whole")
    for number, epoch, position in ((15, 1, 2), (9, 2, 2)):
        code = in_a_process(train_and_kill, chosen, data, tmp_path / "killed", number, epoch, position)
        assert code == (-9 if number == 9 else 128 + number)
    run(chosen, data, tmp_path / "killed")
    assert_equal(result(tmp_path / "killed"), result(tmp_path / "whole"))
    files = sorted(path.name for path in outputs(tmp_path / "whole")["output"].iterdir())
    assert files == ["model.pt", "vaebench.json"], "tensors and text, no pickle"


def test_it_is_sampled_measured_and_shown(tmp_path):
    images = smooth_images(60, SHAPE)
    data = write_splits(tmp_path, {"train": images[:40], "eval": images[40:50], "test": images[50:]})
    paths = run(spec(epochs=2), {"train_data": data["train"], "eval_data": data["eval"]}, tmp_path)
    samples = tmp_path / "samples.npz"
    rates = {}
    for name, options in (("uniform_codes", {}), ("auto", QUICK | {"epochs": 12})):
        sample(paths["output"], data, samples, {"name": name, "options": options}, SAMPLES, 0, 1)
        with np.load(samples) as archive:
            rates[name] = archive["code_nats_test"]
            assert archive["data"].shape == (12, *SHAPE)
    grid = 8 * 8
    np.testing.assert_allclose(rates["uniform_codes"], grid * math.log(60))
    assert rates["auto"].mean() < 0.9 * grid * math.log(60)
    results = result_paths(tmp_path)
    results["latent.csv"].parent.mkdir()
    settings = SETTINGS | {"suites": ["reconstruction", "generation", "latent", "likelihood"], "samples_per_image": 1}
    evaluate(paths["output"], spec(), 0, "x", data, samples, {}, settings, None, results, 1)
    rows = pd.concat([pd.read_csv(results[f"{suite}.csv"]) for suite in ("latent", "reconstruction")])
    found = rows.set_index("metric")
    codes = encode(load_model(paths["output"]), torch.from_numpy(images[50:]).float() / 255).codes.numpy()
    shares = np.unique(codes, return_counts=True)[1] / codes.size
    assert found.value["codebook_perplexity"] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert found.value["codes_used"] == len(shares)
    assert found.value["rate"] == pytest.approx(rates["auto"].mean())
    assert found.value["neg_elbo"] == pytest.approx(found.value["rate"] + found.value["distortion"])
    assert found.note["vq_commitment"] == "defined for VQ models with a codebook of vectors only"
    make_showcase(paths["output"], data["test"], tmp_path / "show.npz", SAMPLES["showcase"], 1, 1)
    with np.load(tmp_path / "show.npz") as shown:
        assert shown["interpolation"].shape == (2, 8, *SHAPE)
        assert shown["traversal"].shape[0] == 0


@pytest.mark.parametrize(
    ("quantizer", "reason"),
    [
        ({}, "it must name one quantiser"),
        ("fsq", "it must name one quantiser"),
        ({"fsq": {}, "lfq": {}}, "it must name one quantiser"),
        ({"vqq": {}}, "no quantiser 'vqq'; choose from vq, residual_vq, fsq"),
        ({"fsq": {"level": [8]}}, "fsq has no option 'level'; it has levels"),
        ({"fsq": 8}, "fsq: 8 is no map of options"),
        ({"fsq": {"levels": []}}, "must be a list of whole numbers"),
        ({"fsq": {"levels": [8, 2]}}, "fsq.levels: 2 must be a whole number of at least 3"),
        ({"fsq": {"levels": [8, 5.0]}}, "fsq.levels: 5.0 must be a whole number"),
        ({"fsq": {"levels": [64, 64, 64]}}, "262,144 codes are more than the 65,536"),
    ],
)
def test_a_quantiser_that_cannot_be_is_refused_before_and_when_it_is_built(quantizer, reason):
    assert reason in MODELS["QuantizedAE"].check("quantizer", quantizer)
    with pytest.raises(UserError, match="QuantizedAE: quantizer: "):
        build_model(spec(config={"quantizer": quantizer}), SHAPE)


def test_its_fingerprint_is_its_own():
    chosen = code_of_run(spec())
    package = "vaebench.models.providers"
    assert {f"{package}.quantizers.model", f"{package}.quantizers.fsq"} < chosen.modules
    assert not any("pythae" in module for module in chosen.modules)
    assert code_of_run(spec([5, 5])).facts != chosen.facts


def test_vq_following_averages_is_the_vqvae_of_pythae():
    """What docs/models.md names in its place where images have labels: the same networks, codebook and loss."""
    fields = {"num_embeddings": 16, "use_ema": True, "commitment_loss_factor": 0.25}
    theirs = build_model(run_spec("VQVAE", config={"latent_dim": 6, **fields}), SHAPE)
    theirs.prepare_training()  # its codes are looked up, in any type
    vq = {"codebook_size": 16, "kmeans": False, "restart_below": 0}
    ours = build_model(run_spec("QuantizedAE", config={"latent_dim": 6, "quantizer": {"vq": vq}}), SHAPE)
    theirs, ours = theirs.double().eval(), ours.double().eval()
    for role in ("encoder", "decoder"):
        getattr(ours, role).load_state_dict(getattr(theirs, role).state_dict())
    book = 0.1 * torch.randn(16, 6, generator=torch.Generator().manual_seed(0)).double()
    theirs.quantizer.embeddings.copy_(book)
    ours.quantizer.layer._codebook.embed.data.copy_(book[None])
    assert torch.equal(encode(theirs, X.double()).codes, encode(ours, X.double()).codes)
    losses = [model.train().losses(X.double(), Moment()).terms for model in (theirs, ours)]
    rounding = 1e-6  # the package quantises in float32, of 24 bits
    torch.testing.assert_close(losses[0]["loss"], losses[1]["loss"], rtol=rounding, atol=0)
    assert losses[0]["vq"] > 100 * rounding * losses[0]["loss"]
    for terms in losses:
        terms["loss"].backward()
    for first, second in zip(theirs.encoder.parameters(), ours.encoder.parameters(), strict=True):
        assert (first.grad - second.grad).norm() <= rounding * losses[0]["loss"]
