"""Recorded steps: which batches are replayed, and which models' steps never wait for the device."""

from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml
from run_specs import run_spec
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from training_cases import make_spec

from vaebench.models.building import build_model
from vaebench.models.interface import Moment
from vaebench.training.numerics import prepare
from vaebench.training.objectives import Optimized, make_objectives, step
from vaebench.training.steps import WARM_UP, RecordedStep, record_cuda_graph

aten = torch.ops.aten
ZOO = yaml.safe_load(Path("config/zoo.yaml").read_text())["models"]
# What a step waits for, in the packages' own lines.
WAITING = {
    "svae": "Bessel functions of SciPy's, and a rejection of proposals that goes on until all are accepted",
    "poincare_vae": "checks of the distributions' arguments",
    **dict.fromkeys(("vq", "residual_vq", "vqgan"), "codes that died are replaced where there are any"),
}


class CountWaits(TorchDispatchMode):
    """Counts what makes the host wait for a device, on the device `meta`, which computes nothing.

    move: a tensor goes to or from it. data: so do numbers of Python's. mixed: tensors of both meet. value: the host
    looks at one.
    """

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        options = options or {}
        tensors = [each for each in tree_leaves((arguments, options)) if isinstance(each, torch.Tensor)]
        there = [each.is_meta for each in tensors if each.is_meta or each.ndim]  # the CPU's numbers are passed along
        if function is aten._local_scalar_dense.default and any(there):
            self.found["value"] += 1
            return True if tensors[0].dtype == torch.bool else 1
        if function is aten._to_copy.default and options.get("device") not in (None, tensors[0].device):
            self.found["move"] += 1
            options = options if tensors[0].device.type == "cpu" else options | {"device": "meta"}
        elif any(there) and not all(there):
            self.found["mixed"] += 1
        self.found["data"] += function is aten.lift_fresh.default and any(there)
        return function(*arguments, **options)


def counted(function):
    """What `function` waits for."""
    with CountWaits() as counting:
        function()
    return +counting.found


def zoo_spec(entry):
    """An entry of the zoo, with its adversary at work."""
    fields = entry["config"] | {name: values[0] for name, values in entry.get("sweep", {}).items()}
    if "adversarial" in fields:
        fields["adversarial"] = {**fields["adversarial"], "start": 0}
    return run_spec(
        entry["model"], entry["nets"], fields, {"optimizer": {"name": "Adam", "options": {"foreach": True}}}
    )


@pytest.mark.parametrize("entry", [name for name in ZOO if name not in WAITING])
def test_a_step_never_waits(entry, monkeypatch):
    monkeypatch.setattr(Optimized, "update", lambda optimized: None)  # torch's own, which are fused on a GPU
    spec = zoo_spec(ZOO[entry])
    model = build_model(spec, (1, 32, 32))
    model.take_weights(None)
    network = prepare(model, spec.training, torch.device("meta"))
    objectives = make_objectives(network, spec.training)
    x = torch.rand(16, 1, 32, 32, device="meta")
    waits = counted(lambda: step(objectives, network.losses(x, Moment(1, 16)), on_device=True))
    assert not waits


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


@pytest.mark.parametrize("entry", WAITING)
def test_what_is_named_as_waiting_does(entry, monkeypatch):
    with pytest.raises((NotImplementedError, RuntimeError, AssertionError)):  # some ask for what `meta` cannot answer
        test_a_step_never_waits(entry, monkeypatch)


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (lambda there: there.sum().item(), {"value": 1}),
        (lambda there: bool((there > 0).all()), {"value": 1}),
        (lambda there: torch.zeros(3).to(there.device), {"move": 1}),
        (lambda there: there.cpu(), {"move": 1}),
        (lambda there: torch.tensor([1.0, 2.0], device=there.device), {"data": 1}),
        (lambda there: there[torch.tensor([2, 0])], {"mixed": 1}),
        (lambda there: there + 2.0 * torch.ones_like(there), {}),
    ],
)
def test_the_counter_sees_a_wait(function, found):
    assert counted(lambda: function(torch.ones(3, device="meta"))) == found


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


def test_a_thread_may_pin_memory_while_a_step_is_recorded(monkeypatch):
    """torch's own default makes an error of it, in the recording and in that thread."""
    asked = {}

    @contextmanager
    def recording(graph, **options):
        asked.update(options)
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    record_cuda_graph(lambda x: x.sum()[None], torch.ones(2), stream=None)
    assert asked == {"stream": None, "capture_error_mode": "thread_local"}
