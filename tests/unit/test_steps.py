"""Recorded steps: which batches are replayed, and which models' steps never wait for the device."""

from collections import Counter

import pytest
import torch
from torch.overrides import TorchFunctionMode
from training_cases import make_spec

from vaebench.models.building import build_model
from vaebench.models.interface import Moment
from vaebench.models.providers.pythae.catalog import MODELS
from vaebench.training.numerics import prepare
from vaebench.training.objectives import make_objectives, step
from vaebench.training.steps import WARM_UP, RecordedStep

WAITS = {
    torch.Tensor.item: "item",
    torch.Tensor.cpu: "cpu",
    torch.Tensor.numpy: "numpy",
    torch.Tensor.tolist: "tolist",
    torch.Tensor.__bool__: "bool",
    torch.Tensor.__float__: "float",
    torch.Tensor.__int__: "int",
}


class CountWaits(TorchFunctionMode):
    """Counts what would make the host wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_function__(self, function, types, arguments=(), options=None):
        if function in WAITS:
            self.found[WAITS[function]] += 1
        return function(*arguments, **(options or {}))


def waits_of_a_step(model):
    spec = make_spec(model)
    network = prepare(build_model(spec, (1, 32, 32)), spec.training, torch.device("cpu"))
    objectives = make_objectives(network, spec.training)
    x = torch.rand(16, 1, 32, 32)
    with CountWaits() as counted:
        step(objectives, network.losses(x, Moment(1, 16)), on_device=True)
    return counted.found


@pytest.mark.parametrize("model", [name for name, info in MODELS.items() if info.recordable])
def test_a_recordable_step_never_waits(model):
    assert not waits_of_a_step(model)


@pytest.mark.parametrize("model", ["FactorVAE", "Adversarial_AE", "PIWAE"])
def test_neither_do_the_other_trainers(model):
    assert not waits_of_a_step(model)


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "SGD"])
@pytest.mark.parametrize("bounds", [(0.7, 0.01), (0.9, 0.1), (0.5, 0.1)])
def test_what_waits_is_the_same_when_the_device_decides(bounds, optimizer):
    """Discriminator or decoder ahead, by where the bounds lie; the weights are equal to the bit."""
    equilibrium, margin = bounds
    fields = {"reconstruction_layer": 2, "equilibrium": equilibrium, "margin": margin}
    settings = {"optimizer": {"name": optimizer, "options": {"weight_decay": 0.01}}, "learning_rate": 1e-2}
    spec = make_spec("VAEGAN", config=fields, **settings)
    found, waits = [], []
    for on_device in (False, True):
        torch.manual_seed(0)
        network = prepare(build_model(spec, (1, 32, 32)), spec.training, torch.device("cpu"))
        objectives = make_objectives(network, spec.training)
        for number in range(8):
            x = torch.rand(16, 1, 32, 32, generator=torch.Generator().manual_seed(number))
            losses = network.losses(x, Moment(1, 16))
            waits.append(tuple(bool(losses.waiting[name]) for name in ("decoder", "discriminator")))
            step(objectives, losses, on_device)
        found.append(network.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert waits[:8] == waits[8:]
    assert (True, True) not in waits
    assert {(True, False), (False, True)} & set(waits)


def test_the_counter_sees_a_wait():
    with CountWaits() as counted:
        value = torch.ones(())
        assert value > 0
        value.item()
        float(value)
    assert counted.found == {"bool": 1, "item": 1, "float": 1}


def test_batches_of_the_first_shape_are_replayed_after_the_warm_up():
    calls = []

    def as_it_is(x):
        calls.append(("run", len(x)))
        return x.sum()[None]

    def record(function, x, stream):
        assert function is as_it_is
        calls.append(("recorded", len(x)))

        def replay(x):
            calls.append(("replayed", len(x)))
            return x.sum()[None]

        return replay

    recorded = RecordedStep(as_it_is, record)
    sizes = [4] * (WARM_UP + 2) + [3, 4]
    sums = [recorded(torch.full((size,), float(number)))[0].item() for number, size in enumerate(sizes)]
    assert sums == [number * size for number, size in enumerate(sizes)]
    assert calls == [("run", 4)] * WARM_UP + [("recorded", 4)] + [("replayed", 4)] * 2 + [("run", 3), ("replayed", 4)]
