"""What is minimised: a list of objectives, each a loss, the parameters that follow it, their optimizer and scheduler.

pythae has four trainers; they differ in nothing but this list. Each of pythae's trainers lets the gradient of one loss
leak into the parameters of another (docs/vaegan-gradient.md); `step` gives each objective the gradient of its own loss,
and `step_as_pythae` repeats theirs, for comparison.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vaebench.config.optimizers import make_optimizer, make_scheduler, step_scheduler
from vaebench.models.building import check_components
from vaebench.models.interface import Autoencoder, Losses, Objective
from vaebench.models.run_spec import TrainingSettings

Value = TypeVar("Value")


@dataclass
class Optimized:
    """An objective with its optimizer and scheduler; `parameters` are those of it that are trained.

    by_step: whether the scheduler moves on with every step, and not with every epoch. warmth: the part of the scheduled
    learning rate that this step takes, less than 1 during a warm-up.
    """

    objective: Objective
    parameters: list[nn.Parameter]
    optimizer: Optimizer
    scheduler: LRScheduler | None
    by_step: bool = False
    warmth: float = 1.0

    @property
    def name(self) -> str:
        """Its key under `training.components`."""
        return self.objective.name

    @property
    def mixture(self) -> Mapping[str, float]:
        """See `Objective`."""
        return self.objective.mixture

    def loss(self, terms: Mapping[str, Value]) -> Value:
        """This objective's loss among the terms of a batch."""
        return terms[self.objective.term]

    def updates(self, losses: Losses) -> bool:
        """Whether this batch trains it; waits for the device where the answer is there."""
        return not losses.waiting.get(self.name, False)

    @property
    def learning_rate(self) -> float:
        """The present learning rate of its first group of parameters."""
        return float(self.optimizer.param_groups[0]["lr"]) * self.warmth

    def update_unless(self, waits: bool | Tensor) -> None:
        """`update`, unless `waits`; where that is a tensor, the fused optimizer looks at it on the device.

        torch has this for losses that are scaled, where it is called `found_inf`: the optimizer then changes neither
        parameters nor its own state.
        """
        if not isinstance(waits, Tensor):
            if not waits:
                self.update()
            return
        optimizer: Any = self.optimizer
        optimizer.found_inf = waits.float()
        try:
            self.update()
        finally:
            del optimizer.found_inf

    def update(self) -> None:
        """Let the optimizer step."""
        if self.warmth == 1:
            self.optimizer.step()
            return
        scheduled = [group["lr"] for group in self.optimizer.param_groups]
        for group, rate in zip(self.optimizer.param_groups, scheduled, strict=True):
            group["lr"] = rate * self.warmth
        self.optimizer.step()
        for group, rate in zip(self.optimizer.param_groups, scheduled, strict=True):
            group["lr"] = rate


def make_objectives(model: Autoencoder, training: TrainingSettings, steps_per_epoch: int = 1) -> list[Optimized]:
    """The objectives of `model` with their optimizers, in the order in which these step.

    `training` is the resolved training block; `training.components` overrides learning rate, optimizer and scheduler
    by component; schedules by step go by `steps_per_epoch`. Raises `UserError` for a component the model does not have,
    or an optimizer that torch does not have.
    """
    objectives = model.objectives()
    check_components(model, objectives, training.components)
    made = []
    for objective in objectives:
        settings = training.of(objective.name)
        options = dict(objective.options)
        optimizer = make_optimizer(objective.parameters, settings, options, fused=training.gradients == "exact")
        trained = [parameter for parameter in objective.parameters if parameter.requires_grad]
        by_step = settings.scheduler is not None and settings.scheduler.interval == "step"
        length = training.epochs * (steps_per_epoch if by_step else 1)
        scheduler = make_scheduler(optimizer, settings.scheduler, length)
        made.append(Optimized(objective, trained, optimizer, scheduler, by_step))
    return made


def step(objectives: Sequence[Optimized], losses: Losses, on_device: bool = False) -> None:
    """One update: every objective that this batch trains steps on its own loss; all gradients come before any step.

    The gradient of a mixture is gathered in the backward passes of the losses that it is mixed of. on_device: compute
    the gradients of all objectives and let the device decide which parameters change; the result is the same, and
    nothing waits for the device. The optimizers must be fused then.
    """
    active = [objective for objective in objectives if on_device or objective.updates(losses)]
    passes = []
    for source in objectives:
        reached = [other for other in active if source.name in other.mixture or (other is source and not other.mixture)]
        if reached:
            passes.append((source, reached))
    for objective in active:
        objective.optimizer.zero_grad(set_to_none=True)
    for source, reached in passes:
        former = [_take_gradients(other) if other.mixture else [] for other in reached]
        inputs = [parameter for other in reached for parameter in other.parameters]
        source.loss(losses.terms).backward(inputs=inputs, retain_graph=source is not passes[-1][0])
        for other, gradients in zip(reached, former, strict=True):
            if other.mixture:
                _mix(other.parameters, other.mixture[source.name], gradients)
    for objective in active:
        objective.update_unless(losses.waiting.get(objective.name, False) if on_device else False)


def _take_gradients(objective: Optimized) -> list[Tensor | None]:
    """The gradients that its parameters have so far, taken away from them."""
    gradients = [parameter.grad for parameter in objective.parameters]
    for parameter in objective.parameters:
        parameter.grad = None
    return gradients


def _mix(parameters: Sequence[nn.Parameter], weight: float, former: Sequence[Tensor | None]) -> None:
    """Make each gradient `weight` times itself plus the former one."""
    for parameter, gradient in zip(parameters, former, strict=True):
        if parameter.grad is not None:
            parameter.grad.mul_(weight)
        if gradient is not None:
            parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)


def step_as_pythae(objectives: Sequence[Optimized], losses: Losses) -> None:
    """One update as pythae 0.1.2's trainers do it: each backward reaches all parameters, and some gradients add up."""
    active = [objective for objective in objectives if objective.updates(losses)]
    for objective in active:
        objective.optimizer.zero_grad()
        objective.loss(losses.terms).backward(retain_graph=len(active) > 1)
    for objective in active:
        objective.update()


def prepare_step(objectives: Sequence[Optimized], number: int, warmup: int) -> None:
    """Set the learning rates for the step of this number, counted from 1 through the training; call it before the step.

    Schedulers by step move on, except before the first step; during the first `warmup` steps the rates rise linearly.
    """
    for objective in objectives:
        objective.warmth = min(1.0, number / warmup) if warmup else 1.0
        if objective.by_step and objective.scheduler is not None and number > 1:
            objective.scheduler.step()


def step_schedulers(objectives: Sequence[Optimized], losses: Mapping[str, float]) -> None:
    """After an epoch, move on every scheduler by epoch; ReduceLROnPlateau goes by the validation value of its loss."""
    for objective in objectives:
        if objective.scheduler is not None and not objective.by_step:
            step_scheduler(objective.scheduler, objective.loss(losses))
