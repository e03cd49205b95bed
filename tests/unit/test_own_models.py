"""A model in one file of a user's own, added by a plugin or named by its path; its latent is a grid of Gaussians."""

import math
import os
import re
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint

import numpy as np
import pandas as pd
import pytest
import torch
from evaluation_cases import SAMPLES, SETTINGS, evaluate, make_showcase, result_paths, sample, smooth_images
from evaluation_cases import write_data as write_splits
from run_specs import run_spec
from test_adding import example
from test_configuration import merged
from test_resume import assert_equal, in_a_process, result, train_and_kill
from training_cases import run, write_data

from vaebench.base.errors import UserError
from vaebench.base.fingerprint import code_fingerprint
from vaebench.base.log import job, last_line
from vaebench.base.plugin_files import use_plugins
from vaebench.config.completion import complete, load_schema
from vaebench.models import lookup
from vaebench.models.building import build_model
from vaebench.models.inference import decode, encode, latents_of
from vaebench.models.lookup import MODELS, code_of_run, provider_of
from vaebench.models.own_networks import mistakes_of
from vaebench.models.run_spec import Named
from vaebench.models.storage import load_model
from vaebench.sampling.choice import code_of_sampler

SHAPE, GRID = (1, 32, 32), (4, 8, 8)
SCRIPTS = "workflow/scripts"


def spec(model="grid_vae", sampler="auto", config=None, **training):
    nets = dict.fromkeys(("encoder", "decoder", "discriminator"))
    return replace(run_spec(model, nets, config, training), run="own", sampler=Named(sampler))


@pytest.fixture
def plugin(tmp_path):
    """Saves the example of docs/adding-a-model.md, and uses it."""
    path = tmp_path / "grid_vae.py"
    path.write_text(example("adding-a-model.md"))
    use_plugins([str(path)])
    yield path
    use_plugins(())


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The same as a module, whose name no other test has imported; gives its file and the path of the class."""
    name = f"models_{tmp_path.name.replace('-', '_')}"
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / f"{name}.py"
    path.write_text(example("adding-a-model.md"))
    return path, f"{name}.GridVAE"


def test_a_plugins_model_is_trained_and_goes_on_after_a_kill(plugin, tmp_path):
    data, chosen = write_data(tmp_path), spec(epochs=2, checkpoint_minutes=1e-9, config={"beta": 0.5})
    run(chosen, data, tmp_path / "whole")
    assert in_a_process(train_and_kill, chosen, data, tmp_path / "killed", 9, 2, 2) == -9
    run(chosen, data, tmp_path / "killed")
    assert_equal(result(tmp_path / "killed"), result(tmp_path / "whole"))


def test_a_model_named_by_its_path_is_sampled_measured_and_shown(module, tmp_path):
    _, path = module
    images = smooth_images(60, SHAPE)
    data = write_splits(tmp_path, {"train": images[:40], "eval": images[40:50], "test": images[50:]})
    paths = run(spec(path, epochs=2), {"train_data": data["train"], "eval_data": data["eval"]}, tmp_path)
    model = load_model(paths["output"])
    assert model.latent_shape == GRID
    x = torch.from_numpy(images[50:]).float() / 255
    mean, log_variance = model.encoder(x).detach().double().chunk(2, dim=1)
    samples = tmp_path / "samples.npz"
    for name in ("gaussian_mixture", "aggregate_posterior", "auto"):
        sample(paths["output"], data, samples, {"name": name, "options": {}}, SAMPLES, 0, 1)
        with np.load(samples) as archive:
            assert archive["data"].shape == (12, *SHAPE), name
    results = result_paths(tmp_path)
    results["latent.csv"].parent.mkdir()
    settings = SETTINGS | {"suites": ["reconstruction", "generation", "latent", "likelihood"], "samples_per_image": 1}
    evaluate(paths["output"], spec(path), 0, "x", data, samples, {}, settings, None, results, 1)
    found = pd.concat([pd.read_csv(results[f"{suite}.csv"]) for suite in settings["suites"]]).set_index("metric")
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1)
    assert found.value["kl"] == pytest.approx(float(kl.sum(1).mean()), rel=1e-5)
    assert found.value["rate"] == pytest.approx(float(kl.sum(1).mean()), rel=1e-5)
    assert found.value["kl_per_dim"] == pytest.approx(float(kl.mean()), rel=1e-5)
    assert found.value["active_units"] == (mean.flatten(1).var(0, correction=0) > 0.01).sum()
    bound = found.value["log_likelihood_gaussian"]
    assert bound > -found.value["neg_elbo"] - 512 * math.log(2 * math.pi) - 5 * found.value["neg_elbo_draw_error"]
    with np.load(results["latent.npz"]) as arrays:
        np.testing.assert_allclose(arrays["posterior_means"], mean.flatten(1), rtol=1e-4, atol=1e-6)
    make_showcase(paths["output"], data["test"], tmp_path / "show.npz", SAMPLES["showcase"], 1, 1)
    with np.load(tmp_path / "show.npz") as shown:
        assert shown["traversal"].shape == (3, 5, *SHAPE)
        z = encode(model, torch.from_numpy(shown["originals"][:1]).float() / 255).mode().clone()
        z.flatten(1)[0, shown["traversal_dims"][0]] = shown["traversal_values"][1]
        expected = decode(model, z)[0] * 255
        assert (torch.from_numpy(shown["traversal"][0, 1]) - expected).abs().max() < 1


ADVERSARIAL = """
from torch import nn

from vaebench.models.interface import Autoencoder, Losses, Objective
from vaebench.models.posterior import Point


class Adversarial(Autoencoder):
    def __init__(self, shape):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(1024, 6))
        self.decoder = nn.Sequential(nn.Linear(6, 1024), nn.Unflatten(1, shape))
        self.discriminator = nn.Sequential(nn.Flatten(), nn.Linear(1024, 1))

    def encode(self, x):
        return Point(self.encoder(x))

    def decode(self, z):
        return self.decoder(z)

    def losses(self, x, moment):
        y = self.decode(self.encoder(x))
        ours = (y - x).square().mean() - self.discriminator(y).mean()
        theirs = self.discriminator(y).mean() - self.discriminator(x).mean()
        waiting = {"discriminator": moment.epoch == 1}
        return Losses({"loss": ours, "autoencoder_loss": ours, "discriminator_loss": theirs}, waiting)

    def objectives(self):
        both = [*self.encoder.parameters(), *self.decoder.parameters()]
        judge = list(self.discriminator.parameters())
        return [
            Objective("autoencoder", "autoencoder_loss", both),
            Objective("discriminator", "discriminator_loss", judge),
        ]
"""


def test_each_objective_of_a_model_moves_its_own_parameters_when_it_is_its_turn(module, tmp_path):
    file, path = module
    file.write_text(ADVERSARIAL)
    path, data = path.replace("GridVAE", "Adversarial"), write_data(tmp_path)
    sgd = {"name": "SGD", "options": {}}
    states = []
    for epochs in (1, 2):
        slow = {"autoencoder": {"learning_rate": 1e-9}}  # so small that the judge sees the same images throughout
        chosen = spec(path, epochs=epochs, batch_size=40, optimizer=sgd, select="last", components=slow)
        states.append(load_model(run(chosen, data, tmp_path / str(epochs))["output"]))
    torch.manual_seed(0)
    first = build_model(spec(path), SHAPE)
    one, two = states
    assert torch.equal(one.discriminator[1].weight, first.discriminator[1].weight), "it waited"
    x = torch.from_numpy(np.load(data["train_data"])["data"]).float() / 255
    with torch.no_grad():
        gradient = (one.decode(one.encoder(x)).mean(0) - x.mean(0)).flatten()
    moved = (two.discriminator[1].weight - one.discriminator[1].weight)[0].detach()
    torch.testing.assert_close(moved, -1e-3 * gradient, rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(two.encoder[1].weight, first.encoder[1].weight, rtol=0, atol=1e-6)


def test_the_sampler_of_a_plugin_draws(tmp_path):
    paths = [tmp_path / "grid_vae.py", tmp_path / "cooled.py"]
    for path, page in zip(paths, ("adding-a-model.md", "adding-a-sampler.md"), strict=True):
        path.write_text(example(page))
    use_plugins(map(str, paths))
    try:
        images = smooth_images(30, SHAPE)
        data = write_splits(tmp_path, {"train": images[:20], "eval": images[20:25], "test": images[25:]})
        chosen = spec(sampler="cooled", epochs=1)
        model = run(chosen, {"train_data": data["train"], "eval_data": data["eval"]}, tmp_path)["output"]
        drawn = {}
        for name in ("cooled", "normal"):
            sample(model, data, tmp_path / f"{name}.npz", {"name": name, "options": {}}, SAMPLES, 0, 1)
            drawn[name] = np.load(tmp_path / f"{name}.npz")
        network = load_model(model)
        scale = latents_of(network, images[:20]).std(ddof=1)
        stream = np.random.default_rng([SAMPLES["seed"], 0])
        stream.integers(2**63)
        z = torch.from_numpy(stream.standard_normal((12, *GRID), dtype=np.float32))
        for name, factor in (("cooled", float(scale)), ("normal", 1.0)):
            expected = decode(network, factor * z).numpy() * 255
            assert np.abs(drawn[name]["data"] - expected).max() < 1, name
        assert code_of_sampler(chosen).files == {paths[1]}
        assert code_of_run(chosen).files == {paths[0]}
    finally:
        use_plugins(())


@pytest.mark.parametrize(
    ("old", "new", "stale"), [("32, 4, 4", "16, 4, 4", True), ("# (C, H", "# the shape (C, H", False)]
)
def test_an_edit_of_the_file_makes_its_runs_stale(module, old, new, stale):
    file, path = module

    def fingerprint(model):
        also = code_of_run(run_spec(model) if model == "VAE" else spec(model))
        return code_fingerprint(f"{SCRIPTS}/train.py", also=also)

    before = {model: fingerprint(model) for model in (path, "VAE")}
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    assert (fingerprint(path) != before[path]) == stale
    assert fingerprint("VAE") == before["VAE"]


def mistakes(entry, plugin):
    """What the configuration says against an entry."""
    config = merged({"plugins": [str(plugin)], "models": {"own": entry}})
    try:
        complete(config, load_schema())
    except UserError as error:
        return str(error)
    return ""


def test_the_configuration_takes_the_name_and_the_path(plugin, module):
    for model in ("grid_vae", module[1]):
        assert mistakes({"model": model, "config": {"beta": 2.0}, "sweep": {"channels": [2, 4]}}, plugin) == ""
    assert "grid_vae" in MODELS


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"model": "grid_vea"}, "models.own.model: unknown model 'grid_vea'; did you mean grid_vae?"),
        (
            {"model": "no_such_module.Model"},
            "models.own.model: no_such_module.Model: there is no module no_such_module",
        ),
        ({"model": "MODULE.GridVea"}, "has no GridVea; did you mean GridVAE?"),
        ({"model": "grid_vae", "nets": {"encoder": "compact"}}, "models.own.nets: grid_vae brings its own networks"),
        ({"model": "grid_vae", "training": {"select": "psnr"}}, "'psnr' cannot choose the epoch of grid_vae"),
    ],
)
def test_mistakes_are_told_before_a_job(entry, message, plugin, module):
    entry = entry | {"model": entry["model"].replace("MODULE", module[1].partition(".")[0])}
    assert message in mistakes(entry, plugin)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("(Autoencoder)", "(nn.Module)", "is no class derived from vaebench.models.interface.Autoencoder"),
        ("beta=1.0", "gamma=1.0", "cannot be built with config {'beta': 2.0}: .*unexpected keyword argument 'beta'"),
        ("shape[0], 32", "shape[7], 32", "IndexError: tuple index out of range"),
        ("    def decode(", "    def decoded(", "abstract"),
    ],
)
def test_a_class_that_cannot_be_built_is_one_line_before_the_first_job(old, new, reason, module):
    file, path = module
    file.write_text(file.read_text().replace(old, new))
    (mistake,) = mistakes_of([spec(path, config={"beta": 2.0})], SHAPE)
    assert mistake.startswith(f"own: {path}: ")
    assert re.search(reason, mistake), mistake


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            "- x).square()",
            "- x[:, :1, :8]).square()",
            r"line 27: GridVAE\.losses failed: RuntimeError: The size of tensor",
        ),
        ("nn.PixelShuffle(4)", "nn.PixelShuffle(5)", r"line 22: GridVAE\.decode failed: RuntimeError"),
        ("return Losses(", "return dict(", r"GridVAE\.losses gives a value of the type dict, not Losses of "),
        ("error + self.beta * kl,", "(error + kl).detach(),", "RuntimeError: .*does not require grad"),
        (
            '"loss": error',
            '"total": error',
            r"objectives\(\) minimise 'loss', losses gives total, reconstruction_loss, kl",
        ),
        ('"kl": kl', '"kl": q.kl()', r"GridVAE\.losses: kl is a tensor \(2,\), not a scalar tensor"),
        ("return Gaussian(mean, log_variance)", "return (mean,)", "'tuple' object has no attribute 'mean'"),
        (
            "self.decoder(z)",
            "self.decoder(z)[:, :, : 32 if self.training else 9]",
            r"GridVAE\.decode gives a tensor \(2, 1, 9, 32\), not images",
        ),
    ],
)
def test_a_class_that_cannot_be_trained_is_one_line_before_the_first_job(old, new, reason, module):
    file, path = module
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    (mistake,) = mistakes_of([spec(path)], SHAPE)
    assert mistake.startswith(f"own: {path}: ")
    assert re.search(reason, mistake), mistake


def test_the_answer_of_encode_is_looked_at_where_losses_do_not_use_it(module):
    file, path = module
    file.write_text(ADVERSARIAL.replace("return Point(self.encoder(x))", "return self.encoder(x)"))
    (mistake,) = mistakes_of([spec(path.replace("GridVAE", "Adversarial"))], SHAPE)
    assert mistake.endswith("Adversarial.encode gives a tensor (2, 6), not a Posterior of vaebench.models.posterior")


@pytest.mark.parametrize(
    "failure", ["raise KeyError('a key')", "1 / 0", "assert x is None", "raise ValueError('between\\n lines')"]
)
def test_a_model_that_fails_later_is_told_as_the_user_s_own(failure, module, tmp_path):
    """With file and line, without asking for a report; a division by zero is not called a divergence."""
    file, path = module
    text = file.read_text().replace(
        "        q = self", f"        if moment.epoch == 2:\n            {failure}\n        q = self"
    )
    file.write_text(text)
    line = text[: text.index(failure)].count("\n") + 1
    chosen = spec(path, epochs=2)
    assert mistakes_of([chosen], SHAPE) == []
    data = write_data(tmp_path)
    assert in_a_process(train_as_a_job, chosen, data, tmp_path) == 1
    log = (tmp_path / "train.log").read_text()
    said = last_line(tmp_path / "train.log")
    assert "Traceback" in log
    assert said.startswith(f"Error: {file}, line {line}: GridVAE.losses failed: ")
    assert said.endswith("(this is your own code, not vaebench's: mend it there)")
    assert "report" not in said


def train_as_a_job(chosen, data, folder):
    sys.stderr = os.fdopen(2, "w")  # pytest's own writes elsewhere
    with job(folder / "train.log"):
        run(chosen, data, folder)


CRITIC = ADVERSARIAL.replace('"discriminator", "disc', '"critic", "disc').replace('{"discriminator"}', '{"critic"}')


def test_a_model_of_one_s_own_names_its_optimizers(plugin, module, tmp_path):
    file, path = module
    file.write_text(CRITIC)
    path = path.replace("GridVAE", "Adversarial")
    entry = {"model": path, "training": {"components": {"critic": {"learning_rate": 1e-9}}}}
    assert mistakes(entry, plugin) == ""
    entry["training"]["components"]["critic"] = {"learning_rat": 1e-9}
    assert "models.own.training.components.critic.learning_rat: unknown key" in mistakes(entry, plugin)
    still = spec(path, epochs=2, batch_size=40, select="last", components={"critic": {"learning_rate": 1e-30}})
    assert mistakes_of([still], SHAPE) == []
    trained = load_model(run(still, write_data(tmp_path), tmp_path)["output"])
    torch.manual_seed(0)
    first = build_model(still, SHAPE)
    assert torch.equal(trained.discriminator[1].weight, first.discriminator[1].weight)
    assert not torch.equal(trained.encoder[1].weight, first.encoder[1].weight)


def test_an_optimizer_that_the_model_does_not_have_is_told_before_the_first_job(module):
    file, path = module
    file.write_text(CRITIC)
    wrong = spec(path.replace("GridVAE", "Adversarial"), components={"critik": {}, "autoencoder": {}})
    (mistake,) = mistakes_of([wrong], SHAPE)
    assert mistake.endswith("training.components: Adversarial has no critik (it has autoencoder, critic)")


@pytest.mark.parametrize(
    ("model", "name", "message"),
    [
        ("VAEGAN", "critic", "VAEGAN has no such part; allowed: encoder, decoder, discriminator"),
        ("VAE", "critic", "VAE has no such part; allowed: none, it has one optimizer"),
        ("grid_vae", "critic", ""),  # told when its class is built
    ],
)
def test_the_package_s_models_have_the_optimizers_that_they_have(model, name, message, plugin):
    nets = {"encoder": "compact", "decoder": "compact"} if model != "grid_vae" else {}
    nets |= {"discriminator": "compact"} if model == "VAEGAN" else {}
    found = mistakes({"model": model, "nets": nets, "training": {"components": {name: {}}}}, plugin)
    assert (f"models.own.training.components.{name}: {message}" in found) if message else found == ""


@pytest.mark.parametrize(
    ("options", "message"), [({"weight_decay": 0.1}, ""), ({"weight_decoy": 0.1}, "components.critic.optimizer")]
)
def test_an_optimizer_of_a_model_of_one_s_own_is_tried(options, message, plugin):
    critic = {"optimizer": {"name": "Adam", "options": options}}
    found = mistakes({"model": "grid_vae", "training": {"components": {"critic": critic}}}, plugin)
    assert message in found
    assert bool(found) == bool(message)


@pytest.mark.parametrize("text", [None, "raise OSError('no licence')\n"])
def test_without_the_images_size_the_class_is_imported_only(text, module):
    file, path = module
    file.write_text(text or file.read_text().replace("super().__init__()", "1 / 0"))
    found = mistakes_of([spec(path)], None)
    assert found == ([f"own: {path}: {file}, line 1: <module> failed: OSError: no licence"] if text else [])


def test_a_model_of_a_plugin_that_is_not_in_use_is_not_known():
    with pytest.raises(UserError, match=r"there is no model 'grid_vae'.* or name its file in plugins"):
        build_model(spec(), SHAPE)


def test_an_entry_point_brings_a_provider(monkeypatch):
    """An installed package's provider, and one that is none."""
    provider = "vaebench.models.providers.quantizers.provider"
    other = f"{provider}:Quantizers"
    point = EntryPoint("mine", f"{provider}:PROVIDER", lookup.GROUP)
    monkeypatch.setattr(lookup, "entry_points", lambda group: [point] if group == lookup.GROUP else [])
    lookup.found_providers.cache_clear()
    try:
        assert lookup.found_providers().count(point.load()) == 2
        with pytest.raises(UserError, match="two providers offer a model 'QuantizedAE'"):
            provider_of("QuantizedAE")
        point = EntryPoint("mine", other, lookup.GROUP)
        lookup.found_providers.cache_clear()
        with pytest.raises(UserError, match=r"the entry point mine of vaebench\.models .* is no Provider"):
            provider_of("VAE")
    finally:
        monkeypatch.undo()
        lookup.found_providers.cache_clear()
