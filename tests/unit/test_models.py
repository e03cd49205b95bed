"""Models from specifications, and models on disk."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from training_cases import make_spec

from vaebench.base.errors import UserError
from vaebench.base.formats import read_json
from vaebench.models.building import build_model
from vaebench.models.state import load_weights, restore_model
from vaebench.models.storage import load_model, save_model

SHAPE = (1, 32, 32)


def test_same_seed_same_weights():
    def weights(seed):
        torch.manual_seed(seed)
        return torch.nn.utils.parameters_to_vector(build_model(make_spec("VAE"), SHAPE).parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {"latent_dmi": 3}}, "has no field 'latent_dmi'"),
        ({"config": {"latent_dim": 0}}, "at least 1"),
        ({"model": "GAN"}, "there is no model 'GAN'"),
        ({"nets": {"encoder": "compact", "decoder": None}}, "nets.decoder"),
        ({"nets": {"encoder": "huge", "decoder": "compact"}}, "no such network"),
    ],
)
def test_wrong_specifications_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        build_model(replace(make_spec("VAE"), **change), SHAPE)


def test_svae_with_a_latent_that_underflows_is_refused():
    with pytest.raises(UserError, match="at most 32"):
        build_model(make_spec("SVAE", config={"latent_dim": 64}), SHAPE)


BY_PYTHAE = """
import sys, torch
from pythae.models import AutoModel

for name in sys.argv[1:]:
    model = AutoModel.load_from_folder(f"{name}/final_model").double().eval()
    expected = torch.load(f"{name}/expected.pt")
    torch.testing.assert_close(model.encoder(expected["x"]).embedding, expected["z"], rtol=1e-9, atol=1e-9)
    print(model.model_name)
assert "vaebench" not in sys.modules
"""


def test_saved_models_load_in_stock_pythae_without_this_package(tmp_path):
    models = ["VAE", "VQVAE", "VAEGAN", "RHVAE"]
    configs = {"VQVAE": {"latent_dim": 4, "downsampling": 16}}
    for model in models:
        torch.manual_seed(0)
        spec = make_spec(model, config=configs[model]) if model in configs else make_spec(model)
        network = build_model(spec, SHAPE).eval()
        x = torch.rand(4, *SHAPE)
        save_model(network, spec.as_record(), tmp_path / model / "final_model")
        x = x.double()  # the other process may use another number of threads, which sum in another order
        torch.save({"x": x, "z": network.double().encoder(x).embedding}, tmp_path / model / "expected.pt")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-c", BY_PYTHAE, *models]
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == models
    again = load_model(tmp_path / "VQVAE" / "final_model")
    assert again.encode(torch.zeros(1, *SHAPE)).codes.shape == (1, 2, 2)


def test_loading_opens_no_pickle_and_keeps_the_random_numbers(tmp_path):
    network = build_model(make_spec("VAE"), SHAPE).eval()
    save_model(network, make_spec("VAE").as_record(), tmp_path / "final_model")
    for pickled in (tmp_path / "final_model").glob("*.pkl"):
        pickled.write_bytes(b"not even a pickle")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    loaded = load_model(tmp_path / "final_model")
    assert torch.equal(torch.rand(1), expected)
    assert not loaded.training
    x = torch.rand(2, *SHAPE)
    assert torch.equal(loaded.encoder(x).embedding, network.encoder(x).embedding)
    described = read_json("model", tmp_path / "final_model/vaebench.json")
    assert described == {"spec": make_spec("VAE").as_record(), "input_shape": list(SHAPE)}


def test_rhvae_keeps_its_metric(tmp_path):
    torch.manual_seed(0)
    network = build_model(make_spec("RHVAE"), SHAPE)
    for _ in range(2):
        network({"data": torch.rand(6, *SHAPE)})
    network.update()
    network({"data": torch.rand(6, *SHAPE)})
    copy = build_model(make_spec("RHVAE"), SHAPE)
    restore_model(copy, network.resumable_state())
    z = torch.randn(3, 4)
    assert torch.equal(copy.G(z), network.G(z))
    assert [len(item) for item in copy.M] == [6]
    network.update()
    copy.update()
    assert torch.equal(copy.G_inv(z), network.G_inv(z))


def test_folder_without_specification_is_refused(tmp_path):
    with pytest.raises(UserError, match="pretrained"):
        load_model(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path):
    save_model(build_model(make_spec("VAE"), SHAPE), make_spec("VAE").as_record(), tmp_path / "final_model")
    with pytest.raises(UserError, match="do not fit"):
        restore_model(build_model(make_spec("AE"), SHAPE), load_weights(tmp_path / "final_model/model.pt"))
