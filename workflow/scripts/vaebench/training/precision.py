"""Which precision a training computes in, and networks that compute in bfloat16 where that is right.

bfloat16 has the range of float32 and 8 bits of its significand. Hardware that multiplies in it is two to ten times as
fast. The parameters, the optimizer, the latent variables and every loss stay float32.
"""

import os
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from vaebench.models.lookup import info_of
from vaebench.models.run_spec import RunSpec

Answer = MutableMapping[str, Tensor] | Tensor
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
# Values of ONEDNN_MAX_CPU_ISA under which oneDNN computes bfloat16 by other instructions, slower than float32.
WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
AGREES = 2**-5  # a bfloat16 result is rounded by 2^-9, and so is what its gradient starts from


def multiplies_in_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies in bfloat16: GPUs from Ampere on, CPUs with AMX or AVX512-BF16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu" or os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in WITHOUT_BFLOAT16:
        return False
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def choose_precision(
    spec: RunSpec,
    device: torch.device,
    former: Sequence[str] = (),
    multiplies: Callable[[torch.device], bool] = multiplies_in_bfloat16,
) -> str:
    """`fp32`, `tf32` or `bf16` for the training of the run `spec` on `device`.

    `auto` is bf16 where the hardware `multiplies` in it, and fp32 elsewhere; for models that suffer from bfloat16 (see
    `catalog`); where pythae's gradients are repeated, which are float32; for networks compiled for a CPU, whose
    convolutions `compute_in_bfloat16` cannot check; and for a training that went through fp32 before, of which `former`
    holds the precisions of its earlier attempts.
    """
    training = spec.training
    if training.precision != "auto":
        return training.precision
    exempt = training.gradients == "pythae" or info_of(spec.model_name).needs_float32
    unchecked = training.compile and device.type == "cpu"
    return "fp32" if exempt or unchecked or "fp32" in former or not multiplies(device) else "bf16"


def compute_in_bfloat16(networks: Mapping[str, nn.Module], device: torch.device) -> None:
    """Let the networks, by their names in the model, compute in bfloat16 and answer in float32.

    A probability in bfloat16 is exactly 1 from a logit of 6 on, and its logarithm useless: a sigmoid at the end of a
    network, and the last layer of a discriminator, stay float32. On a CPU each convolution is checked with the first
    batch of each shape: oneDNN 3.13 gets some wrong (16 channels, kernel and stride 4, on AMX). Those stay float32.
    """
    # torch calls the `forward` that a module has of its own; mypy takes methods for fixed.
    for name, network in networks.items():
        modules = list(network.modules())
        if isinstance(modules[-1], nn.Sigmoid):
            modules[-1].forward = _sigmoid_in_float32  # type: ignore[method-assign,assignment]
        if name == "discriminator":
            layers = [module for module in modules if isinstance(module, nn.Linear | nn.Conv2d)]
            if layers:
                layers[-1].forward = _in_float32(layers[-1].forward, device.type)  # type: ignore[method-assign]
        if device.type == "cpu":
            for path, module in network.named_modules(prefix=name):
                if isinstance(module, CONVOLUTIONS):
                    module.forward = _checked(module, path)  # type: ignore[method-assign]
        network.forward = _in_bfloat16(network.forward, device.type)


def _in_bfloat16(forward: Callable[..., Answer], device_type: str) -> Callable[..., Answer]:
    def wrapped(*arguments: object, **options: object) -> Answer:
        with torch.autocast(device_type, dtype=torch.bfloat16):
            output = forward(*arguments, **options)
        if isinstance(output, Tensor):
            return output.float()
        for key in list(output):
            output[key] = output[key].float()
        return output

    return wrapped


def _in_float32(forward: Callable[..., Tensor], device_type: str) -> Callable[..., Tensor]:
    def wrapped(x: Tensor, *arguments: object) -> Tensor:
        with torch.autocast(device_type, enabled=False):
            return forward(x.float(), *arguments)

    return wrapped


def _sigmoid_in_float32(x: Tensor) -> Tensor:
    return torch.sigmoid(x.float())


def _checked(module: nn.Module, path: str) -> Callable[..., Tensor]:
    """The forward pass of a convolution: in bfloat16 for inputs of a shape for which that is right, else in float32."""
    forward = module.forward
    in_float32 = _in_float32(forward, "cpu")
    right: dict[torch.Size, bool] = {}

    def wrapped(x: Tensor, *arguments: object) -> Tensor:
        if x.shape not in right:
            right[x.shape] = bfloat16_agrees(module, x)
            if not right[x.shape]:
                message = f"{path} stays float32: bfloat16 gives wrong results for it here, for inputs {tuple(x.shape)}"
                print(message, file=sys.stderr)
        return forward(x, *arguments) if right[x.shape] else in_float32(x, *arguments)

    return wrapped


def bfloat16_agrees(module: nn.Module, x: Tensor) -> bool:
    """Whether a layer gives in bfloat16 what it gives in float32 for the same rounded input x and weights.

    The output and the gradients of x, and of weights that are trained, are compared by their norms.
    """
    with torch.enable_grad(), torch.autocast("cpu", enabled=False):
        expected, found = (_results(module, x, dtype) for dtype in (torch.float32, torch.bfloat16))
    pairs = zip(found, expected, strict=True)
    return all(bool((a.float() - b).norm() <= AGREES * b.norm()) for a, b in pairs)


def _results(module: nn.Module, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """The output of a copy of `module` in `dtype`, and the gradients of half its sum of squares."""
    copied = deepcopy(module).to(torch.bfloat16).to(dtype)
    vars(copied).pop("forward", None)
    x = x.detach().to(torch.bfloat16).to(dtype).requires_grad_()
    output = copied(x)
    trained = [weight for name, weight in copied.named_parameters() if name == "weight"]
    return output.detach(), *torch.autograd.grad(output, [x, *trained], output.detach())
