"""How much GPU memory a training will take, found out without a GPU and without training."""

import torch
from torch.autograd.graph import saved_tensors_hooks

from vaebench.models.building import build_model
from vaebench.models.interface import Moment
from vaebench.models.run_spec import RunSpec

CONTEXT_MB = 800  # CUDA context, cuDNN and cuBLAS workspaces
COPIES = 4  # of each parameter: weights, gradient, and Adam's two moments
SLACK = 1.3  # fragmentation, temporaries of the backward pass
PROBE = 4  # images of the trial batch


def training_memory_mb(spec: RunSpec, input_shape: tuple[int, int, int]) -> float:
    """Estimated GPU memory in MB for training the run `spec` on images (C, H, W).

    One batch of four random images goes through the model on the CPU. What autograd keeps of it for the backward pass
    grows in proportion to the batch; to that come the parameters, their gradients and Adam's moments.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(PROBE, *input_shape, generator=generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(spec, input_shape).train()
        model.take_weights(None)
        parameters = sum(each.numel() * each.element_size() for each in model.parameters())
        owned = {each.data_ptr() for each in model.parameters()}
        kept: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if tensor.data_ptr() not in owned:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor), model.on_trial():
            model.losses(images, Moment(1, PROBE))
    activations = sum(kept.values()) / PROBE * spec.training.batch_size
    return CONTEXT_MB + SLACK * (COPIES * parameters + activations) / 2**20
