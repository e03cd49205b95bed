"""The evaluation of a model from files to files: complete, independent of batches, honest about what is absent."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from evaluation_cases import (
    FLOAT32,
    SETTINGS,
    WITH_VGG,
    evaluate,
    result_paths,
    save_run,
    settings_of,
    smooth_images,
    write_data,
    write_random_inception,
    write_samples,
)
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from vaebench.base.errors import UserError
from vaebench.base.files import sha256_of
from vaebench.evaluation.measurement import check_weights
from vaebench.evaluation.run import EvaluationFiles, job_of
from vaebench.metrics import distribution
from vaebench.metrics.distribution import nearest_distances
from vaebench.metrics.features import extractors
from vaebench.metrics.metric import Value
from vaebench.metrics.perceptual import Perceptual, pooled
from vaebench.metrics.registry import METRICS
from vaebench.models.inference import decode, encode, reconstruct
from vaebench.models.storage import load_model
from vaebench.results.suite_files import COLUMNS, Suites, TrainingIdentity, mean_of, read_context

IMAGES = {"train": smooth_images(40, seed=1), "eval": smooth_images(9, seed=2), "test": smooth_images(21, seed=3)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), IMAGES)


@pytest.fixture
def run_it(data, tmp_path, perceptual_weights):
    """Save a model, write samples, evaluate; gives the result paths."""

    def run(model="VAE", folder="run", settings=None, labels=None, samples=None, change=None, stored=None, **config):
        home = tmp_path / folder
        config = {"latent_dim": 4} | config
        path, spec = save_run(home, model, change=change, **config)
        samples = smooth_images(15, seed=4) if samples is None else samples
        write_samples(home / "samples.npz", samples, **(stored or {}))
        paths = result_paths(home)
        arguments = (path, spec, 0, "digits", data, home / "samples.npz", perceptual_weights)
        evaluate(*arguments, SETTINGS | (settings or {}), labels, paths, threads=1)
        return paths

    return run


def values_of(paths, *suites):
    """metric -> value of the given suites."""
    frames = [pd.read_csv(paths[f"{suite}.csv"]) for suite in suites]
    return pd.concat(frames).set_index("metric")["value"]


def test_files_have_the_contracts_columns_and_keys(run_it):
    paths = run_it(settings=WITH_VGG)
    for suite in SETTINGS["suites"]:
        frame = pd.read_csv(paths[f"{suite}.csv"])
        assert tuple(frame.columns) == COLUMNS
        assert set(frame["suite"]) == {suite}
        assert frame["metric"].is_unique
        assert (frame["value"].notna() | frame["note"].notna()).all()
        assert (frame[["dataset", "run", "model", "seed", "split"]] == ["digits", "vae", "VAE", 0, "test"]).all().all()
    assert not paths["likelihood.csv"].exists()
    table = pd.read_parquet(paths["per_image.parquet"])
    assert table["image"].tolist() == [f"test_{i:03d}.png" for i in range(21)]
    assert table["index"].tolist() == list(range(21))
    assert {"mse", "bce", "ssim", "gmsd", "lpips_vgg", "kl", "neg_elbo", "rate", "psnr", "ms_ssim"} <= set(table)
    registered = {name for name, metric in METRICS.items() if metric.per_image}
    assert set(table) - {"image", "index"} <= registered
    context = read_context(paths["per_image.parquet"])
    assert context["protocol"] == "standard"
    assert set(context["data"]) == {"train", "eval", "test"}
    latent = np.load(paths["latent.npz"])
    assert set(latent) == {
        "format_version", "kl_per_dim", "active", "mean", "variance", "posterior_means", "posterior_log_variances",
    }  # fmt: skip
    extremes = np.load(paths["extremes.npz"])
    assert extremes["worst_original"].shape == extremes["worst_reconstruction"].shape == (8, 1, 28, 28)


def test_a_pretrained_run_without_a_model_in_the_configuration_has_its_models_name(data, tmp_path, perceptual_weights):
    path, spec = save_run(tmp_path, "BetaVAE", latent_dim=4, beta=2.0)
    write_samples(tmp_path / "samples.npz", smooth_images(15, seed=4))
    paths = result_paths(tmp_path)
    spec = replace(spec, model=None)
    evaluate(
        path, spec, 0, "digits", data, tmp_path / "samples.npz", perceptual_weights, SETTINGS, None, paths, threads=1
    )
    assert set(pd.read_csv(paths["reconstruction.csv"])["model"]) == {"BetaVAE"}


def test_a_mean_over_images_has_its_standard_error(run_it):
    paths = run_it()
    per_image = pd.read_parquet(paths["per_image.parquet"])
    frame = pd.read_csv(paths["reconstruction.csv"]).set_index("metric")
    for name in ("mse", "bce", "ssim", "gmsd"):
        assert frame.loc[name, "std_error"] == pytest.approx(per_image[name].sem(), rel=1e-9)
        assert frame.loc[name, "n"] == len(per_image)
    for count in (15, 21, 500):  # the rounding of a mean of equal values is no spread
        assert mean_of(np.full(count, 0.3)).std_error == 0
    one = mean_of(np.array([0.25]))
    assert one.value == 0.25
    assert np.isnan(one.std_error)


@pytest.mark.parametrize("labels", [None, [], ["labels.csv"]])
def test_a_rule_s_files_and_parameters_become_one_job(labels):
    files = {
        "model": "runs/m",
        "data": ["d/train.npz", "d/eval.npz", "d/test.npz"],
        "samples": "s.npz",
        "weights": ["w/vgg16.pt"],
        "manifests": ["ignored.json"],
    } | ({} if labels is None else {"labels": labels})
    how = {"batch_size", "device"}
    parameters = {
        "spec": {"run": "vae-beta2", "model": None, "nets": {}},
        "dataset": "digits",
        "settings": {key: value for key, value in SETTINGS.items() if key not in how},
        "how": SimpleNamespace(**{key: SETTINGS[key] for key in how}),
        "code": "0",
    }
    training, read, settings = job_of(files, parameters, 3)
    assert training == TrainingIdentity("digits", "vae-beta2", None, 3)
    assert settings == settings_of(SETTINGS)
    assert read == EvaluationFiles(
        Path("runs/m"),
        {"train": Path("d/train.npz"), "eval": Path("d/eval.npz"), "test": Path("d/test.npz")},
        Path("s.npz"),
        {"vgg16": Path("w/vgg16.pt")},
        Path("labels.csv") if labels else None,
    )


def test_levels_stand_in_the_order_of_their_numbers():
    suites = Suites(TrainingIdentity("digits", "vq", "QuantizedAE", 0), settings_of(SETTINGS), {}, 21)
    suites.add({f"codes_used/level {level}": 1.0 for level in (10, 1, 2)}, 21)
    rows = [row["metric"] for row in suites.rows("latent") if str(row["metric"]).startswith("codes_used/")]
    assert rows == [f"codes_used/level {level}" for level in (1, 2, 10)]


def test_values_by_the_network_of_a_loss_are_remarked():
    suites = Suites(TrainingIdentity("digits", "vae", "VAE", 0), settings_of(SETTINGS), {}, 21)
    suites.add({"lpips_vgg": 0.1, "lpips_alex": 0.2, "mse": 0.3, "fd_vgg16": Value(1.0, 9, note="9 images")}, 21)
    suites.add({"dists": 0.1, "self_dists": 0.1}, 21)  # in the same VGG16
    suites.remark(("vgg16",), "seen")
    notes = {name: found.note for name, found in suites.found.items()}
    assert notes == {"lpips_vgg": "seen", "lpips_alex": "", "mse": "", "fd_vgg16": "9 images; seen", "dists": "seen",
                     "self_dists": "seen"}  # fmt: skip
    suites.remark((), "never")
    assert {name: found.note for name, found in suites.found.items()} == notes


def test_a_value_that_the_registry_does_not_know_is_an_error():
    suites = Suites(TrainingIdentity("digits", "vae", "VAE", 0), settings_of(SETTINGS), {}, 21)
    suites.add({"mse": 0.5, "probe_auc/Smiling": 0.5}, 21)
    for add in (suites.add, suites.add_per_image):
        with pytest.raises(UserError, match=r"the metric 'msee' was measured but is not registered.*registry_"):
            add({"msee": np.zeros(21) if add == suites.add_per_image else 0.5}, 21)
    with pytest.raises(UserError, match="'msee/Smiling'"):
        suites.add({"msee/Smiling": 0.5}, 21)


def test_values_are_those_of_the_definitions(run_it, tmp_path):
    paths = run_it()
    found = values_of(paths, "reconstruction", "latent")
    model = load_model(tmp_path / "run/final_model")
    x = torch.from_numpy(IMAGES["test"]).double() / 255
    y = reconstruct(model, x.float()).double()
    encoding = encode(model, x.float())
    mean, variance = encoding.mean.double(), encoding.log_variance.double().exp()
    kl = 0.5 * (mean**2 + variance - variance.log() - 1).sum(1)
    sse = ((x - y) ** 2).flatten(1).sum(1)
    assert found["mse"] == pytest.approx((sse / 784).mean().item(), rel=FLOAT32)
    assert found["kl"] == pytest.approx(kl.mean().item(), rel=FLOAT32)
    terms = []
    for k in range(SETTINGS["elbo_draws"]):
        noise = np.random.default_rng([0, 2000 + k]).standard_normal(tuple(mean.shape), dtype=np.float32)
        drawn = decode(model, (mean + torch.from_numpy(noise) * variance.sqrt()).float(), clamp=False).double()
        terms.append(0.5 * ((x - drawn) ** 2).flatten(1).sum(1) + kl)
    terms = torch.stack(terms)
    assert found["neg_elbo"] == pytest.approx(terms.mean().item(), rel=FLOAT32)
    assert found["neg_elbo"] > (0.5 * sse + kl).mean().item()  # at the mode, which bounds nothing
    error = (terms.var(0) / len(terms)).sum().sqrt().item() / 21
    assert found["neg_elbo_draw_error"] == pytest.approx(error, rel=1e-3)
    assert found["active_units"] == (mean.var(0, unbiased=False) > 0.01).sum().item()
    latent = np.load(paths["latent.npz"])
    assert latent["kl_per_dim"].sum() == pytest.approx(found["kl"], rel=1e-9)
    np.testing.assert_allclose(latent["variance"], mean.var(0, unbiased=False) + variance.mean(0), rtol=FLOAT32)
    per_image = pd.read_parquet(paths["per_image.parquet"])
    extremes = np.load(paths["extremes.npz"])
    assert extremes["best_index"].tolist() == per_image["mse"].argsort(kind="stable")[:8].tolist()
    assert np.array_equal(extremes["worst_original"][0], IMAGES["test"][per_image["mse"].argmax()])


@pytest.mark.parametrize("model", ["VAE", "VQVAE", "VAEGAN", "VAMP"])
def test_results_do_not_depend_on_the_batches(model, run_it):
    config = {"num_embeddings": 16} if model == "VQVAE" else {"reconstruction_layer": 2} if model == "VAEGAN" else {}
    found = []
    for size in (128, 20, 1):
        settings = (WITH_VGG if model == "VAE" else {}) | {
            "batch_size": size,
            "samples_per_image": 1,
            "suites": [*SETTINGS["suites"], "likelihood"],
        }
        paths = run_it(model, f"by{size}", settings, **config)
        per_image = pd.read_parquet(paths["per_image.parquet"]).drop(columns="image").to_numpy()
        found.append((values_of(paths, "reconstruction", "generation", "latent"), per_image))
    for values, per_image in found[1:]:
        np.testing.assert_allclose(values, found[0][0], rtol=FLOAT32, atol=1e-6)
        np.testing.assert_allclose(per_image, found[0][1], rtol=FLOAT32, atol=1e-6)


def test_two_evaluations_are_bit_equal(run_it):
    first, second = (run_it(folder=name, settings={"samples_per_image": 1}) for name in "ab")
    for name in ("reconstruction.csv", "generation.csv", "latent.csv"):
        assert first[name].read_bytes() == second[name].read_bytes()


def test_what_does_not_apply_is_empty_with_a_reason(run_it):
    frame = pd.read_csv(run_it("VQVAE", num_embeddings=16)["latent.csv"]).set_index("metric")
    assert np.isnan(frame.loc["kl", "value"])
    assert frame.loc["kl", "note"] == "defined for Gaussian posteriors only"
    assert frame.loc["codes_used", "value"] >= 1
    small = pd.read_csv(run_it(folder="small", settings={"lpips": ["alex"]})["reconstruction.csv"]).set_index("metric")
    assert small.loc["lpips_alex", "note"] == "alexnet needs images of at least 31 x 31 pixels"
    assert "lpips_vgg" not in small.index


def test_a_model_with_nan_weights_gives_empty_values_and_no_nan_text(run_it):
    def damage(network):
        next(network.decoder.parameters()).data.fill_(torch.nan)

    paths = run_it(change=damage)
    frame = pd.read_csv(paths["reconstruction.csv"]).set_index("metric")
    assert frame.loc["mse", "note"] == "not a finite number for 21 of 21 images"
    for suite in SETTINGS["suites"]:
        text = paths[f"{suite}.csv"].read_text()
        assert "nan" not in text.lower().replace("finite number", "")
        assert ",inf" not in text


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param(np.full((15, 1, 28, 28), 128, np.uint8), id="constant"),
        pytest.param(IMAGES["train"][:15], id="copies of the training set"),
        pytest.param(IMAGES["train"][:1], id="one image"),
    ],
)
def test_hard_samples(samples, run_it):
    frame = pd.read_csv(run_it(samples=samples, settings=WITH_VGG)["generation.csv"]).set_index("metric")
    if len(samples) == 1:
        assert frame.loc["fd_vgg16", "note"] == "needs at least 2 images of either set, there are 1 and 21"
    else:
        assert frame.loc["fd_vgg16", "value"] > 0
    copied = np.array_equal(samples, IMAGES["train"][: len(samples)])
    assert (frame.loc["nearest_train_distance", "value"] == 0) == copied
    assert frame["value"].notna().sum() >= 4


def order_of(count):
    return np.random.default_rng(0).permutation(count)


def test_the_set_distances_use_the_features_of_every_set(run_it, tmp_path, perceptual_weights):
    """Each side made again from the images: generated, reconstructed, training and mid-points against held-out ones."""
    frame = pd.read_csv(run_it(settings=WITH_VGG)["generation.csv"]).set_index("metric")
    trunk = Perceptual("vgg", perceptual_weights["vgg16"])
    model = load_model(tmp_path / "run/final_model")

    def features(images):
        images = torch.from_numpy(images).float() / 255 if isinstance(images, np.ndarray) else images
        return pooled(trunk.features(images)).numpy()

    x = torch.from_numpy(IMAGES["test"]).float() / 255
    order = order_of(21)
    first, second = (encode(model, x[chosen]).mean for chosen in (order[:15], np.roll(order, -1)[:15]))
    real = features(x)
    sides = {
        "fd_vgg16": (features(smooth_images(15, seed=4)), "15 generated"),
        "fd_floor_vgg16": (features(IMAGES["train"][np.sort(order_of(40)[:15])]), "15 training"),
        "fd_midpoint_vgg16": (features(decode(model, (first + second) / 2)), "15 interpolated"),
        "rfd_vgg16": (features(reconstruct(model, x)), "21 reconstructed"),
    }
    for name, (side, told) in sides.items():
        value, error = distribution.frechet_distance(side, real, paired=name == "rfd_vgg16")
        assert frame.loc[name, "value"] == pytest.approx(value, rel=1e-4), name
        assert frame.loc[name, "std_error"] == pytest.approx(error, rel=1e-3), name
        assert frame.loc[name, "note"] == f"{told} against 21 held-out images, fewer than the 512 features"
        assert frame.loc[name, "n"] == len(side)
    for name, (value, error) in distribution.manifold_metrics(sides["fd_vgg16"][0], real, 3).items():
        assert frame.loc[f"{name}_vgg16", "value"] == pytest.approx(value)
        assert frame.loc[f"{name}_vgg16", "std_error"] == pytest.approx(error, nan_ok=True)
        assert frame.loc[f"{name}_vgg16", "note"] == "15 generated against 21 held-out images, k = 3"


def test_distances_need_no_neighbours(run_it):
    """Three images cannot have a third neighbour; the Fréchet and the kernel distance need two."""
    frame = pd.read_csv(run_it(samples=smooth_images(3, seed=4), settings=WITH_VGG)["generation.csv"])
    frame = frame.set_index("metric")
    for name in ("fd_vgg16", "kd_vgg16", "fd_floor_vgg16", "fd_midpoint_vgg16", "rfd_vgg16"):
        assert np.isfinite(frame.loc[name, "value"]), name
    for name in ("precision_vgg16", "recall_vgg16", "density_vgg16", "coverage_vgg16"):
        assert frame.loc[name, "note"] == "needs at least 4 images of either set, there are 3 and 21"
        assert np.isnan(frame.loc[name, "value"])


def test_only_the_official_inception_file_gives_fid(run_it, tmp_path, monkeypatch, perceptual_weights):
    """A file of the right shape and other weights is named so in every metric; its checksum alone decides."""
    weights = tmp_path / "inception.pth"
    write_random_inception(FeatureExtractorInceptionV3, weights)
    monkeypatch.setitem(perceptual_weights, "inception", weights)
    settings = {"distribution": {"features": ["inception"], "neighbours": 1, "limit": 3}}
    frame = pd.read_csv(run_it(settings=settings)["generation.csv"]).set_index("metric")
    custom = {"fd_custom_inception", "kd_custom_inception", "rfd_custom_inception", "density_custom_inception"}
    assert custom <= set(frame.index)
    assert not {"fid", "kid", "rfid", "density_inception"} & set(frame.index)
    assert np.isfinite(frame.loc[sorted(custom), "value"]).all()
    monkeypatch.setattr(extractors, "OFFICIAL_SHA256", sha256_of(weights))
    official = pd.read_csv(run_it(folder="official", settings=settings)["generation.csv"]).set_index("metric")
    assert {"fid", "kid", "rfid", "fid_floor", "fid_midpoint", "density_inception"} <= set(official.index)
    assert not custom & set(official.index)
    assert official.loc["fid", "value"] == frame.loc["fd_custom_inception", "value"]
    assert official.loc["fid", "note"].startswith("3 generated against 3 held-out images")


def test_memorisation_has_its_error(run_it):
    frame = pd.read_csv(run_it()["generation.csv"]).set_index("metric")
    distances = [nearest_distances(images, [IMAGES["train"]]) for images in (smooth_images(15, seed=4), IMAGES["test"])]
    (a, b), (sa, sb) = ([f(part) for part in distances] for f in (np.mean, lambda d: d.std(ddof=1) / len(d) ** 0.5))
    assert frame.loc["nearest_train_distance", ["value", "std_error"]].tolist() == pytest.approx([a, sa])
    expected = [a / b, a / b * ((sa / a) ** 2 + (sb / b) ** 2) ** 0.5]
    assert frame.loc["nearest_train_ratio", ["value", "std_error"]].astype(float).tolist() == pytest.approx(expected)


def test_the_stochastic_reconstruction_is_worse_on_average_and_named_so(run_it):
    values = values_of(run_it(settings={"samples_per_image": 3}), "reconstruction")
    assert {f"sampled_{name}" for name in ("mse", "bce", "ssim", "gmsd")} <= set(values.index)
    assert values["sampled_mse"] != values["mse"]
    vq = pd.read_csv(run_it("VQVAE", "vq", {"samples_per_image": 3}, num_embeddings=8)["reconstruction.csv"])
    assert vq.set_index("metric").loc["sampled_mse", "note"] == "defined for stochastic posteriors only"


def test_the_likelihood_suite(run_it):
    suites = {"suites": ["reconstruction", "likelihood"]}
    paths = run_it(settings=suites)
    frame = pd.read_csv(paths["likelihood.csv"]).set_index("metric")
    table = pd.read_parquet(paths["per_image.parquet"])
    for name in ("log_likelihood_gaussian", "effective_samples"):
        assert table[name].notna().tolist() == [True] * 6 + [False] * 15
        assert frame.loc[name, "n"] == 6
        assert frame.loc[name, "value"] == pytest.approx(table[name].mean())
        assert frame.loc[name, "std_error"] == pytest.approx(table[name].sem())
        assert frame.loc[name, "note"] == "8 importance samples"
    assert frame.loc["log_likelihood_gaussian", "value"] < 0
    assert 1 <= frame.loc["effective_samples", "value"] <= 8
    assert frame.loc["log_likelihood_bernoulli", "note"] == (
        "defined for Gaussian posteriors of models trained on cross-entropy only"
    )
    assert not paths["generation.csv"].exists()
    ae = pd.read_csv(run_it("AE", "ae", suites)["likelihood.csv"]).set_index("metric")
    assert ae.loc["log_likelihood_gaussian", "note"] == "defined for Gaussian posteriors only"
    bce = pd.read_csv(run_it("VAE", "bce", suites, reconstruction_loss="bce")["likelihood.csv"]).set_index("metric")
    assert np.isfinite(bce.loc[["log_likelihood_gaussian", "log_likelihood_bernoulli"], "value"]).all()


def test_every_models_rate_is_there_or_says_why(run_it, tmp_path):
    """Closed, estimated, of codes, and of a point."""
    expected = {
        "VAE": "",
        "SVAE": "",
        "VAMP": "estimate, 4 draws an image",
        "HVAE": "estimate in the extended space of latents and momenta, 4 draws an image",
        "AE": "defined for models with a posterior or a code prior only",
    }
    for model, note in expected.items():
        paths = run_it(model, model.lower())
        frame = pd.read_csv(paths["latent.csv"], keep_default_na=False).set_index("metric")
        assert frame.loc["rate", "note"] == note, model
        assert (frame.loc["rate", "value"] == "") == (model == "AE"), model
        if model != "AE":
            rate, bits = (float(frame.loc[name, "value"]) for name in ("rate", "rate_bits"))
            assert bits == pytest.approx(rate / np.log(2))
            found = values_of(paths, "reconstruction")
            assert found["neg_elbo"] == pytest.approx(found["distortion"] + rate)


def test_a_vq_models_rate_comes_with_its_samples(run_it, data, tmp_path):
    """Stored by the sampler, so that measuring does not fit a prior again; of the split that is reported."""
    paths = run_it("VQVAE", "bare", num_embeddings=16)
    bare = pd.read_csv(paths["latent.csv"]).set_index("metric")
    assert np.isnan(bare.loc["rate", "value"])
    assert bare.loc["rate", "note"].endswith("the samples hold no prior of the codes: generate them again")
    for split, told in (("test", ""), ("eval", ", which these images helped to choose")):
        nats = np.arange(len(IMAGES[split]), dtype=np.float64)
        stored = {f"code_nats_{split}": nats, "sampler": np.array('{"name": "pixelcnn"}')}
        paths = run_it("VQVAE", split, {"split": split}, stored=stored, num_embeddings=16)
        frame = pd.read_csv(paths["latent.csv"]).set_index("metric")
        assert frame.loc["rate", "value"] == nats.mean()
        assert frame.loc["rate_bits", "value"] == pytest.approx(nats.mean() / np.log(2))
        assert frame.loc["rate", "note"] == (
            f"cross-entropy of the codes under the prior that draws them (pixelcnn){told}"
        )
        per_image = pd.read_parquet(paths["per_image.parquet"])
        np.testing.assert_allclose(per_image["neg_elbo"], per_image["distortion"] + nats)
        np.testing.assert_allclose(per_image["distortion"], 392 * per_image["mse"], rtol=1e-6)


def test_the_nats_of_latents_come_with_the_samples_of_a_density(run_it):
    nats = np.arange(len(IMAGES["test"]), dtype=np.float64)
    stored = {"latent_nats_test": nats, "sampler": np.array('{"name": "maf"}')}
    frame = pd.read_csv(run_it("AE", stored=stored)["generation.csv"]).set_index("metric")
    found = frame.loc["latent_nats"]
    assert (found["value"], found["n"], found["note"]) == (nats.mean(), len(nats), "by maf")
    assert found["std_error"] == pytest.approx(nats.std(ddof=1) / np.sqrt(len(nats)))
    assert "latent_nats" not in values_of(run_it("AE", "without"), "generation")


def break_encoder(network):
    next(network.encoder.parameters()).data.fill_(torch.nan)


@pytest.mark.parametrize(("model", "config"), [("VAE", {}), ("VQVAE", {"num_embeddings": 16}), ("AE", {})])
def test_an_encoder_that_is_not_finite_leaves_every_cell_empty_with_a_reason(model, config, run_it, tmp_path):
    """None of active units 0, collapse 1, perplexity 1, one code used or an AUC of 0.5."""
    labels = write_labels(tmp_path / "labels.csv", celeba=False)
    paths = run_it(model, change=break_encoder, labels=labels, **config)
    for suite in ("reconstruction", "latent"):
        frame = pd.read_csv(paths[f"{suite}.csv"]).set_index("metric")
        assert frame["value"].isna().all(), frame["value"].dropna()
        assert (frame["note"].str.len() > 0).all()
    assert np.load(paths["latent.npz"]).files == ["format_version"]  # figures count what it holds besides
    for name in {"VAE": ("active_units", "posterior_collapse", "kl_per_dim"), "VQVAE": ("codes_used",)}.get(model, ()):
        assert frame.loc[name, "note"] == "the encoder's answer is not finite for 21 of 21 images"


def test_a_variance_beyond_float32_has_no_rate_and_says_so(run_it):
    """A log variance of 200 in one dimension would be a KL of 3e86 nats."""

    def widen(network):
        network.encoder.heads["log_covariance"].bias.data[0] = 200.0

    paths = run_it(change=widen)
    frame = pd.concat([pd.read_csv(paths[f"{suite}.csv"]) for suite in ("reconstruction", "latent")])
    frame = frame.set_index("metric")
    for name in ("kl", "rate", "rate_bits", "kl_per_dim", "aggregate_variance", "neg_elbo"):
        assert np.isnan(frame.loc[name, "value"]), name
        assert "not finite" in frame.loc[name, "note"] or "not a finite number" in frame.loc[name, "note"], name
    for name in ("mse", "aggregate_mean", "active_units"):
        assert np.isfinite(frame.loc[name, "value"]), name


def write_labels(path, celeba):
    """Bright or not, and a factor of three brightness levels, by image id."""
    rows = []
    for split, images in IMAGES.items():
        level = images.mean((1, 2, 3))
        cuts = np.quantile(level, [1 / 3, 2 / 3])
        for i, value in enumerate(level):
            rows.append((f"{split}_{i:03d}.png", 1 if value > np.median(level) else -1, int(np.digitize(value, cuts))))
    if celeba:
        lines = [str(len(rows)), "Bright Level", *(f"{name}  {a} {b}" for name, a, b in rows)]
    else:
        lines = ["image_id,Bright,Level", *(f"{name},{a},{b}" for name, a, b in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("celeba", [True, False])
def test_probes_and_disentanglement_from_a_label_file(celeba, run_it, tmp_path):
    labels = write_labels(tmp_path / "labels.txt", celeba)
    values = values_of(run_it(labels=labels, settings={"factors": ["Level"]}), "latent")
    assert {"probe_auc/Bright", "probe_auc/Level=0", "probe_balanced_accuracy/Level=2", "mig", "sap"} <= set(
        values.index
    )
    per_label = values[[name for name in values.index if name.startswith("probe_auc/")]]
    assert values["probe_auc"] == pytest.approx(per_label.mean())
    assert values["probe_auc/Bright"] > 0.6


def test_labels_that_do_not_fit_are_named(run_it, tmp_path):
    labels = write_labels(tmp_path / "labels.csv", celeba=False)
    with pytest.raises(UserError, match="has no column 'Shape'"):
        run_it(labels=labels, settings={"factors": ["Shape"]})
    short = tmp_path / "short.csv"
    short.write_text("\n".join(labels.read_text().splitlines()[:10]) + "\n")
    with pytest.raises(UserError, match="no label for"):
        run_it(labels=short, folder="short")
    broken = tmp_path / "broken.csv"
    broken.write_text("image,A\nx.png,maybe\n")
    with pytest.raises(UserError, match="not a label file"):
        run_it(labels=broken, folder="broken")


def test_missing_weights_stop_before_anything_is_written(run_it, data, tmp_path):
    path, spec = save_run(tmp_path / "none", "VAE", latent_dim=4)
    write_samples(tmp_path / "none/samples.npz", smooth_images(5))
    paths = result_paths(tmp_path / "none")
    with pytest.raises(UserError, match="needs the vgg16 weights"):
        evaluate(
            path,
            spec,
            0,
            "digits",
            data,
            tmp_path / "none/samples.npz",
            {},
            SETTINGS | WITH_VGG,
            None,
            paths,
            threads=1,
        )
    assert not paths["per_image.parquet"].parent.exists()


@pytest.mark.parametrize(
    ("changes", "network"),
    [
        ({"lpips": ["alex"]}, "alexnet"),
        ({"distribution": SETTINGS["distribution"] | {"features": ["inception"]}}, "inception"),
        ({"protocol": "legacy"}, "vgg16"),
    ],
)
def test_every_need_for_weights_is_known_beforehand(changes, network):
    with pytest.raises(UserError, match=f"give their source under weights.{network}"):
        check_weights(settings_of(SETTINGS | changes), {})
    check_weights(settings_of(SETTINGS | changes), {network: None})


def test_every_row_is_registered(run_it):
    paths = run_it("VAEGAN", reconstruction_layer=2, settings={"protocol": "legacy"})
    rows = pd.concat([pd.read_csv(paths[f"{suite}.csv"]) for suite in SETTINGS["suites"]])
    assert set(rows["metric"]) <= set(METRICS)
    for row in rows.itertuples():
        assert row.suite == METRICS[row.metric].suite
