"""PoincareVAE: the location of its posterior lies in the ball, whatever the encoder answers."""

import pytest
import torch
from training_cases import make_spec

from vaebench.models.building import build_model
from vaebench.models.interface import Moment
from vaebench.models.providers.pythae.poincare import WrappedNormal
from vaebench.training.objectives import make_objectives, step

DIMENSIONS = 8


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build_model(make_spec("PoincareVAE", config={"latent_dim": DIMENSIONS}), (1, 32, 32))


def places(radius):
    directions = torch.randn(16, DIMENSIONS, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.normalize(directions) * radius


@pytest.mark.parametrize("radius", [0.0, 0.5, 0.99])
def test_what_is_within_stays_to_the_last_bit(model, radius):
    assert torch.equal(model.within(places(radius)), places(radius))


@pytest.mark.parametrize("radius", [1.0, 17.0, 1e10])
def test_what_is_outside_goes_to_the_rim(model, radius):
    torch.testing.assert_close(model.within(places(radius)), places(1 - 4e-3))


def test_the_divergence_draws_back_what_is_outside(model):
    mean = torch.nn.Parameter(places(3.0))
    log_variance = torch.zeros_like(mean)
    optimizer = torch.optim.SGD([mean], lr=0.01)
    torch.manual_seed(0)
    for _ in range(40):
        q = WrappedNormal(model.within(mean), log_variance, model).distribution()
        z = q.rsample(torch.Size([1]))
        kl = (q.log_prob(z) - model.ball_prior().log_prob(z)).sum(-1).mean()
        optimizer.zero_grad()
        kl.backward()
        optimizer.step()
    assert mean.norm(dim=1).max() < 0.9


@pytest.mark.parametrize("stock", [False, True])
def test_the_divergence_of_a_training_has_a_lower_bound(model, stock):
    """In pythae's own, which `gradients: pythae` repeats, it has none: 60 steps later it is -290 nats, in time NaN."""
    model.as_stock = stock
    objectives = make_objectives(model.train(), make_spec("PoincareVAE", learning_rate=2e-3).training)
    x = torch.rand(8, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    found = []
    for _ in range(40):
        losses = model.losses(x, Moment())
        step(objectives, losses)
        found.append(losses.terms["kl"].item())
    assert (min(found) < -10) == stock
