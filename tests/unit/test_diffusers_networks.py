"""The networks of diffusers' AutoencoderKL against that class itself, and on the road of every other network."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL
from run_specs import run_spec
from test_resume import assert_equal, in_a_process, result, train_and_kill
from training_cases import outputs, run, write_data

import vaebench.models.catalog as catalog
from vaebench.base.errors import UserError
from vaebench.models.building import build_model
from vaebench.models.inference import reconstruct
from vaebench.models.interface import Moment
from vaebench.models.lookup import MODELS, code_of_run
from vaebench.models.networks import code
from vaebench.models.own_networks import own_networks
from vaebench.models.storage import load_model

SMALL = {"block_out_channels": [8, 16, 24], "norm_num_groups": 4, "latent_channels": 3}
HEADS = {"WAE_MMD": ["embedding"], "VAE": ["embedding", "log_covariance"], "SVAE": ["embedding", "log_concentration"]}


def spec(model="LikelihoodVAE", options=SMALL, config=None, **training):
    nets = {role: {"diffusers": options} for role in ("encoder", "decoder")}
    return run_spec(model, nets, {"latent_dim": 5, **(config or {})}, {"select": "last"} | training)


def built(*arguments, shape=(3, 32, 48), **keywords):
    torch.manual_seed(0)
    return build_model(spec(*arguments, **keywords), shape).eval()


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("quant_conv", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
def test_encoder_and_decoder_are_those_of_autoencoder_kl(attention, quant_conv, layers):
    """With its weights, in float64, to the last bit."""
    torch.manual_seed(0)
    shared = {
        "block_out_channels": (8, 16, 24),
        "layers_per_block": layers,
        "norm_num_groups": 4,
        "mid_block_add_attention": attention,
    }
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3}
    with_convolutions = {"use_quant_conv": quant_conv, "use_post_quant_conv": quant_conv}
    theirs = AutoencoderKL(latent_channels=5, **shared, **blocks, **with_convolutions).double().eval()
    options = {**shared, "block_out_channels": [8, 16, 24], "use_quant_conv": quant_conv, "output": "linear"}
    ours = built(options=options, config={"spatial": True, "downsampling": 4}).double()
    ours.encoder.body.load_state_dict(theirs.encoder.state_dict())
    ours.decoder.body.load_state_dict(theirs.decoder.state_dict())
    if quant_conv:
        ours.encoder.quant_conv.load_state_dict(theirs.quant_conv.state_dict())
        ours.decoder.post_quant_conv.load_state_dict(theirs.post_quant_conv.state_dict())
    x = torch.rand(2, 3, 32, 48, dtype=torch.float64)
    with torch.no_grad():
        expected, found = theirs.encode(2 * x - 1).latent_dist, ours.encode(x)
        assert torch.equal(found.mean, expected.mean)
        assert torch.equal(found.log_variance, expected.logvar)
        z = torch.randn(2, 5, 8, 12, dtype=torch.float64)
        answer = theirs.decode(z).sample
        assert torch.equal(ours.decode(z), (answer + 1) / 2)
        ours.decoder.output = "sigmoid"
        assert torch.equal(ours.decode(z), torch.sigmoid(answer))


def test_all_weights_are_those_of_autoencoder_kl():
    """The defaults of the two, as long as a block is halved as often."""
    ours = built(options={"block_out_channels": [64], "layers_per_block": 1}, shape=(3, 8, 8))
    theirs = AutoencoderKL(latent_channels=4)
    for role in ("encoder", "decoder"):
        shapes = [
            {name: tensor.shape for name, tensor in module.state_dict().items()}
            for module in (getattr(ours, role).body, getattr(theirs, role))
        ]
        del shapes[0]["conv_out.weight"], shapes[1]["conv_out.weight"]  # the moments of a flat latent are made behind
        shapes[0].pop("conv_out.bias"), shapes[1].pop("conv_out.bias")
        assert shapes[0] == shapes[1]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 36, 20), (3, 64, 64)])
@pytest.mark.parametrize("model", HEADS)
def test_flat_latents(model, shape):
    options = {"norm_num_groups": 8} if max(shape) > 48 else SMALL
    model = built(model, options, shape=shape)
    x = torch.rand(2, *shape)
    answer = model.encoder(x)
    assert list(answer) == HEADS[model.name]
    second = (2, 1) if model.name == "SVAE" else (2, 5)
    assert [tuple(part.shape) for part in answer.values()] == [(2, 5), second][: len(answer)]
    images = model.decoder(answer.embedding).reconstruction
    assert images.shape == x.shape
    assert 0 < images.min() < images.max() < 1


@pytest.mark.parametrize(
    ("model", "config", "shape", "grid"),
    [
        ("LikelihoodVAE", {"spatial": True}, (1, 28, 28), (7, 7)),
        ("LikelihoodVAE", {"spatial": True, "downsampling": 8}, (3, 32, 64), (4, 8)),
        ("LikelihoodVAE", {"spatial": True, "posterior_variance": 0.1}, (3, 64, 64), (8, 8)),
        ("QuantizedAE", {"downsampling": 16}, (3, 64, 64), (4, 4)),
        ("VQVAE", {"num_embeddings": 8}, (3, 32, 32), (8, 8)),
    ],
)
def test_grids_are_as_coarse_as_the_model_says(model, config, shape, grid):
    """Also with the default channels, of which there are as many as the grid takes."""
    model = built(model, {"norm_num_groups": 8, "mid_block_add_attention": False}, config, shape=shape)
    assert model.latent_shape == (5, *grid)
    x = torch.rand(2, *shape)
    assert reconstruct(model, x).shape == x.shape
    terms = model.train().losses(x, Moment(1, 8)).terms
    terms["loss"].backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None and not name.startswith("quantizer")]
    assert missing == []


@pytest.mark.parametrize(
    ("options", "config", "shape", "reason"),
    [
        ({"layers": 2}, {}, (3, 32, 32), "diffusers has no option 'layers'; it has block_out_channels"),
        ({"block_out_channels": []}, {}, (3, 32, 32), "block_out_channels: .* must be a list"),
        ({"block_out_channels": [32, 0]}, {}, (3, 32, 32), "0 must be a whole number that is at least 1"),
        ({"block_out_channels": [32, 48]}, {}, (3, 32, 32), "48 channels do not divide into norm_num_groups: 32"),
        ({"layers_per_block": 0}, {}, (3, 32, 32), "layers_per_block: 0 must be a whole number"),
        ({"output": "tanh"}, {}, (3, 32, 32), "output: 'tanh' must be sigmoid or linear"),
        ({}, {}, (3, 36, 50), "36 pixels do not divide by 8: 4 block_out_channels halve the image 3 times"),
        (SMALL, {}, (3, 30, 32), "30 pixels do not divide by 4"),
        (SMALL, {"spatial": True}, (3, 64, 64), "one vector of 4x4 pixels, and the model takes one of 8x8: give 4"),
        ({}, {}, (2, 32, 32), "1 or 3 channels"),
    ],
)
def test_what_cannot_be_is_said(options, config, shape, reason):
    with pytest.raises(UserError, match=reason):
        built(options=options, config=config, shape=shape)


def test_families_without_options_take_none():
    nets = {"encoder": {"compact": {"width": 3}}}
    with pytest.raises(UserError, match="there is no family of networks with options 'compact'; choose from diffusers"):
        build_model(run_spec("VAE", nets), (1, 28, 28))


def test_a_package_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setattr(catalog, "is_installed", lambda package: package != "diffusers")
    reason = "the package diffusers is not installed; pip install 'vaebench\\[diffusers\\]'"
    with pytest.raises(UserError, match=f"^encoder diffusers for LikelihoodVAE: {reason}$"):
        built()
    assert catalog.NETS["compact"].check("encoder", MODELS["VAE"], (3, 64, 64), {}) is None


def test_it_is_trained_killed_and_opened_as_any_other(tmp_path):
    data = write_data(tmp_path)
    trained = spec("VAE", SMALL, epochs=2)
    left_alone = result_of(trained, data, tmp_path / "left_alone")
    folder = tmp_path / "killed"
    folder.mkdir()
    assert in_a_process(train_and_kill, trained, data, folder, 15, 2, 1) == 143
    assert_equal(result_of(trained, data, folder), left_alone)
    model = load_model(outputs(folder)["output"])
    x = torch.rand(2, 1, 32, 32)
    assert torch.equal(reconstruct(model, x), reconstruct(load_model(outputs(tmp_path / "left_alone")["output"]), x))


def result_of(trained, data, folder):
    folder.mkdir(exist_ok=True)
    run(trained, data, folder)
    return result(folder)


def test_stock_pythae_opens_the_model_without_this_package(tmp_path):
    run(spec("VAE", SMALL, epochs=1), write_data(tmp_path), tmp_path)
    script = (
        "import sys; from pythae.models import AutoModel; import torch; "
        f"model = AutoModel.load_from_folder({str(outputs(tmp_path)['output'])!r}); "
        "print(model.reconstruct(torch.rand(2, 1, 32, 32)).shape, 'vaebench' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, cwd=tmp_path, env={})
    assert found.stdout.strip() == "torch.Size([2, 1, 32, 32]) False", found.stderr


def test_only_runs_that_name_it_import_it_or_depend_on_its_version(monkeypatch):
    script = (
        "import sys; import vaebench.models.lookup, vaebench.config.completion, vaebench.models.pretrained; "
        "import vaebench.models.networks.families; from vaebench.models.catalog import NETS; "
        "NETS['diffusers'].why_not({}); print('diffusers' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={"PYTHONPATH": "workflow/scripts"}
    )
    assert found.stdout.strip() == "False", found.stderr
    named, other = spec(), run_spec("LikelihoodVAE")
    before = code_of_run(named), code_of_run(other)
    assert "vaebench.models.networks.diffusers" in before[0].modules - before[1].modules
    monkeypatch.setattr(code, "version", lambda package: "99")
    assert code_of_run(named) != before[0]
    assert code_of_run(other) == before[1]
    mixed = replace(named, nets={"encoder": "diffusers", "decoder": "compact"})
    assert code_of_run(mixed).facts.count("diffusers 99") == 1


def test_it_is_no_network_of_the_user():
    assert own_networks(spec()) == []
