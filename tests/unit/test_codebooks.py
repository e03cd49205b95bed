"""Codes that are looked up against pythae's, which multiplies one-hot vectors."""

import copy

import pytest
import torch
from pythae.models import VQVAEConfig
from pythae.models.vq_vae.vq_vae_utils import Quantizer, QuantizerEMA
from training_cases import digits, make_spec

from vaebench.models.building import build_model
from vaebench.models.interface import Moment
from vaebench.models.providers.pythae.codebooks import look_codes_up, nearest_codes
from vaebench.training.objectives import make_objectives, step

SHAPE, CODES, DIM = (5, 4, 3), 16, 8
BOUNDS = {"rtol": 1e-9, "atol": 1e-9}  # see the fixture float64


def both(kind):
    """pythae's codebook with codes spread out, in the place where a model has it, and its replacement."""
    config = VQVAEConfig(num_embeddings=CODES)
    config.embedding_dim = DIM
    torch.manual_seed(0)
    theirs = torch.nn.Module()
    theirs.quantizer = kind(config)
    for value in theirs.quantizer.state_dict().values():
        value.copy_(torch.rand_like(value))
    ours = copy.deepcopy(theirs)
    look_codes_up(ours)
    assert type(ours.quantizer) is not kind
    assert isinstance(ours.quantizer, kind)
    return theirs.quantizer, ours.quantizer


@pytest.mark.parametrize("kind", [Quantizer, QuantizerEMA])
def test_every_answer_gradient_and_state_is_pythaes(kind, float64):
    theirs, ours = both(kind)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for seed in range(4):
        z = torch.rand(*SHAPE, DIM, generator=torch.Generator().manual_seed(seed))
        inputs, outputs = [], []
        for quantizer in (theirs, ours):
            inputs.append(z.clone().requires_grad_())
            outputs.append(quantizer(inputs[-1], uses_ddp=False))
            (outputs[-1].quantized_vector.square().sum() + 3 * outputs[-1].loss).backward()
        assert torch.equal(outputs[1].quantized_indices, outputs[0].quantized_indices)
        torch.testing.assert_close(outputs[1].quantized_vector, outputs[0].quantized_vector, **BOUNDS)
        torch.testing.assert_close(outputs[1].loss, outputs[0].loss, **BOUNDS)
        torch.testing.assert_close(inputs[1].grad, inputs[0].grad, **BOUNDS)
        for (name, value), expected in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            torch.testing.assert_close(value, expected, msg=lambda m, name=name: f"{name}: {m}", **BOUNDS)
        for ours_parameter, parameter in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(ours_parameter.grad, parameter.grad, **BOUNDS)


def test_an_evaluation_moves_no_code():
    _, ours = both(QuantizerEMA)
    before = copy.deepcopy(ours.state_dict())
    ours.eval()(torch.rand(*SHAPE, DIM))
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


def whole_numbers(*shape, seed):
    """float32 whose products and sums are whole numbers as well: no processor rounds them, and many distances tie."""
    return torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(seed)).float()


def test_the_nearest_code_is_the_nearest_and_of_equally_near_ones_the_first():
    z, codebook = whole_numbers(7, 20, 20, DIM, seed=0), whole_numbers(CODES, DIM, seed=1)
    distances = (z.reshape(-1, 1, DIM) - codebook).square().sum(-1)
    nearest = distances == distances.min(-1, keepdim=True).values
    assert (nearest.sum(-1) > 1).sum() > 100
    assert torch.equal(nearest_codes(z, codebook), nearest.int().argmax(-1).reshape(7, 20, 20))


def test_of_equal_codes_the_first_is_taken():
    half = whole_numbers(256, DIM, seed=0)
    indices = nearest_codes(whole_numbers(40, 10, 10, DIM, seed=1), torch.cat([half, half]))
    assert indices.max() < len(half)
    assert len(indices.unique()) > 100


def test_replacing_takes_no_random_numbers_and_leaves_other_models_alone():
    vae = build_model(make_spec("VAE"), (1, 32, 32))
    vqvae = build_model(make_spec("VQVAE"), (1, 32, 32))
    torch.manual_seed(5)
    look_codes_up(vae)
    look_codes_up(vqvae)
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(5)))
    assert not hasattr(vae, "quantizer")


@pytest.mark.parametrize("use_ema", [False, True])
def test_training_steps_end_where_pythaes_arithmetic_ends(use_ema, float64):
    """With steps so small that they do not enlarge the rounding of those before."""
    optimizer = {"name": "SGD", "options": {}}
    spec = make_spec("VQVAE", config={"use_ema": use_ema}, optimizer=optimizer, learning_rate=1e-5)
    torch.manual_seed(0)
    theirs = build_model(spec, (1, 32, 32))
    ours = copy.deepcopy(theirs)
    look_codes_up(ours)
    images = torch.from_numpy(digits(64)).double() / 255
    for model in (theirs, ours):
        objectives = make_objectives(model, spec.training)
        for batch in images.split(16):
            step(objectives, model.losses(batch, Moment()))
    for (name, value), expected in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(value, expected, msg=lambda m, name=name: f"{name}: {m}", **BOUNDS)
