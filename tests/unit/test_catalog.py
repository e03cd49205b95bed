"""The values that the catalog copies from pythae, and what it refuses, against pythae's own classes and networks."""

import dataclasses
import subprocess
import sys

import pytest
from pythae import models as pythae_models

from vaebench.models.catalog import NETS, grid_size
from vaebench.models.fields import CHOICES
from vaebench.models.providers.pythae.catalog import MODELS

INTERNAL = {
    "name",
    "input_dim",
    "uses_default_encoder",
    "uses_default_decoder",
    "uses_default_discriminator",
    "uses_default_metric",
    "discriminator_input_dim",
}


def _config_class(name):
    return getattr(pythae_models, f"{name}Config", None) or getattr(pythae_models, f"{name}_Config")


def test_catalog_lists_every_model_of_pythae():
    configs = {name for name in pythae_models.__all__ if name.endswith("Config")} - {"BaseAEConfig"}
    assert {_config_class(name).__name__ for name in MODELS} == configs
    assert len(MODELS) == 25


@pytest.mark.parametrize("name", MODELS)
def test_fields_and_defaults_are_those_of_pythae(name):
    expected = {
        item.name: item.default if item.default is not dataclasses.MISSING else tuple(item.default_factory())
        for item in dataclasses.fields(_config_class(name))
        if item.name not in INTERNAL
    }
    own = {"likelihood", "downsampling"}  # in place of reconstruction_loss; and the grid of our networks
    assert {key: value for key, value in MODELS[name].fields.items() if key not in own} == expected
    assert not {key for key, value in expected.items() if isinstance(value, str)} - CHOICES.keys()


@pytest.mark.parametrize("name", MODELS)
def test_defaults_are_allowed_values(name):
    info = MODELS[name]
    problems = {key: info.check(key, value) for key, value in info.fields.items()}
    assert not any(problems.values()), problems


def test_catalog_imports_neither_torch_nor_pythae():
    code = (
        "import sys; from vaebench.models.lookup import MODELS; import vaebench.sampling.choice; len(MODELS); "
        "print({'torch', 'pythae', 'numpy', 'vector_quantize_pytorch'} & sys.modules.keys())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": "workflow/scripts"}
    )
    assert result.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("model", "field", "value", "part"),
    [
        ("SVAE", "latent_dim", 64, "at most 32"),
        ("VAE", "latent_dim", 0, "at least 1"),
        ("VAE", "reconstruction_loss", "l1", "choose from mse, bce"),
        ("CIWAE", "beta", 2.0, "at most 1"),
        ("VAEGAN", "adversarial_loss_scale", 1.5, "at most 1"),
        ("VAE_LinNF", "flows", ["Planar", "Spline"], "Spline"),
        ("VQVAE", "decay", 1.0, "at least 0 and less than 1"),  # an average that takes nothing up: its codes are 0/0
    ],
)
def test_values_out_of_range_are_refused(model, field, value, part):
    assert part in MODELS[model].check(field, value)


def test_values_in_range_pass():
    assert MODELS["SVAE"].check("latent_dim", 32) is None
    assert MODELS["BetaVAE"].check("beta", 4.0) is None
    assert MODELS["WAE_MMD"].check("scales", None) is None


@pytest.mark.parametrize(
    ("net", "role", "model", "shape", "config", "part"),
    [
        ("convnet", "encoder", "VQVAE", (3, 64, 64), {}, "use resnet, compact or lapped"),
        ("convnet", "encoder", "VAE", (3, 96, 96), {}, "use compact"),
        ("resnet", "discriminator", "VAEGAN", (3, 64, 64), {"reconstruction_layer": 3}, "use convnet or compact"),
        ("convnet", "discriminator", "VAEGAN", (3, 64, 64), {}, "reconstruction_layer -1"),
        ("convnet", "discriminator", "VAEGAN", (3, 64, 64), {"reconstruction_layer": 5}, "1 to 4"),
        ("compact", "discriminator", "VAEGAN", (3, 64, 64), {"reconstruction_layer": 4}, "1 to 3"),
        ("compact", "encoder", "VAE", (3, 20, 64), {}, "28x28"),
        ("compact", "encoder", "VAE", (4, 64, 64), {}, "1 or 3 channels"),
    ],
)
def test_nets_that_cannot_be_built_are_refused(net, role, model, shape, config, part):
    assert part in NETS[net].check(role, MODELS[model], shape, config)


def test_nets_that_can_be_built_pass():
    assert NETS["resnet"].check("encoder", MODELS["VQVAE"], (3, 64, 64), {}) is None
    assert NETS["compact"].check("decoder", MODELS["VAE"], (1, 31, 45), {}) is None
    assert NETS["convnet"].check("discriminator", MODELS["VAEGAN"], (3, 64, 64), {"reconstruction_layer": 3}) is None


def test_the_grid_of_codes_is_a_quarter_or_an_eighth_of_the_image():
    assert grid_size((28, 28)) == (7, 7)
    assert grid_size((64, 50)) == (8, 7)
