"""Settings of a training that cannot work, found before it starts: an old model is deleted when its job begins."""

import json
from collections.abc import Iterator
from functools import cache

from vaebench.base.values import as_dict, from_dict
from vaebench.config.schema import listing
from vaebench.models.catalog import NETS, ModelInfo, NetInfo
from vaebench.models.lookup import info_of
from vaebench.models.run_spec import OptimizerSettings, RunSpec

# With their defaults these optimizers and schedules can be used: no need to load torch and try them.
PROVEN = ("Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "SGD")
PROVEN_SCHEDULES = ("CosineAnnealingLR",)


def mistakes_in_training(spec: RunSpec, shape: tuple[int, int, int] | None, to_run: bool) -> Iterator[tuple[str, str]]:
    """The keys of a run's resolved `training` block that cannot be, and why.

    `shape` (C, H, W) is that of the images, None when it is not known. `to_run`: unusual optimizers and schedules are
    tried, which loads torch.
    """
    training, info = spec.training, info_of(spec.model_name).of(spec.config)
    unknown = [name for name in training.components if name not in info.components and not info.is_open]
    for name in unknown:
        known = listing(info.components) or "none, it has one optimizer"
        yield f"components.{name}", f"{spec.model} has no such part; allowed: {known}"
    if reason := why_not_select(info, training.select):
        yield "select", reason
    if training.patience is not None and training.select == "last":
        yield "patience", "it needs a value to watch; set training.select to one, such as mse"
    if reason := _why_not_batch_size(spec, info, shape):
        yield "batch_size", reason
    if training.eval_batch_size < info.smallest_batch:
        yield "eval_batch_size", f"{spec.model} needs at least {info.smallest_batch}, as it compares images"
    if training.compile and info.differentiates:
        yield (
            "compile",
            f"{spec.model} takes gradients of gradients, which compiled networks do not give; set it to false",
        )
    if training.gradients == "pythae" and info.exact_only:
        yield "gradients", f"{spec.model} has no trainer of pythae's with an adversarial term; set it to exact"
    if training.gradients == "pythae" and training.precision in ("bf16", "tf32"):
        yield "precision", "gradients: pythae repeats trainers that compute in float32; set it to auto or fp32"
    if to_run and not unknown:
        yield from _mistakes_in_optimizers(spec)


def _why_not_batch_size(spec: RunSpec, info: ModelInfo, shape: tuple[int, int, int] | None) -> str | None:
    """Why a step of the run cannot be computed from its batch; None when it can."""
    smallest = smallest_batch(spec, shape)
    if spec.training.batch_size >= smallest:
        return None
    reason = " since batch norm needs two numbers to compare" if smallest > info.smallest_batch else ""
    halves = ", and this model halves its batches" if reason and info.halves_batches else ""
    return f"{spec.model} needs at least {smallest} with these networks{reason}{halves}"


def why_not_select(model: ModelInfo, select: str) -> str | None:
    """Why the epoch of a model cannot be chosen by the term `select`; None when it can."""
    allowed = model.selectable
    if select in ("last", *allowed):
        return None
    adversary = " (losses of adversaries say nothing of quality)" if "loss" not in allowed else ""
    return f"{select!r} cannot choose the epoch of {model.name}; take last or one of {listing(allowed)}{adversary}"


def smallest_batch(spec: RunSpec, shape: tuple[int, int, int] | None) -> int:
    """The fewest images that a training step of a run can be computed from, as far as its networks are known ones."""
    info = info_of(spec.model_name)
    named = {role: network.name for role, network in spec.networks.items() if role in info.nets}
    known = [(role, NETS[name]) for role, name in named.items() if name in NETS]
    return info.smallest_step(any(_has_batch_norm(net, role, shape) for role, net in known))


def _has_batch_norm(net: NetInfo, role: str, shape: tuple[int, int, int] | None) -> bool:
    return shape is not None and net.has_batch_norm(role, shape)


def _mistakes_in_optimizers(spec: RunSpec) -> Iterator[tuple[str, str]]:
    """What torch says to the optimizers and schedules of a run."""
    training = spec.training
    info = info_of(spec.model_name).of(spec.config)
    names: tuple[str | None, ...] = info.components or (None, *training.components)
    for name in names:
        own = training.components.get(name or "", {})
        settings = training.of(name)
        extra = {"weight_decay": 0.1} if name in info.decays else {}
        if _is_proven(settings):
            continue
        for place, reason in _tried(json.dumps([as_dict(settings), training.epochs, extra], sort_keys=True)):
            own_key = own and place.split(".")[0] in own
            yield (f"components.{name}.{place}" if own_key else place), reason


def _is_proven(settings: OptimizerSettings) -> bool:
    optimizer, schedule = settings.optimizer, settings.scheduler
    usual = optimizer.name in PROVEN and not optimizer.options
    return usual and (schedule is None or (schedule.name in PROVEN_SCHEDULES and not schedule.options))


@cache
def _tried(described: str) -> tuple[tuple[str, str], ...]:
    """The mistakes in optimizer settings, for a number of epochs and with extra options, all three as JSON.

    The runs of a study mostly share theirs, and each is tried once.
    """
    try:
        from vaebench.config.optimizers import mistakes_in_optimizer
    except ImportError:  # torch may be only where the jobs run
        return ()
    settings, epochs, extra = json.loads(described)
    return tuple(mistakes_in_optimizer(from_dict(OptimizerSettings, settings), epochs, extra))
