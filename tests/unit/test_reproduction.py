"""The models of pythae's reproducibility table, by state dicts with the names and shapes that its scripts give them."""

import json
import math

import numpy as np
import pytest
import torch
from pythae.models import HVAE
from torch.nn import functional

from vaebench.base.npz import write_array
from vaebench.models.pretrained import import_pretrained
from vaebench.models.run_spec import ModelSpec, PretrainedSource
from vaebench.models.storage import load_model

DIGITS, FACES, SPRITES = (1, 28, 28), (3, 64, 64), (1, 64, 64)


def linear(name, inputs, outputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def normalised(name, channels):
    sizes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (channels,)) | {"num_batches_tracked": ()}
    return {f"{name}.{part}": size for part, size in sizes.items()}


def convolved(name, weight, bias):
    return {f"{name}.0.weight": weight, f"{name}.0.bias": (bias,), **normalised(f"{name}.1", bias)}


def vae(latent):
    return {
        **linear("encoder.layers.0.0", 784, 400),
        **linear("encoder.embedding", 400, latent),
        **linear("encoder.log_var", 400, latent),
        **linear("decoder.layers.0.0", latent, 400),
        **linear("decoder.layers.1.0", 400, 784),
    }


def hamiltonian(latent):
    return {
        **linear("encoder.layers.0.0", 784, 300),
        **linear("encoder.embedding", 300, latent),
        **linear("encoder.log_var", 300, latent),
        **linear("decoder.layers.0.0", latent, 300),
        **linear("decoder.layers.1.0", 300, 784),
    }


def svae(latent):
    return {
        **linear("encoder.layers.0.0", 784, 256),
        **linear("encoder.layers.0.2", 256, 128),
        **linear("encoder.embedding", 128, latent),
        **linear("encoder.log_concentration", 128, 1),
        **linear("decoder.layers.0.0", latent, 128),
        **linear("decoder.layers.0.2", 128, 256),
        **linear("decoder.layers.1.0", 256, 784),
    }


def tanh(latent):
    return {
        **linear("encoder.fc1", 784, 200),
        **linear("encoder.fc2", 200, 200),
        **linear("encoder.embedding", 200, latent),
        **linear("encoder.log_var", 200, latent),
        **linear("decoder.fc1", latent, 200),
        **linear("decoder.fc2", 200, 200),
        **linear("decoder.fc3", 200, 784),
    }


def vamp(latent):
    shapes = {
        **linear("encoder.embedding", 300, latent),
        **linear("encoder.log_var.linear", 300, latent),
        **linear("decoder.layers.1.0.linear", 300, 784),
    }
    for gate in "hg":
        shapes |= linear(f"encoder.layers.0.0.{gate}", 784, 300) | linear(f"encoder.layers.0.1.{gate}", 300, 300)
        shapes |= linear(f"decoder.layers.0.0.{gate}", latent, 300) | linear(f"decoder.layers.0.1.{gate}", 300, 300)
    return shapes


def ball(latent):
    return {
        **linear("encoder.enc.0", 784, 600),
        **linear("encoder.fc21", 600, latent),
        **linear("encoder.fc22", 600, 1),
        "decoder.dec.0._weight": (600, latent),
        "decoder.dec.0._bias": (600, 1),
        **linear("decoder.dec.2", 600, 784),
    }


def sprites(latent):
    return {
        **linear("encoder.layers.0.0", 4096, 1200),
        **linear("encoder.layers.0.2", 1200, 1200),
        **linear("encoder.embedding", 1200, latent),
        **linear("encoder.log_var", 1200, latent),
        **linear("decoder.layers.0", latent, 1200),
        **linear("decoder.layers.2", 1200, 1200),
        **linear("decoder.layers.4", 1200, 1200),
        **linear("decoder.layers.6", 1200, 4096),
    }


def faces(latent):
    return {
        **convolved("encoder.layers.0", (128, 3, 4, 4), 128),
        **convolved("encoder.layers.1", (256, 128, 4, 4), 256),
        **convolved("encoder.layers.2", (512, 256, 4, 4), 512),
        **convolved("encoder.layers.3", (1024, 512, 4, 4), 1024),
        **linear("encoder.embedding", 16384, latent),
        **linear("decoder.layers.0.0", latent, 65536),
        **convolved("decoder.layers.1", (1024, 512, 5, 5), 512),
        **convolved("decoder.layers.2", (512, 256, 5, 5), 256),
        **convolved("decoder.layers.3", (256, 128, 5, 5), 128),
        "decoder.layers.4.0.weight": (128, 3, 5, 5),
        "decoder.layers.4.0.bias": (3,),
    }


def adversarial(latent):
    shapes = faces(latent) | linear("encoder.log_var", 16384, latent) | linear("discriminator.layers.0.0", latent, 512)
    for layer in (2, 4, 6):
        shapes |= linear(f"discriminator.layers.0.{layer}", 512, 512)
    return shapes | linear("discriminator.layers.1.0", 512, 1)


def reader(state):
    """A linear map of the state by name."""
    return lambda name, x: functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def decoded_by_relu(state, z, names):
    at = reader(state)
    for name in names[:-1]:
        z = torch.relu(at(name, z))
    return torch.sigmoid(at(names[-1], z))


def decoded_by_tanh(state, z, names):
    at = reader(state)
    for name in names[:-1]:
        z = torch.tanh(at(name, z))
    return torch.sigmoid(at(names[-1], z))


def decoded_by_softplus(state, z, names):
    """The decoder's answer is a logit."""
    at = reader(state)
    for name in names[:-1]:
        z = torch.log1p(torch.exp(at(name, z)))
    return torch.sigmoid(at(names[-1], z))


def decoded_by_gates(state, z):
    at = reader(state)
    for name in ("decoder.layers.0.0", "decoder.layers.0.1"):
        z = at(f"{name}.h", z) * torch.sigmoid(at(f"{name}.g", z))
    return torch.sigmoid(at("decoder.layers.1.0.linear", z))


def decoded_from_the_ball(state, z, curvature):
    """Distances to gyroplanes (Ganea et al. 2018, equation 25), the point and the normal in each other's place."""
    weight, root = state["decoder.dec.0._weight"], math.sqrt(curvature)
    tangent = weight * state["decoder.dec.0._bias"]
    norm = tangent.norm(dim=1, keepdim=True)
    normal = torch.tanh(root * norm) * tangent / (root * norm)
    point = weight * (1 - curvature * normal.square().sum(1, keepdim=True))
    x, p = z[:, None], -point[None]
    xy, xx, pp = (x * p).sum(-1, keepdim=True), x.square().sum(-1, keepdim=True), p.square().sum(-1, keepdim=True)
    added = (1 + 2 * curvature * xy + curvature * xx) * p + (1 - curvature * pp) * x
    added = added / (1 + 2 * curvature * xy + curvature**2 * xx * pp)
    inner = 2 * root * (added * normal).sum(-1)
    distance = torch.asinh(inner / ((1 - curvature * added.square().sum(-1)) * normal.norm(dim=1))) / root
    return torch.sigmoid(reader(state)("decoder.dec.2", torch.relu(distance)))


def encoded_faces(state, x):
    for layer in range(4):
        name = f"encoder.layers.{layer}"
        x = functional.conv2d(x, state[f"{name}.0.weight"], state[f"{name}.0.bias"], 2, 1)
        parts = (state[f"{name}.1.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        x = torch.relu(functional.batch_norm(x, *parts))
    return reader(state)("encoder.embedding", x.flatten(1))


def decoded_faces(state, z):
    x = reader(state)("decoder.layers.0.0", z).reshape(-1, 1024, 8, 8)
    for layer, options in ((1, {"padding": 2}), (2, {"padding": 1}), (3, {"padding": 2, "output_padding": 1})):
        name = f"decoder.layers.{layer}"
        x = functional.conv_transpose2d(x, state[f"{name}.0.weight"], state[f"{name}.0.bias"], 2, **options)
        parts = (state[f"{name}.1.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        x = torch.relu(functional.batch_norm(x, *parts))
    last = "decoder.layers.4.0"
    return torch.sigmoid(functional.conv_transpose2d(x, state[f"{last}.weight"], state[f"{last}.bias"], 1, 1))


RELU = ["decoder.layers.0.0", "decoder.layers.1.0"]
TANH = ["decoder.fc1", "decoder.fc2", "decoder.fc3"]
CASES = {
    "VAE": (vae, DIGITS, {}, lambda s, z: decoded_by_relu(s, z, RELU)),
    "SVAE": (svae, DIGITS, {}, lambda s, z: decoded_by_relu(s, z, [RELU[0], "decoder.layers.0.2", RELU[1]])),
    "VAMP": (vamp, DIGITS, {"number_components": 5}, decoded_by_gates),
    "HVAE": (
        hamiltonian,
        DIGITS,
        {"reconstruction_loss": "bce", "n_lf": 4, "eps_lf": 0.05, "beta_zero": 1.0},
        lambda s, z: decoded_by_softplus(s, z, RELU),
    ),
    "IWAE": (tanh, DIGITS, {}, lambda s, z: decoded_by_tanh(s, z, TANH)),
    "MIWAE": (tanh, DIGITS, {}, lambda s, z: decoded_by_tanh(s, z, TANH)),
    "PIWAE": (tanh, DIGITS, {}, lambda s, z: decoded_by_tanh(s, z, TANH)),
    "CIWAE": (tanh, DIGITS, {}, lambda s, z: decoded_by_tanh(s, z, TANH)),
    "PoincareVAE": (ball, DIGITS, {"curvature": 0.7}, lambda s, z: decoded_from_the_ball(s, z, 0.7)),
    "BetaTCVAE": (
        sprites,
        SPRITES,
        {},
        lambda s, z: decoded_by_tanh(s, z, [f"decoder.layers.{layer}" for layer in (0, 2, 4, 6)]),
    ),
    "WAE_MMD": (faces, FACES, {"reg_weight": 100.0, "reconstruction_loss_scale": 0.05}, decoded_faces),
    "RAE_L2": (faces, FACES, {"embedding_weight": 1e-6, "reg_weight": 1e-3}, decoded_faces),
    "RAE_GP": (faces, FACES, {"embedding_weight": 1e-3, "reg_weight": 1e-6}, decoded_faces),
    "Adversarial_AE": (adversarial, FACES, {"deterministic_posterior": True}, decoded_faces),
}
UNDERSCORED = ("WAE_MMD", "RAE_L2", "RAE_GP", "Adversarial_AE")


def saved(folder, model, shape, fields, shapes, of_the_model=None):
    """A folder as pythae leaves it, less its pickles."""
    folder.mkdir()
    name = f"{model}_Config" if model in UNDERSCORED else f"{model}Config"
    described = {"name": name, "input_dim": list(shape), "latent_dim": 4, **fields}
    for role in ("encoder", "decoder", "discriminator"):
        described[f"uses_default_{role}"] = False
    (folder / "model_config.json").write_text(json.dumps(described))
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, size in shapes.items():
        state[key] = (
            torch.zeros(size, dtype=torch.int64)
            if key.endswith("tracked")
            else 0.05 * torch.randn(size, generator=generator)
        )
        if key.endswith("running_var"):
            state[key] = state[key].abs() + 1
    state |= of_the_model or {}
    torch.save({"model_state_dict": state}, folder / "model.pt")
    return state


def imported(tmp_path, shape):
    images = np.random.default_rng(0).integers(0, 256, (4, *shape), dtype=np.uint8)
    write_array(tmp_path / "eval.npz", images)
    source = PretrainedSource(path=str(tmp_path / "saved"))
    nets = dict.fromkeys(("encoder", "decoder", "discriminator"))
    spec = ModelSpec("imported", "imported", model=None, nets=nets, config={}, pretrained=source)
    paths = {name: tmp_path / name for name in ("output", "history", "provenance")}
    import_pretrained(spec, tmp_path / "eval.npz", **paths)
    return load_model(tmp_path / "output")


def own_tensors(model):
    """What the model itself keeps beside its networks: 5 pseudo-inputs, the prior in the ball, or leapfrog's step."""
    if model == "PoincareVAE":
        return {"_pz_mu": torch.zeros(1, 4), "_pz_logvar": torch.zeros(1, 1)}
    if model == "HVAE":
        return {"eps_lf": torch.tensor([0.05]), "beta_zero_sqrt": torch.ones(1)}
    if model == "VAMP":
        return {"pseudo_inputs.0.weight": torch.rand(784, 5), "pseudo_inputs.0.bias": torch.rand(784)}
    return {}


def assert_as_its_script(network, model, state):
    """The decoder's arithmetic is the script's, and for faces the encoder's too."""
    network, state = network.double(), {key: tensor.double() for key, tensor in state.items()}
    numbers = torch.Generator().manual_seed(1)
    z = 0.3 * torch.randn(2, 4, generator=numbers).double()
    with torch.no_grad():
        images, expected = network.decode(z), CASES[model][3](state, z)
        torch.testing.assert_close(images, expected.reshape(images.shape), rtol=1e-9, atol=1e-9)
        if CASES[model][1] == FACES:
            x = torch.rand(2, *FACES, generator=numbers).double()
            torch.testing.assert_close(network.encode(x).mode(), encoded_faces(state, x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("model", [model for model, case in CASES.items() if case[1] != FACES])
def test_each_model_loads_without_its_pickles_and_decodes_as_its_script(model, tmp_path):
    """Those for faces, which are large, in test_reproduced_models.py."""
    shapes, shape, fields, _ = CASES[model]
    state = saved(tmp_path / "saved", model, shape, fields, shapes(4), own_tensors(model))
    assert_as_its_script(imported(tmp_path, shape), model, state)


def test_rows_of_pixels_are_digits(tmp_path):
    """Some of the scripts read binary digits as rows of 784 numbers."""
    saved(tmp_path / "saved", "VAE", (784,), {}, vae(4))
    assert imported(tmp_path, DIGITS).input_shape == DIGITS


def test_hvae_weighs_logits_of_black_and_white_pixels_as_pythae_and_grey_ones_as_shares_of_white(tmp_path):
    shapes, shape, fields, _ = CASES["HVAE"]
    state = saved(tmp_path / "saved", "HVAE", shape, fields, shapes(4), own_tensors("HVAE"))
    model = imported(tmp_path, shape).double()
    state = {key: tensor.double() for key, tensor in state.items()}
    numbers = torch.Generator().manual_seed(1)
    z, grey = (torch.randn(2, 4, generator=numbers).double(), torch.rand(2, *shape, generator=numbers).double())
    logits = model.decoder(z).reconstruction
    white = decoded_by_softplus(state, z, RELU)
    stock = HVAE._log_p_x_given_z
    assert torch.equal(model._log_p_x_given_z(logits, grey.round()), stock(model, logits, grey.round()))
    expected = (grey.flatten(1) * white.log() + (1 - grey.flatten(1)) * (1 - white).log()).sum(1)
    torch.testing.assert_close(model._log_p_x_given_z(logits, grey), expected, rtol=1e-9, atol=1e-9)
