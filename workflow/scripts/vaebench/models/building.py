"""A run's specification made into a model."""

from collections.abc import Collection, Sequence

import torch
from torch import nn

from vaebench.base.errors import UserError
from vaebench.models.interface import Autoencoder, Objective
from vaebench.models.lookup import provider_of
from vaebench.models.run_spec import ModelSpec


def build_model(spec: ModelSpec, input_shape: tuple[int, int, int]) -> Autoencoder:
    """The model of a run's specification for images of `input_shape` (C, H, W).

    Weights come from torch's global random numbers: seed them first. Raises `UserError` for an unknown model, field or
    network, and for values that the model refuses.
    """
    return provider_of(spec.model_name).build(spec, input_shape)


def check_components(model: Autoencoder, objectives: Sequence[Objective], components: Collection[str]) -> None:
    """Raises `UserError` where `training.components` names an optimizer that the model does not have."""
    names = [objective.name for objective in objectives] if len(objectives) > 1 else []
    if unknown := sorted(set(components) - set(names)):
        known = ", ".join(names) or "none: it has a single optimizer"
        raise UserError(f"training.components: {model.name} has no {', '.join(unknown)} (it has {known})")


def has_batch_norm(model: nn.Module) -> bool:
    """Whether a layer normalises over the batch."""
    return any(_normalises(module) for module in model.modules())


def has_batch_norm_of_single_pixels(model: Autoencoder) -> bool:
    """Whether such a layer sees a 1x1 grid, or a vector, on the way from an image to its reconstruction.

    Of one image these have a single number for each channel, which has no variance.
    """
    layers = [module for module in model.modules() if _normalises(module)]
    if not layers:
        return False
    sizes: list[int] = []
    hooks = [layer.register_forward_pre_hook(lambda _, x: sizes.append(x[0][0, 0].numel())) for layer in layers]
    training, device = model.training, next(model.parameters()).device
    try:
        with torch.no_grad(), model.on_trial():
            model.eval()
            model.decode(model.encode(torch.zeros(1, *model.input_shape, device=device)).mode())
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return 1 in sizes


def _normalises(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm)
