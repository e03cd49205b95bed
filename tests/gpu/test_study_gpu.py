"""What a study does with each of its models on a GPU, and what the CPU then says of the trained model.

A model that was trained on the device is drawn from, shown and measured there, and measured again on the CPU, which is
the reference: a tensor left on the wrong device, or a result that depends on the device, ends here.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from evaluation_cases import SETTINGS, make_showcase, result_paths, settings_of, smooth_images, write_data
from run_specs import run_spec
from sklearn.datasets import load_digits
from test_conditional import write_labels
from test_zoo import QUICK
from training_cases import digits, outputs, run

from vaebench.base.formats import read_npz
from vaebench.evaluation.run import EvaluationFiles, evaluate
from vaebench.models.run_spec import Named
from vaebench.models.sampler_names import CONTINUOUS, OF_CODES
from vaebench.models.storage import load_model
from vaebench.results.suite_files import TrainingIdentity
from vaebench.sampling.choice import resolve_sampler
from vaebench.sampling.samplers import SamplingFiles, sample
from vaebench.sampling.sampling_settings import SamplingSettings

pytestmark = pytest.mark.gpu
ZOO = yaml.safe_load(Path("config/zoo.yaml").read_text())["models"]
COUNTS = {"train": (97, 0), "eval": (33, 1000), "test": (40, 1100)}
QUICKLY = QUICK | {"maf": {"epochs": 1}, "iaf": {"epochs": 1}, "two_stage": {"epochs": 1}}
SMALL_DIFFUSERS = {"diffusers": {"block_out_channels": [8, 16, 24], "norm_num_groups": 4}}
NETWORKS = {
    "convnet": ("VAE", {}),
    "resnet": ("VQVAE", {"num_embeddings": 16}),
    "dcgan": ("VAE", {}),
    "spectral": ("LikelihoodVAE", {"likelihood": {"discretized_logistic": {"scale": "learned"}}}),
    "lapped": ("QuantizedAE", {"quantizer": {"fsq": {"levels": [4, 3, 3]}}}),
    "strided": ("VQVAE", {"num_embeddings": 16}),
    "diffusers": ("LikelihoodVAE", {"likelihood": {"gaussian": {"sigma": "learned"}}}),
}


@pytest.fixture
def data(tmp_path):
    images = {split: digits(count, start) for split, (count, start) in COUNTS.items()}
    return write_data(tmp_path / "data", images)


@pytest.fixture
def faces(tmp_path):
    shape = (3, 64, 64)
    return write_data(tmp_path / "data", {split: smooth_images(n, shape, at) for split, (n, at) in COUNTS.items()})


def trained(spec, data, folder, weights=None, labels=None):
    """The folder of the model."""
    files = {f"{split}_data": data[split] for split in ("train", "eval")}
    run(spec, files, folder, weights=weights, labels=labels)
    return outputs(folder)["output"]


def draw(model, data, output, device, name="auto", labels=None):
    """25 images, by a sampler that is fitted for one epoch, where it is fitted."""
    found, _ = resolve_sampler(load_model(model), Named(name))
    files = SamplingFiles(model, data, output, labels or {})
    sample(files, Named(name, QUICKLY.get(found, {})), SamplingSettings(25, 10, 0, device), 0, 4)
    images = read_npz("samples", output)["data"]
    assert images.shape == (25, *load_model(model).input_shape)
    assert images.std() > 0


def measure(spec, model, data, samples, folder, device, labels=None):
    """Errors of each image, and the bound and rate where there are any."""
    paths = result_paths(folder / device)
    files = EvaluationFiles(model, data, samples, {}, None, labels or {})
    suites = [*SETTINGS["suites"], "likelihood"]
    settings = settings_of(SETTINGS | {"suites": suites, "batch_size": 16, "device": device})
    evaluate(TrainingIdentity("digits", spec.run, spec.model, 0), files, settings, paths, 4)
    return pd.read_parquet(paths["per_image.parquet"]).drop(columns="image")


def follow(spec, data, folder, device, weights=None, labels=None):
    """Train, draw, show and measure on the device; measure on the CPU; compare."""
    given = {split: labels[split] for split in ("train", "eval")} if labels else None
    model = trained(spec, data, folder, weights, given)
    draw(model, data, folder / "samples.npz", device, labels=labels)
    if not labels:
        showcase = {"images": 4, "traversal_dims": 2, "traversal_steps": 3, "interpolations": 2, "device": device}
        make_showcase(model, data["test"], folder / "showcase.npz", showcase, 0, 4)
    here, on_cpu = (
        measure(spec, model, data, folder / "samples.npz", folder, each, labels) for each in (device, "cpu")
    )
    assert list(here) == list(on_cpu)
    # of each image to what float32 leaves; where a code lies between two, one image may take the other
    for name in here:
        agree = np.isclose(here[name], on_cpu[name], rtol=1e-3, atol=1e-5, equal_nan=True)
        assert agree.mean() >= 0.95, (name, here[name][~agree].tolist(), on_cpu[name][~agree].tolist())


@pytest.mark.parametrize("entry", ZOO)
def test_every_model_of_the_zoo(entry, device, data, perceptual_weights, tmp_path):
    settings = ZOO[entry]
    fields = settings["config"] | {key: values[0] for key, values in settings.get("sweep", {}).items()}
    if "perceptual" in fields:
        fields["perceptual"] = {**fields["perceptual"], "network": "alexnet"}
    if "adversarial" in fields:
        fields["adversarial"] = {**fields["adversarial"], "start": 3}
    spec = run_spec(settings["model"], settings["nets"], fields, {"device": device, "select": "last"})
    follow(spec, data, tmp_path, device, weights=perceptual_weights)


@pytest.mark.parametrize("net", NETWORKS)
def test_every_family_of_networks(net, device, faces, tmp_path):
    if net == "diffusers" and not find_spec("diffusers"):
        pytest.skip("the package diffusers is not here")
    model, fields = NETWORKS[net]
    nets = dict.fromkeys(("encoder", "decoder"), SMALL_DIFFUSERS if net == "diffusers" else net)
    spec = run_spec(model, nets, {"latent_dim": 8, **fields}, {"device": device, "select": "last"})
    follow(spec, faces, tmp_path, device)


def test_a_model_that_is_given_labels(device, data, tmp_path):
    target = load_digits().target
    labels = {
        split: write_labels(tmp_path / f"{split}_labels.csv", {"class": target[start : start + count] % 2})
        for split, (count, start) in COUNTS.items()
    }
    spec = run_spec("LikelihoodVAE", config={"latent_dim": 4, "conditional": "class"}, training={"device": device})
    follow(spec, data, tmp_path, device, labels=labels)


@pytest.mark.parametrize("model", ["VAE", "QuantizedAE"])
def test_every_sampler(model, device, data, tmp_path):
    fields = {"quantizer": {"vq": {"codebook_size": 16}}} if model == "QuantizedAE" else {}
    spec = run_spec(model, config={"latent_dim": 4, **fields}, training={"device": device, "select": "last"})
    folder = trained(spec, data, tmp_path)
    for name in OF_CODES if fields else CONTINUOUS:
        draw(folder, data, tmp_path / f"{name}.npz", device, name)


@pytest.mark.parametrize("name", ["maf", "two_stage", "transformer", "pixelcnn"])
def test_a_fitted_prior_costs_the_held_out_images_the_same(name, device, data, tmp_path):
    """Fitted on either device from the same first weights and in the same order of images."""
    codes = name in OF_CODES
    fields = {"quantizer": {"vq": {"codebook_size": 16}}} if codes else {}
    spec = run_spec("QuantizedAE" if codes else "VAE", config={"latent_dim": 4, **fields}, training={"select": "last"})
    folder = trained(spec, data, tmp_path)
    found = []
    for each in (device, "cpu"):
        draw(folder, data, tmp_path / f"{each}.npz", each, name)
        arrays = read_npz("samples", tmp_path / f"{each}.npz")
        found.append(float(np.mean(arrays["code_nats_test" if codes else "latent_nats_test"])))
    assert found[0] == pytest.approx(found[1], rel=0.02)
    assert torch.isfinite(torch.tensor(found)).all()
