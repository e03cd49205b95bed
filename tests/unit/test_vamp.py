"""VAMP with batch norm in its encoder: the prior that is trained is the one that every later use sees."""

import math

import pytest
import torch
from linear_models import SHAPE, linear_model
from torch import nn
from training_cases import make_spec

from vaebench.models.building import build_model
from vaebench.models.interface import Moment

IMAGES, COMPONENTS = 12, 5
# The same sums in another order in float64, but for the logarithm of the number of components, of which pythae makes a
# float32.
CLOSE = {"rel": 1e-9, "abs": 2**-23 * math.log(COMPONENTS)}


def images():
    return torch.rand(IMAGES, *SHAPE, generator=torch.Generator().manual_seed(1))


def terms(losses, seed=2):
    """The values of what `losses()` gives, with noise from `seed`."""
    torch.manual_seed(seed)
    return {name: value.item() for name, value in losses().terms.items()}


class Normalised(nn.Module):
    """An encoder behind a batch norm that remembers its last batch alone."""

    def __init__(self, encoder):
        super().__init__()
        self.norm, self.encoder = nn.BatchNorm1d(SHAPE[1] * SHAPE[2], momentum=1.0), encoder

    def forward(self, x):
        return self.encoder(self.norm(x.flatten(1)))


def normalised_model():
    """The linear VAMP with batch norm, in training mode."""
    model = linear_model("VAMP", number_components=COMPONENTS)
    model.encoder = Normalised(model.encoder)
    return model.train()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("loss", ["mse", "bce"])
@pytest.mark.parametrize("scheduled", [0, 8])
def test_encoding_both_at_once_changes_nothing_without_batch_norm(loss, scheduled):
    """pythae's own forward pass, at one of eight epochs of its schedule, is the reference."""
    fields = {"reconstruction_loss": loss, "linear_scheduling_steps": scheduled, "number_components": COMPONENTS}
    model = linear_model("VAMP", curve=nn.Sigmoid(), **fields).train()
    moment = Moment(epoch=3)
    expected = terms(lambda: model.losses(images(), moment))
    assert terms(lambda: model.joint_losses(images(), moment)) == pytest.approx(expected, **CLOSE)
    model.as_stock = True
    assert terms(lambda: model.losses(images(), moment)) == expected


@pytest.mark.usefixtures("float64")
def test_running_statistics_give_the_loss_that_was_trained():
    """They are those of the step, whose variance batch norm divides by n and remembers divided by n - 1."""
    model, x = normalised_model(), images()
    trained = terms(lambda: model.losses(x, Moment()))
    count = IMAGES + COMPONENTS
    model.encoder.norm.running_var *= (count - 1) / count
    assert terms(lambda: model.eval().losses(x, Moment())) == pytest.approx(trained, **CLOSE)


@pytest.mark.usefixtures("float64")
def test_pythaes_gradients_keep_pythaes_statistics():
    """`gradients: pythae` encodes the pseudo-inputs alone, after the images: its running statistics are theirs."""
    model = normalised_model()
    model.as_stock = True
    model.losses(images(), Moment())
    pseudo = model.pseudo_images().flatten(1)
    torch.testing.assert_close(model.encoder.norm.running_mean, pseudo.mean(0))


@pytest.mark.parametrize(("net", "joint"), [("compact", True), ("resnet", False)])
def test_only_encoders_with_batch_norm_are_trained_on_one_batch_of_both(net, joint):
    torch.manual_seed(0)
    model = build_model(make_spec("VAMP", net), (1, 28, 28)).train()
    seen = []
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    model.losses(torch.rand(IMAGES, 1, 28, 28), Moment())
    assert seen == ([IMAGES + COMPONENTS] if joint else [IMAGES, COMPONENTS])
