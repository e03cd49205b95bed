"""How the device computes: threads, determinism, precision, memory layout and compilation."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._functorch import config as functorch

from vaebench.base.malloc import keep_freed_memory
from vaebench.base.platforms import peak_memory_bytes
from vaebench.models.interface import Autoencoder
from vaebench.models.run_spec import TrainingSettings
from vaebench.training.precision import compute_in_bfloat16

Answer = Mapping[str, Tensor] | Tensor


@contextmanager
def numerics(training: TrainingSettings, device: torch.device, threads: int) -> Iterator[None]:
    """Within the block torch uses `threads` threads, and computes as `training` says (deterministic, precision)."""
    keep_freed_memory()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what CUDA needs to be deterministic
    filling: Any = torch.utils.deterministic
    former = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.allow_tf32,
        filling.fill_uninitialized_memory,
    )
    try:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(training.deterministic, warn_only=True)
        # Deterministic torch fills every fresh tensor with NaN, hundreds a step, although no operation reads them.
        filling.fill_uninitialized_memory = False
        torch.backends.cudnn.benchmark = not training.deterministic
        tf32 = training.precision != "fp32" and device.type == "cuda"
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        with functorch.patch(donated_buffer=False):  # compiled networks keep what a second loss needs for its gradient
            yield
    finally:
        torch.set_num_threads(former[0])
        torch.use_deterministic_algorithms(former[1], warn_only=former[2])
        torch.backends.cudnn.benchmark = former[3]
        torch.set_float32_matmul_precision(former[4])
        torch.backends.cudnn.allow_tf32 = former[5]
        filling.fill_uninitialized_memory = former[6]


def prepare(model: Autoencoder, training: TrainingSettings, device: torch.device) -> Autoencoder:
    """Move a freshly built model to the device, in the layout, precision and compilation that `training` asks for.

    Its parameters stay float32 and keep their names. With bf16 the networks compute in bfloat16 (see `precision`).
    """
    model = model.to(device)
    if training.gradients == "exact":
        model.prepare_training()
        if training.channels_last:
            for network in model.networks().values():
                network.to(memory_format=torch.channels_last)
    if training.precision == "bf16":
        compute_in_bfloat16(model.networks(), device)
    for network in model.networks().values() if training.compile else ():
        network.forward = _compiled(network.forward, model.answer)
    return model


def peak_memory_mb(device: torch.device) -> float:
    """The most memory so far: of the tensors on a GPU, of the whole process on a CPU, in MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return peak_memory_bytes() / 2**20


def _compiled(forward: Callable[..., Answer], answer: Callable[..., Answer]) -> Callable[..., Answer]:
    """The forward pass compiled; a mapping that the compiler cannot make, as pythae's, is made of the tensors after."""

    def tensors(*arguments: object, **options: object) -> dict[str, Tensor] | Tensor:
        output = forward(*arguments, **options)
        return output if isinstance(output, Tensor) else dict(output)

    compiled = torch.compile(tensors, dynamic=False)  # a few shapes, and torch 2.7 fails where they may vary

    def wrapped(*arguments: object, **options: object) -> Answer:
        output = compiled(*arguments, **options)
        return output if isinstance(output, Tensor) else answer(**output)

    return wrapped
