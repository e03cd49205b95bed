"""What a model is trained on besides its own loss: L1, LPIPS and a discriminator, each gradient by torch.autograd."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pythae.models.base.base_utils import ModelOutput
from run_specs import run_spec
from torch import nn
from torch.nn import functional
from training_cases import digits, make_spec, outputs, read_history, run, with_training

from vaebench.base.errors import UserError
from vaebench.models.building import build_model
from vaebench.models.interface import Moment
from vaebench.models.lookup import code_of_run, info_of
from vaebench.models.posterior import Gaussian
from vaebench.models.providers.likelihoods.catalog import MODELS as LIKELIHOODS
from vaebench.models.providers.likelihoods.laplace import Laplace
from vaebench.models.providers.likelihoods.model import LikelihoodVAE
from vaebench.models.providers.quantizers.model import QuantizedAE
from vaebench.models.providers.quantizers.quantizer import Quantised, Quantizer
from vaebench.models.state import load_weights
from vaebench.models.storage import load_model
from vaebench.models.terms.lpips import LAYOUTS, Lpips
from vaebench.models.terms.patch_gan import PatchDiscriminator
from vaebench.models.terms.term_fields import SMALLEST, why_too_small
from vaebench.training.memory_estimate import training_memory_mb
from vaebench.training.objectives import make_objectives, step

PATCH = {"channels": 4, "layers": 1}
ALL = {"l1": 0.3, "perceptual": {"network": "alexnet", "weight": 0.7}, "adversarial": PATCH}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random numbers in the shapes of AlexNet: what a gradient is does not depend on them."""
    generator = torch.Generator().manual_seed(1)
    sides, inputs, state = {0: 11, 3: 5}, 3, {}
    for index, outputs_ in {0: 64, 3: 192, 6: 384, 8: 256, 10: 256}.items():
        side = sides.get(index, 3)
        shape = outputs_, inputs, side, side
        state[f"features.{index}.weight"] = (
            torch.randn(shape, generator=generator) * (2 / (inputs * side * side)) ** 0.5
        )
        state[f"features.{index}.bias"] = torch.randn(outputs_, generator=generator) * 0.1
        inputs = outputs_
    path = tmp_path_factory.mktemp("weights") / "alexnet.pt"
    torch.save(state, path)
    return {"alexnet": path}


class Encoder(nn.Module):
    def __init__(self, outputs_):
        super().__init__()
        self.layer = nn.Conv2d(1, outputs_, 8, 8)

    def forward(self, x):
        return ModelOutput(embedding=self.layer(x))


class Decoder(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.first, self.last = nn.Conv2d(inputs, 4, 1), nn.ConvTranspose2d(4, 1, 8, 8)

    def forward(self, z):
        return ModelOutput(reconstruction=torch.sigmoid(self.last(torch.tanh(self.first(z)))))


class Rounding(Quantizer):
    """Straight through a rounding, with a commitment loss."""

    size = 9

    def forward(self, grid, moment):
        found = self.encode(grid)
        return Quantised(found.vectors, found.codes, (grid - grid.detach().round()).square().sum() / 7)

    def encode(self, grid):
        rounded = grid.detach().round()
        return Quantised(grid + (rounded - grid).detach(), rounded[:, 0].long())

    def embed(self, codes):
        return codes[:, None].double()


def images(count=4):
    return torch.from_numpy(digits(count)).double() / 255


def tiny(kind, weights, **fields):
    """A model of either provider with networks of a few hundred numbers, in float64 and in training."""
    torch.manual_seed(0)
    if kind == "LikelihoodVAE":
        given = {**LIKELIHOODS[kind].fields, "beta": 0.1, **ALL, **fields}
        parts = Encoder(4), Decoder(2)
        model = LikelihoodVAE((1, 32, 32), parts, Laplace({"scale": 0.5}), given)
    else:
        given = {"reconstruction_loss": "mse", **ALL, **fields}
        model = QuantizedAE((1, 32, 32), (Encoder(2), Decoder(2)), Rounding(), given)
    model.take_weights(weights)
    return model.double().train()


def lpips_by_hand(weights, x, y):
    """LPIPS from its definition: unit vectors at each position, weighted squares, means."""
    state = torch.load(weights["alexnet"], weights_only=True)
    layout = LAYOUTS["alex"]
    heads = [head.double() for head in Lpips("alex", None).buffers() if head.shape[:1] == (1,) and head.shape[1] > 3]

    def activations(images):
        shift, scale = (
            torch.tensor(v).double().view(1, 3, 1, 1) for v in ((-0.03, -0.088, -0.188), (0.458, 0.448, 0.45))
        )
        h, found = (images.repeat(1, 3, 1, 1) * 2 - 1 - shift.float().double()) / scale.float().double(), []
        for i, (index,) in enumerate(layout.stages):
            if i in layout.pooled_stages:
                h = functional.max_pool2d(h, 3, 2)
            w, b = (state[f"features.{index}.{part}"].double() for part in ("weight", "bias"))
            h = functional.conv2d(h, w, b, layout.strides[i], layout.paddings[i]).clamp(min=0)
            found.append(h / (torch.linalg.vector_norm(h, dim=1, keepdim=True) + 1e-10))
        return found

    pairs = zip(activations(x), activations(y), heads, strict=True)
    return sum(((a - b).square() * head).sum(1).mean((1, 2)) for a, b, head in pairs)


def test_lpips_and_its_gradient_are_those_of_its_definition(weights):
    generator = torch.Generator().manual_seed(2)
    x, y = (torch.rand(3, 1, 32, 32, generator=generator, dtype=torch.float64) for _ in range(2))
    found = Lpips("alex", weights["alexnet"]).double()
    gradients = []
    for one in (x, y):
        one.requires_grad_()
    distance = sum(found.stage_distances(found.activations(x), found.activations(y)))
    expected = lpips_by_hand(weights, x, y)
    torch.testing.assert_close(distance, expected, rtol=1e-9, atol=0)
    gradients = [torch.autograd.grad(each.sum(), [x, y]) for each in (distance, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-12)


def test_the_gradient_of_lpips_is_finite_where_no_channel_is_active():
    found = Lpips("alex", None).double()
    x = torch.rand(1, 1, 32, 32, dtype=torch.float64, requires_grad=True)
    sum(found.stage_distances(found.activations(x), found.activations(x.detach() * 0))).sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


@pytest.mark.parametrize("weight", ["adaptive", 0.25])
@pytest.mark.parametrize("kind", ["LikelihoodVAE", "QuantizedAE"])
def test_each_optimizer_takes_the_gradient_of_its_own_loss(kind, weight, weights):
    factor = 0.8
    model = tiny(kind, weights, adversarial={**PATCH, "weight": weight, "factor": factor})
    x, patch = images(), model.added.adversarial.discriminator
    encoder, decoder = list(model.encoder.parameters()), list(model.decoder.parameters())

    torch.manual_seed(5)
    embedding = model.encoder(x).embedding
    if kind == "LikelihoodVAE":
        mean, log_variance = embedding[:, :2], embedding[:, 2:]
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        rest = 0.1 * 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum() / 4
    else:
        z = embedding + (embedding.round() - embedding).detach()
        rest = (embedding - embedding.detach().round()).square().sum() / 7
    y = model.decoder(z).reconstruction
    if kind == "LikelihoodVAE":
        error = ((x - y).abs() / 0.5 + math.log(2 * 0.5)).sum() / 4
    else:
        error = (x - y).square().sum() / 4
    lpips = lpips_by_hand(weights, x, y).mean()
    error = error + 0.3 * (x - y).abs().sum() / 4 + 0.7 * 32 * 32 * lpips
    generator = -patch(y).mean()
    adaptive = weight
    if weight == "adaptive":
        norms = [torch.autograd.grad(loss, decoder[-2], retain_graph=True)[0].norm() for loss in (error, generator)]
        adaptive = min(float(norms[0] / (norms[1] + 1e-4)), 1e4)
    own = torch.autograd.grad(error + rest + factor * adaptive * generator, [*encoder, *decoder], retain_graph=True)
    judged = (functional.relu(1 - patch(x)).mean() + functional.relu(1 + patch(y.detach())).mean()) / 2
    judging = torch.autograd.grad(judged, list(patch.parameters()))

    optimizer = {"name": "SGD", "options": {}}
    objectives = make_objectives(model, make_spec("VAE", learning_rate=1.0, optimizer=optimizer).training)
    assert [objective.name for objective in objectives] == ["autoencoder", "discriminator"]
    held = {id(each) for objective in objectives for each in objective.parameters}
    assert held == {id(each) for each in model.parameters()}
    before = [each.detach().clone() for each in (*encoder, *decoder, *patch.parameters())]
    torch.manual_seed(5)
    losses = model.losses(x, Moment())
    step(objectives, losses)
    taken = [old - new for old, new in zip(before, (*encoder, *decoder, *patch.parameters()), strict=True)]
    torch.testing.assert_close(taken, [*own, *judging], rtol=1e-6, atol=1e-9)
    assert losses.terms["perceptual"].item() == pytest.approx(lpips.item(), rel=1e-9)
    assert losses.terms["adversarial_weight"].item() == pytest.approx(factor * adaptive, rel=1e-5)
    assert losses.terms["discriminator_loss"].item() == pytest.approx(judged.item(), rel=1e-9)


def test_nothing_of_the_discriminator_counts_before_its_start(data, tmp_path):
    config = {"quantizer": {"fsq": {"levels": [4, 4]}}}
    added = {"adversarial": {"start": 3, "channels": 8}}
    for name, epochs, fields in (("plain", 1, {}), ("early", 1, added), ("later", 2, added)):
        run(make_spec("QuantizedAE", config=config | fields, epochs=epochs, select="last"), data, tmp_path / name)
    states = {
        name: load_weights(outputs(tmp_path / name)["output"] / "model.pt")["model_state_dict"]
        for name in ("plain", "early", "later")
    }
    assert all(torch.equal(value, states["early"][name]) for name, value in states["plain"].items())
    judge = [name for name in states["early"] if "discriminator" in name and name.endswith("weight")]
    assert not any(torch.equal(states["early"][name], states["later"][name]) for name in judge)
    history = outputs(tmp_path / "later")["history"]
    assert read_history(history, "train", "discriminator_loss")[0] == 0
    assert read_history(history, "train", "discriminator_loss")[1] > 0
    assert read_history(history, "train", "adversarial_weight")[1] > 0


def test_weights_of_the_trunk_are_needed_to_train_and_for_nothing_else(data, weights, tmp_path):
    config = {"likelihood": {"gaussian": {"sigma": 1}}, "perceptual": {"network": "alexnet"}}
    spec = make_spec("LikelihoodVAE", config=config, epochs=1, select="perceptual")
    with pytest.raises(UserError, match="needs the weights of alexnet"):
        run(spec, data, tmp_path / "without")
    paths = run(spec, data, tmp_path / "with", weights=weights)
    assert read_history(paths["history"], "eval", "perceptual")[-1] > 0
    state = load_weights(paths["output"] / "model.pt")["model_state_dict"]
    assert not any("lpips" in name for name in state)
    model = load_model(paths["output"])
    assert model.decode(torch.zeros(2, 4)).shape == (2, 1, 32, 32)
    plain = run_spec("LikelihoodVAE", config={"latent_dim": 4}, training={"device": "cpu"})
    assert training_memory_mb(spec, (1, 32, 32)) > training_memory_mb(plain, (1, 32, 32))


def test_bfloat16_gives_nearly_the_losses_of_float32(data, weights, tmp_path):
    spec = make_spec("LikelihoodVAE", config={"likelihood": {"laplace": {"scale": 1}}, **ALL}, epochs=1)
    found = {}
    for precision in ("fp32", "bf16"):
        paths = run(with_training(spec, precision=precision), data, tmp_path / precision, weights=weights)
        found[precision] = {
            name: read_history(paths["history"], "train", name)[0]
            for name in ("perceptual", "discriminator_loss", "l1")
        }
    for name, value in found["fp32"].items():
        assert found["bf16"][name] == pytest.approx(value, rel=0.03), name


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("perceptual", {"network": "vgg"}, "perceptual.network: 'vgg' must be vgg16 or alexnet"),
        ("perceptual", {"weight": 0}, "perceptual.weight: 0 must be a number that is more than 0"),
        ("perceptual", 1.0, "is no map of options"),
        ("adversarial", {"weight": "auto"}, "adversarial.weight: 'auto' must be adaptive, or a number"),
        ("adversarial", {"start": -1}, "adversarial.start: -1 must be a whole number"),
        ("adversarial", {"loss": "wgan"}, "adversarial.loss: 'wgan' must be hinge"),
        ("adversarial", {"begin": 5}, "adversarial has no option 'begin'"),
        ("l1", -1.0, "-1.0 must be a number"),
    ],
)
@pytest.mark.parametrize("model", ["LikelihoodVAE", "QuantizedAE"])
def test_what_a_term_cannot_be_is_said(model, field, value, reason):
    assert reason in info_of(model).check(field, value)


@pytest.mark.parametrize("layers", [1, 3, 4])
def test_the_images_that_a_term_can_take_are_known(layers):
    least = 3 * 2**layers
    assert why_too_small({"adversarial": {"layers": layers}}, (1, least, least + 1)) is None
    assert why_too_small({"adversarial": {"layers": layers}}, (1, least + 1, least - 1)) is not None
    judge = PatchDiscriminator(1, 2, layers)
    assert judge(torch.rand(2, 1, least, least)).shape == (2, 1, 1, 1)
    with pytest.raises(RuntimeError):
        judge(torch.rand(2, 1, least, least - 1))
    assert {layout.weights: layout.smallest for layout in LAYOUTS.values()} == SMALLEST
    of_alexnet = {"perceptual": {"network": "alexnet"}}
    assert "alexnet takes images of at least 31x31" in why_too_small(of_alexnet, (1, 28, 28))
    assert why_too_small({"perceptual": {}}, (1, 28, 28)) is None


def test_an_adversary_has_an_optimizer_and_needs_exact_gradients(data, tmp_path):
    info = info_of("QuantizedAE")
    assert info.of({}).components == ()
    known = info.of({"adversarial": {}, "perceptual": {}, "l1": 1.0})
    assert known.components == ("autoencoder", "discriminator")
    assert set(known.selectable) == {"mse", "reconstruction_loss", "l1", "perceptual"}
    assert (known.trained_on, known.exact_only, known.recordable) == (("vgg16",), True, False)


def test_an_edit_of_a_term_concerns_those_that_are_trained_on_it():
    spec = run_spec("LikelihoodVAE", config={"perceptual": {}})
    modules = code_of_run(spec).modules
    assert "vaebench.models.terms.lpips" in modules
    assert "vaebench.models.terms.patch_gan" not in modules
    assert not any("terms.lpips" in name for name in code_of_run(replace(spec, config={})).modules)


def test_spatial_latents_are_grids_with_a_gaussian_each():
    spec = run_spec("LikelihoodVAE", config={"latent_dim": 3, "spatial": True})
    torch.manual_seed(0)
    model = build_model(spec, (1, 32, 32)).eval()
    assert model.latent_shape == (3, 8, 8)
    with torch.no_grad():
        posterior = model.encode(images().float())
    assert isinstance(posterior, Gaussian)
    assert posterior.mean.shape == posterior.log_variance.shape == (4, 3, 8, 8)
    own = torch.distributions.Normal(posterior.mean.double(), (posterior.log_variance.double() / 2).exp())
    kl = torch.distributions.kl_divergence(own, torch.distributions.Normal(torch.tensor(0.0).double(), 1.0))
    torch.testing.assert_close(posterior.kl(), kl.flatten(1).sum(1))
    z, ratio = posterior.draw(np.random.default_rng(0))
    expected = own.log_prob(z.double()) - torch.distributions.Normal(0.0, 1.0).log_prob(z.double())
    torch.testing.assert_close(ratio, expected.flatten(1).sum(1), rtol=1e-4, atol=1e-3)
    with torch.no_grad():
        assert model.decode(z).shape == (4, 1, 32, 32)
    fixed = run_spec("LikelihoodVAE", config={"latent_dim": 3, "spatial": True, "posterior_variance": 0.1})
    assert build_model(fixed, (1, 32, 32)).eval().latent_shape == (3, 8, 8)
