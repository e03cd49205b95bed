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
from vaebench.models.run_spec import OptimizerSettings, Schedule

MOST = 10_000  # times that a schedule is stepped to try it, which takes a tenth of a second
FUSED_ON_CPUS = ("Adagrad",)  # torch 2.7 refuses on a GPU, at the first step, what it would fuse on a CPU
STEPS_TRIED = 10  # an epoch of a schedule by step, whose number of steps is known only when the images are


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
    known, on_gpu = inspect.signature(optimizer_class).parameters, parameters[0].device.type == "cuda"
    fused = fused and "fused" in known and not (on_gpu and chosen.name in FUSED_ON_CPUS)
    if fused and not {"fused", "foreach"} & options.keys():
        options["fused"] = True
        if "capturable" in known and on_gpu:
            options.setdefault("capturable", True)  # so that a step can be recorded
    try:
        return optimizer_class(parameters, **options)
    except Exception as error:  # torch's checks of options raise whatever comes
        raise UserError(f"training.optimizer: {chosen.name} refuses {options}: {_line(error)}") from error


def make_scheduler(optimizer: Optimizer, chosen: Schedule | None, length: int) -> LRScheduler | None:
    """The schedule that `chosen` names, for a training in which it is stepped `length` times.

    Where its options leave out what torch has no default for, `T_max` or `total_steps` is the length, and `max_lr` the
    learning rate. Raises `UserError` as `make_optimizer`, and for a `total_steps` that is shorter.
    """
    if chosen is None:
        return None
    scheduler_class = getattr(torch.optim.lr_scheduler, chosen.name, None)
    if not (inspect.isclass(scheduler_class) and issubclass(scheduler_class, LRScheduler)):
        raise UserError(f"training.scheduler.name: torch.optim.lr_scheduler has no {chosen.name!r}")
    options = {**_left_out(scheduler_class, optimizer, chosen.options, length), **chosen.options}
    try:
        scheduler: LRScheduler = scheduler_class(optimizer, **options)
    except Exception as error:
        raise UserError(f"training.scheduler: {chosen.name} refuses {dict(chosen.options)}: {_line(error)}") from error
    total = getattr(scheduler, "total_steps", length)
    if chosen.interval == "step" and total < length:
        raise UserError(
            f"training.scheduler: {chosen.name} ends after {total} steps, and the training needs at least "
            f"{length}; leave total_steps out for as many"
        )
    return scheduler


def _left_out(
    scheduler_class: type[LRScheduler], optimizer: Optimizer, options: Mapping[str, Any], length: int
) -> dict[str, Any]:
    """The length and the highest learning rate for a schedule that needs them and whose options lack them."""
    known = inspect.signature(scheduler_class).parameters
    filled: dict[str, Any] = {}
    if "T_max" in known:
        filled["T_max"] = length
    if {"total_steps", "steps_per_epoch"} <= known.keys():
        if not {"epochs", "steps_per_epoch"} & options.keys():
            filled["total_steps"] = length
        filled["max_lr"] = [group["lr"] for group in optimizer.param_groups]
    return filled


def step_scheduler(scheduler: LRScheduler | None, value: float) -> None:
    """Move a schedule on, where there is one; ReduceLROnPlateau goes by `value`, the validation's."""
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
    if "lr" in settings.optimizer.options:
        yield "optimizer.options.lr", "the step size is learning_rate's; leave lr out"
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            optimizer = _try_optimizer(settings, extra)
            if settings.scheduler is not None:
                _try_schedule(optimizer, settings.scheduler, epochs)
        except UserError as error:
            where, _, reason = str(error).partition(": ")
            yield where.removeprefix("training."), reason


def _try_optimizer(settings: OptimizerSettings, extra: Mapping[str, Any]) -> Optimizer:
    """The optimizer of a few parameters after two steps; `UserError` where it cannot be made or refuses a step."""
    chosen = settings.optimizer
    options = {name: value for name, value in chosen.options.items() if name != "capturable"}  # which is for GPUs only
    settings = replace(settings, optimizer=replace(chosen, options=options))
    parameters = [nn.Parameter(torch.ones(shape)) for shape in ((2, 1, 3, 3), (2, 2), (2,))]
    optimizer = make_optimizer(parameters, settings, extra, fused=True)
    try:
        for _ in range(2):
            for parameter in parameters:
                parameter.grad = torch.full_like(parameter, 0.1)
            optimizer.step()
    except Exception as error:  # torch's optimizers raise whatever comes
        how = "each step without a closure, with dense gradients"
        raise UserError(
            f"training.optimizer: {chosen.name} cannot be used, which is called {how}: {_line(error)}"
        ) from error
    return optimizer


def _try_schedule(optimizer: Optimizer, chosen: Schedule, epochs: int) -> None:
    """Move a schedule on through a training; `UserError` where it cannot be made or gives no finite learning rate."""
    by_step = chosen.interval == "step"
    unit, length = ("step", epochs * STEPS_TRIED) if by_step else ("epoch", epochs)
    scheduler = make_scheduler(optimizer, chosen, epochs)  # an epoch has a step or more
    if by_step and isinstance(scheduler, ReduceLROnPlateau):
        raise UserError(
            f"training.scheduler.interval: {chosen.name} goes by the validation after an epoch; set it to epoch"
        )
    if by_step:
        length = min(length, getattr(scheduler, "total_steps", length))
    for done in range(1, min(length, MOST) + 1):
        try:
            step_scheduler(scheduler, 1.0)
            rate = float(optimizer.param_groups[0]["lr"])
        except Exception as error:  # torch's schedules raise whatever comes
            raise UserError(
                f"training.scheduler: {chosen.name} cannot be used, which is called after each {unit}: {_line(error)}"
            ) from error
        if not 0 <= rate < float("inf"):
            raise UserError(f"training.scheduler: {chosen.name} gives a learning rate of {rate} after {done} {unit}s")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
