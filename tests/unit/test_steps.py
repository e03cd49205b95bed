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
from vaebench.training.objectives import make_objectives
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
# What is left in pythae's own losses: VAEGAN compares its discriminator's losses with four bounds (two `or`s may spare
# the second comparison) to decide what to update.
KNOWN = {"VAEGAN": {"bool": (2, 4)}}


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
        losses = network.losses(x, Moment(1, 16))
        active = [objective for objective in objectives if objective.updates(losses)]
        for objective in active:
            last = objective is active[-1]
            objective.loss(losses.terms).backward(inputs=objective.parameters, retain_graph=not last)
    return counted.found


@pytest.mark.parametrize("model", [name for name, info in MODELS.items() if info.recordable])
def test_a_recordable_step_never_waits(model):
    assert not waits_of_a_step(model)


@pytest.mark.parametrize("model", ["FactorVAE", "Adversarial_AE", "PIWAE", "VAEGAN"])
def test_the_waits_of_the_other_trainers_are_known(model):
    found = waits_of_a_step(model)
    for name, (low, high) in KNOWN.get(model, {}).items():
        assert low <= found.pop(name) <= high
    assert not found


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
