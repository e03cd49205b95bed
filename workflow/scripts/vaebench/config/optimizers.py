"""Optimizers and learning-rate schedules by their names in torch, and whether a training can use them."""

import inspect
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from vaebench.base.errors import UserError
from vaebench.models.run_spec import Named, OptimizerSettings

MOST = 10_000  # epochs that a schedule is tried for, which takes a tenth of a second


def make_optimizer(
    parameters: list[nn.Parameter], settings: OptimizerSettings, extra: Mapping[str, Any], fused: bool
) -> Optimizer:
    """The optimizer that `settings` name, with `extra` options.

    `fused`: let one kernel update all parameters where torch has one. Raises `UserError` for an optimizer that torch
    does not have, or that refuses its options.
    """
    chosen = settings.optimizer
    optimizer_class = getattr(torch.optim, chosen.name, None)
    if not (inspect.isclass(optimizer_class) and issubclass(optimizer_class, Optimizer)):
        raise UserError(f"training.optimizer.name: torch.optim has no optimizer {chosen.name!r}")
    options = {"lr": settings.learning_rate, **chosen.options, **extra}
    if fused and "fused" in inspect.signature(optimizer_class).parameters and not {"fused", "foreach"} & options.keys():
        options["fused"] = True
        if "capturable" in inspect.signature(optimizer_class).parameters and parameters[0].is_cuda:
            options.setdefault("capturable", True)  # so that a step can be recorded
    try:
        return optimizer_class(parameters, **options)
    except Exception as error:  # torch's checks of options raise whatever comes
        raise UserError(f"training.optimizer: {chosen.name} refuses {options}: {_line(error)}") from error


def make_scheduler(optimizer: Optimizer, chosen: Named | None) -> LRScheduler | None:
    """The schedule that `chosen` names; raises `UserError` as `make_optimizer`."""
    if chosen is None:
        return None
    scheduler_class = getattr(torch.optim.lr_scheduler, chosen.name, None)
    if not (inspect.isclass(scheduler_class) and issubclass(scheduler_class, LRScheduler)):
        raise UserError(f"training.scheduler.name: torch.optim.lr_scheduler has no {chosen.name!r}")
    try:
        return scheduler_class(optimizer, **chosen.options)
    except Exception as error:
        raise UserError(f"training.scheduler: {chosen.name} refuses {dict(chosen.options)}: {_line(error)}") from error


def step_scheduler(scheduler: LRScheduler | None, value: float) -> None:
    """Move a schedule on after an epoch, where there is one; ReduceLROnPlateau goes by `value`, the validation's."""
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step(value)
    elif scheduler is not None:
        scheduler.step()


def mistakes_in_optimizer(
    settings: OptimizerSettings, epochs: int, extra: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Whether a training can use optimizer and schedule of `settings`: the key and why not, for the first that fails.

    They are made for a few parameters of the kinds that networks have, and moved on as often as in the training.
    """
    chosen = settings.optimizer
    options = {name: value for name, value in chosen.options.items() if name != "capturable"}
    settings = replace(settings, optimizer=replace(chosen, options=options))  # capturable is for GPUs only
    parameters = [nn.Parameter(torch.ones(shape)) for shape in ((2, 1, 3, 3), (2, 2), (2,))]
    key, name = "optimizer", chosen.name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            optimizer = make_optimizer(parameters, settings, extra, fused=True)
            for _ in range(2):
                for parameter in parameters:
                    parameter.grad = torch.full_like(parameter, 0.1)
                optimizer.step()
            if settings.scheduler is None:
                return
            key, name = "scheduler", settings.scheduler.name
            scheduler = make_scheduler(optimizer, settings.scheduler)
            for epoch in range(min(epochs, MOST)):
                step_scheduler(scheduler, 1.0)
                rate = float(optimizer.param_groups[0]["lr"])
                if not 0 <= rate < float("inf"):
                    yield key, f"{name} gives a learning rate of {rate} after {epoch + 1} epochs"
                    return
        except UserError as error:
            where, _, reason = str(error).partition(": ")
            yield where.removeprefix("training."), reason
        except Exception as error:  # a step of torch's: whatever it raises is the answer
            how = "each step without a closure, with dense gradients" if key == "optimizer" else "after each epoch"
            yield key, f"{name} cannot be used, which is called {how}: {_line(error)}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
