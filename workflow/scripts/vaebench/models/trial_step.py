"""A model tried on a few random images: a step of its training less the update, and a reconstruction."""

import torch
from torch import Tensor

from vaebench.base.errors import UserError
from vaebench.models.interface import Autoencoder, Losses, Moment
from vaebench.models.posterior import Posterior


def try_model(model: Autoencoder, images: int) -> None:
    """Compute the losses of so many random images with their gradients, and reconstruct them.

    The model is changed. Raises `UserError` for what is not as its interface says; what its code raises is passed on.
    """
    with torch.random.fork_rng(devices=[]), model.on_trial():
        torch.manual_seed(0)
        x = torch.rand(images, *model.input_shape)
        model.take_weights(None)
        model.prepare_training()
        _try_losses(model.train(), x)
        with torch.no_grad():
            _try_reconstruction(model.eval(), x)


def _try_losses(model: Autoencoder, x: Tensor) -> None:
    losses = model.losses(x, Moment(1, len(x), 1))
    if not isinstance(losses, Losses):
        raise UserError(f"{model.name}.losses gives {_kind(losses)}, not Losses of vaebench.models.interface")
    for name, term in losses.terms.items():
        if not isinstance(term, Tensor) or term.ndim:
            raise UserError(
                f"{model.name}.losses: {name} is {_kind(term)}, not a scalar tensor: a mean over the images"
            )
    for objective in model.objectives():
        if objective.term not in losses.terms:
            known = ", ".join(losses.terms)
            raise UserError(f"{model.name}: objectives() minimise {objective.term!r}, losses gives {known}")
        parameters = [parameter for parameter in objective.parameters if parameter.requires_grad]
        if not objective.mixture and parameters and not losses.waiting.get(objective.name, False):
            torch.autograd.grad(losses.terms[objective.term], parameters, retain_graph=True, allow_unused=True)


def _try_reconstruction(model: Autoencoder, x: Tensor) -> None:
    posterior = model.encode(x)
    if not isinstance(posterior, Posterior):
        raise UserError(f"{model.name}.encode gives {_kind(posterior)}, not a Posterior of vaebench.models.posterior")
    y = model.decode(posterior.mode())
    if not isinstance(y, Tensor) or y.shape != x.shape:
        raise UserError(f"{model.name}.decode gives {_kind(y)}, not images {tuple(x.shape)}")


def _kind(value: object) -> str:
    """What a value is, for a message."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    return f"a value of the type {type(value).__name__}"
