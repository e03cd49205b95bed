"""The evaluation of a model from files to files: complete, independent of batches, honest about what is absent."""

import numpy as np
import pandas as pd
import pytest
import torch
from evaluation_cases import FLOAT32, SETTINGS, WITH_VGG, result_paths, save_run, smooth_images, write_data

from vaebench.errors import UserError
from vaebench.evaluation import check_weights, evaluate
from vaebench.inference import encode, reconstruct
from vaebench.metrics.registry import METRICS
from vaebench.models import load_model
from vaebench.results import COLUMNS, Suites, mean_of, read_context

IMAGES = {"train": smooth_images(40, seed=1), "eval": smooth_images(9, seed=2), "test": smooth_images(21, seed=3)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), IMAGES)


@pytest.fixture
def run_it(data, tmp_path, perceptual_weights):
    """Save a model, write samples, evaluate; gives the result paths."""

    def run(model="VAE", folder="run", settings=None, labels=None, samples=None, change=None, **config):
        home = tmp_path / folder
        config = {"latent_dim": 4} | config
        path, spec = save_run(home, model, change=change, **config)
        samples = smooth_images(15, seed=4) if samples is None else samples
        np.savez(home / "samples.npz", data=samples, sampler=np.array("{}"))
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
    assert {"mse", "bce", "ssim", "gmsd", "lpips_vgg", "kl", "neg_elbo"} <= set(table)
    context = read_context(paths["per_image.parquet"])
    assert context["protocol"] == "standard"
    assert set(context["data"]) == {"train", "eval", "test"}
    latent = np.load(paths["latent.npz"])
    assert set(latent) == {
        "kl_per_dim", "active", "mean", "variance", "posterior_means", "posterior_log_variances",
    }  # fmt: skip
    extremes = np.load(paths["extremes.npz"])
    assert extremes["worst_original"].shape == extremes["worst_reconstruction"].shape == (8, 1, 28, 28)


def test_a_pretrained_run_without_a_model_in_the_configuration_has_its_models_name(data, tmp_path, perceptual_weights):
    path, spec = save_run(tmp_path, "BetaVAE", latent_dim=4, beta=2.0)
    np.savez(tmp_path / "samples.npz", data=smooth_images(15, seed=4), sampler=np.array("{}"))
    paths = result_paths(tmp_path)
    spec |= {"model": None, "pretrained": {"path": "somewhere"}}
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
    one = mean_of(np.array([0.25]))
    assert one.value == 0.25
    assert np.isnan(one.std_error)


def test_a_value_that_the_registry_does_not_know_is_an_error():
    suites = Suites("digits", "vae", "VAE", 0, SETTINGS, {}, 21)
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
    assert found["neg_elbo"] == pytest.approx((0.5 * sse + kl).mean().item(), rel=FLOAT32)
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
        assert frame.loc["fd_vgg16", "note"] == "too few images, or values that are not finite"
    else:
        assert frame.loc["fd_vgg16", "value"] > 0
    copied = np.array_equal(samples, IMAGES["train"][: len(samples)])
    assert (frame.loc["nearest_train_distance", "value"] == 0) == copied
    assert frame["value"].notna().sum() >= 4


def test_the_set_distances_use_the_features_of_both_passes(run_it, perceptual_weights):
    from vaebench.metrics import distribution
    from vaebench.metrics.perceptual import Perceptual, pooled

    found = values_of(run_it(settings=WITH_VGG), "generation")
    trunk = Perceptual("vgg", perceptual_weights["vgg16"])
    real, fake = (
        pooled(trunk.features(torch.from_numpy(images).float() / 255)).numpy()
        for images in (IMAGES["test"], smooth_images(15, seed=4))
    )
    assert found["fd_vgg16"] == pytest.approx(distribution.frechet_distance(fake, real), rel=1e-4)
    assert found["precision_vgg16"] == pytest.approx(distribution.manifold_metrics(fake, real, 3)["precision"])


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
    assert frame.loc["log_likelihood", "n"] == 6
    assert frame.loc["log_likelihood", "value"] < 0
    assert 1 <= frame.loc["effective_samples", "value"] <= 8
    assert not paths["generation.csv"].exists()
    ae = pd.read_csv(run_it("AE", "ae", suites)["likelihood.csv"]).set_index("metric")
    assert ae.loc["log_likelihood", "note"] == "defined for Gaussian posteriors only"


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
    np.savez(tmp_path / "none/samples.npz", data=smooth_images(5))
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
        ({"distribution": {"features": ["inception"]}}, "inception"),
        ({"protocol": "legacy"}, "vgg16"),
    ],
)
def test_every_need_for_weights_is_known_beforehand(changes, network):
    with pytest.raises(UserError, match=f"give their source under weights.{network}"):
        check_weights(SETTINGS | changes, {})
    check_weights(SETTINGS | changes, {network: None})


def test_every_row_is_registered(run_it):
    paths = run_it("VAEGAN", reconstruction_layer=2, settings={"protocol": "legacy"})
    rows = pd.concat([pd.read_csv(paths[f"{suite}.csv"]) for suite in SETTINGS["suites"]])
    assert set(rows["metric"]) <= set(METRICS)
    for row in rows.itertuples():
        assert row.suite == METRICS[row.metric].suite
