"""Precision `auto`, and networks in bfloat16: what they compute, and what stays float32."""

import functools
import json
import signal
from dataclasses import replace

import pytest
import torch
from test_resume import assert_equal, in_a_process, result, train_and_kill
from torch import nn
from torch.nn import functional
from training_cases import digits, make_spec, outputs, run, write_data

import vaebench.training.one_training as training
from vaebench.models.building import build_model
from vaebench.models.interface import Moment
from vaebench.models.networks.compact import PatchConv2d
from vaebench.models.providers.pythae.catalog import MODELS
from vaebench.training.numerics import prepare
from vaebench.training.precision import bfloat16_agrees, choose_precision, compute_in_bfloat16, multiplies_in_bfloat16

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def yes(device):
    return True


def no(device):
    return False


@pytest.mark.parametrize(
    ("settings", "device", "former", "hardware", "expected"),
    [
        ({}, CPU, [], yes, "bf16"),
        ({}, CUDA, [], yes, "bf16"),
        ({}, CPU, [], no, "fp32"),
        ({}, CPU, ["bf16"], yes, "bf16"),
        ({}, CPU, ["bf16"], no, "fp32"),
        ({}, CPU, ["fp32"], yes, "fp32"),
        ({}, CPU, ["bf16", "fp32"], yes, "fp32"),
        ({"gradients": "pythae"}, CPU, [], yes, "fp32"),
        ({"compile": True}, CPU, [], yes, "fp32"),
        ({"compile": True}, CUDA, [], yes, "bf16"),
        ({"precision": "fp32"}, CPU, [], yes, "fp32"),
        ({"precision": "tf32"}, CUDA, [], yes, "tf32"),
        ({"precision": "bf16"}, CPU, [], no, "bf16"),
    ],
)
def test_auto_is_bf16_where_the_hardware_multiplies_in_it(settings, device, former, hardware, expected):
    spec = make_spec("VAE", **{"precision": "auto", **settings})
    assert choose_precision(spec, device, former, hardware) == expected


def test_models_that_suffer_stay_in_float32_unless_bfloat16_is_asked_for():
    suffering = [name for name, model in MODELS.items() if model.needs_float32]
    for name in MODELS:
        expected = "fp32" if name in suffering else "bf16"
        assert choose_precision(make_spec(name, precision="auto"), CPU, multiplies=yes) == expected
        assert choose_precision(make_spec(name, precision="bf16"), CPU, multiplies=yes) == "bf16"


def test_gpus_multiply_in_bfloat16_from_ampere_on(monkeypatch):
    for capability, expected in (((6, 0), False), ((7, 5), False), ((8, 0), True), ((9, 0), True)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert multiplies_in_bfloat16(CUDA) == expected


@pytest.mark.parametrize(
    ("tiles", "instructions", "limit", "expected"),
    [
        (True, True, None, True),
        (False, True, None, True),
        (False, False, None, False),
        (True, True, "AVX512_CORE", False),
        (True, True, "avx2", False),
        (True, True, "AVX512_CORE_BF16", True),
    ],
)
def test_cpus_multiply_in_bfloat16_with_amx_or_avx512_bf16(tiles, instructions, limit, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instructions)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if limit:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert multiplies_in_bfloat16(CPU) == expected
    assert not multiplies_in_bfloat16(torch.device("mps"))


def on_hardware(monkeypatch, multiplies):
    """Let trainings believe that their device does, or does not, multiply in bfloat16."""
    monkeypatch.setattr(training, "choose_precision", functools.partial(choose_precision, multiplies=multiplies))


def provenance(folder):
    return json.loads(outputs(folder)["provenance"].read_text())


@pytest.mark.parametrize(("hardware", "expected"), [(yes, "bf16"), (no, "fp32")])
def test_provenance_says_what_auto_was(hardware, expected, tmp_path, monkeypatch):
    data = write_data(tmp_path)
    on_hardware(monkeypatch, hardware)
    spec = make_spec("VAE", precision="auto")
    run(spec, data, tmp_path / "auto")
    assert provenance(tmp_path / "auto")["precision"] == expected
    assert provenance(tmp_path / "auto")["spec"] == spec.as_record()
    assert [attempt["precision"] for attempt in provenance(tmp_path / "auto")["attempts"]] == [expected]
    run(make_spec("VAE", precision=expected), data, tmp_path / "named")
    assert_equal(result(tmp_path / "auto"), result(tmp_path / "named"))


def test_a_training_that_began_in_float32_goes_on_in_it_elsewhere(tmp_path, monkeypatch):
    data, spec = write_data(tmp_path), make_spec("VAE", precision="auto")
    on_hardware(monkeypatch, no)
    run(spec, data, tmp_path / "whole")
    in_a_process(train_and_kill, spec, data, tmp_path / "moved", signal.SIGTERM, 2, 1)
    on_hardware(monkeypatch, yes)
    run(spec, data, tmp_path / "moved")
    assert_equal(result(tmp_path / "moved"), result(tmp_path / "whole"))
    assert provenance(tmp_path / "moved")["precision"] == "fp32"


def test_a_training_that_loses_its_hardware_goes_on_in_float32_and_says_so(tmp_path, monkeypatch):
    data, spec = write_data(tmp_path), make_spec("VAE", precision="auto", epochs=3)
    on_hardware(monkeypatch, yes)
    in_a_process(train_and_kill, spec, data, tmp_path, signal.SIGTERM, 2, 1)
    on_hardware(monkeypatch, no)
    in_a_process(train_and_kill, spec, data, tmp_path, signal.SIGTERM, 3, 1)
    on_hardware(monkeypatch, yes)
    run(spec, data, tmp_path)
    assert provenance(tmp_path)["precision"] == "bf16, then fp32"
    assert [attempt["precision"] for attempt in provenance(tmp_path)["attempts"]] == ["bf16", "fp32", "fp32"]


@pytest.mark.parametrize("model", ["VAE", "VQVAE", "VAEGAN", "FactorVAE"])
def test_bfloat16_keeps_names_and_types(model, tmp_path):
    paths = run(make_spec(model, epochs=1, precision="bf16"), write_data(tmp_path), tmp_path)
    state = torch.load(paths["output"] / "model.pt", weights_only=True)["model_state_dict"]
    assert {value.dtype for value in state.values()} <= {torch.float32, torch.int64}
    assert set(state) == set(build_model(make_spec(model), (1, 32, 32)).state_dict())


@pytest.mark.parametrize("model", MODELS)
def test_losses_in_bfloat16_are_close_to_those_in_float32(model):
    """At equal weights and noise; a few steps of training would carry equal beginnings apart on any processor.

    bfloat16 rounds by 2^-9. An encoder and a decoder, or a discriminator, have about ten layers, whose weights and
    outputs are rounded, RAE_GP's loss goes through them once more, and the losses are squares: 2 x 20 x 2^-9 = 8 %.
    """
    spec = make_spec(model)
    x = torch.from_numpy(digits(16)).float() / 255
    losses = []
    for precision in ("fp32", "bf16"):
        torch.manual_seed(0)
        network = prepare(build_model(spec, (1, 32, 32)), replace(spec.training, precision=precision), CPU)
        torch.manual_seed(1)
        found = network.losses(x.clone(), Moment(1, 40))
        losses.append({name: float(loss) for name, loss in found.terms.items()})
    largest = max(abs(loss) for loss in losses[0].values())
    assert losses[1] == pytest.approx(losses[0], rel=0, abs=0.08 * largest)
    assert losses[1] != losses[0]


@pytest.mark.parametrize(("model", "role"), [("VAEGAN", "discriminator"), ("VAE", "decoder")])
def test_a_sure_probability_keeps_its_logarithm(model, role):
    """A logit of 8 leaves 1 - p = 3e-4: less than bfloat16 can tell from 0 beside 1."""
    torch.manual_seed(0)
    network = getattr(build_model(make_spec(model), (1, 32, 32)), role)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    nn.init.normal_(layers[-1].weight, std=1e-3)
    nn.init.constant_(layers[-1].bias, 8.0)
    x = torch.rand(8, 4) if role == "decoder" else torch.rand(8, 1, 32, 32)

    def cross_entropy(answer):
        probability = next(iter(answer.values()))
        return functional.binary_cross_entropy(probability, torch.zeros_like(probability)).item()

    expected = cross_entropy(network(x))
    compute_in_bfloat16({role: network}, CPU)
    assert expected == pytest.approx(8, abs=0.5)
    assert cross_entropy(network(x)) == pytest.approx(expected, rel=2**-7)


class WrongInBfloat16(nn.Conv2d):
    """A convolution as oneDNN computes some: right in float32, another image's answer in bfloat16."""

    def forward(self, x):
        answer = super().forward(x)
        wrong = torch.is_autocast_enabled("cpu") or x.dtype == torch.bfloat16
        return answer.roll(1, 0) if wrong and len(x) > 2 else answer


def test_a_convolution_that_is_wrong_in_bfloat16_is_found_and_stays_float32(capsys):
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(3, 8, 3), WrongInBfloat16(8, 4, 3), nn.Conv2d(4, 4, 3))
    x = torch.rand(6, 3, 16, 16)
    expected = encoder(x)
    compute_in_bfloat16({"encoder": encoder}, CPU)
    torch.testing.assert_close(encoder(x), expected, rtol=2**-6, atol=2**-6 * float(expected.abs().max()))
    assert capsys.readouterr().err.splitlines() == [
        "encoder.1 stays float32: bfloat16 gives wrong results for it here, for inputs (6, 8, 14, 14)"
    ]
    encoder(x)
    encoder(x[:2])
    assert not capsys.readouterr().err


def test_a_wrong_gradient_is_found_too():
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * (1.5 if gradient.dtype == torch.bfloat16 else 1)

    class WrongGradient(nn.Conv2d):
        def forward(self, x):
            return super().forward(Wrong.apply(x))

    torch.manual_seed(0)
    assert bfloat16_agrees(nn.Conv2d(4, 8, 3), torch.rand(2, 4, 9, 9))
    assert not bfloat16_agrees(WrongGradient(4, 8, 3), torch.rand(2, 4, 9, 9))


@pytest.mark.parametrize(("inputs", "shape"), [(3, (12, 16)), (16, (32, 32)), (24, (9, 11))])
def test_a_patch_convolution_is_the_plain_one(inputs, shape, float64):
    torch.manual_seed(0)
    ours, plain = PatchConv2d(inputs, 8, 4), nn.Conv2d(inputs, 8, 4, 4)
    plain.load_state_dict(ours.state_dict())
    x = torch.rand(5, inputs, *shape, requires_grad=True)
    for layout in (torch.contiguous_format, torch.channels_last):
        answers = [layer(x.to(memory_format=layout)) for layer in (ours, plain)]
        torch.testing.assert_close(*answers, rtol=1e-9, atol=1e-9)
        gradients = [
            torch.autograd.grad(answer.square().sum(), [x, *layer.parameters()])
            for answer, layer in zip(answers, (ours, plain), strict=True)
        ]
        torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)
