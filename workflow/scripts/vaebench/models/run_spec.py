"""What a run is: its model, networks, training and sampler, as they were resolved from the configuration.

The Snakefile reads this module, so that nothing heavy is imported here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from vaebench.base.errors import UserError
from vaebench.base.values import as_dict, from_dict

MODEL_FILES = ("model_config.json", "model.pt")  # in a folder that pythae saved


@dataclass(frozen=True)
class Named:
    """Something by its name with options: an optimizer, a schedule, a sampler, a network."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Schedule(Named):
    """A learning-rate schedule; `interval` is what it is stepped after: `epoch` or `step`."""

    interval: str = "epoch"


@dataclass(frozen=True)
class OptimizerSettings:
    """One optimizer, its learning rate, and its schedule, if any."""

    learning_rate: float
    optimizer: Named
    scheduler: Schedule | None


@dataclass(frozen=True)
class Averaging:
    """An exponential moving average of the weights; see `training.averaging`."""

    decay: float = 0.999


@dataclass(frozen=True)
class Warmup:
    """How long the learning rates rise linearly from 0 to what they are: so many steps, or epochs."""

    steps: int | None = None
    epochs: float | None = None

    def length(self, steps_per_epoch: int) -> int:
        """Its length in steps, at least one."""
        return self.steps or max(1, round((self.epochs or 0) * steps_per_epoch))


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied. horizontal_flip: each is mirrored in every second epoch, by chance."""

    horizontal_flip: bool = False


@dataclass(frozen=True)
class TrainingSettings:
    """The section `training` with what an entry under `models` overrides.

    `components` has what single optimizers do differently, by name. The settings with a default are absent where they
    do not concern a model.
    """

    epochs: int
    batch_size: int
    eval_batch_size: int
    learning_rate: float
    optimizer: Named
    scheduler: Schedule | None
    components: Mapping[str, Mapping[str, Any]]
    gradients: str
    precision: str
    channels_last: bool
    compile: bool
    deterministic: bool
    select: str
    patience: int | None
    checkpoint_minutes: float
    record_steps: bool
    device: str
    vq_scale: str = "per_image"
    tuning_trials: int | None = None
    ema: Averaging | None = None
    warmup: Warmup | None = None
    augmentation: Augmentation = Augmentation()

    def of(self, component: str | None) -> OptimizerSettings:
        """The settings of one of the model's optimizers; None: of its only one."""
        common = {"learning_rate": self.learning_rate, "optimizer": self.optimizer, "scheduler": self.scheduler}
        return from_dict(OptimizerSettings, common | dict(self.components.get(component or "", {})))


@dataclass(frozen=True)
class PretrainedSource:
    """A model on the Hugging Face Hub, or a folder that pythae saved, and whether its pickles may run code."""

    hf_hub: str | None = None
    path: str | None = None
    trust_pickle: bool = False

    def why_not_here(self) -> str | None:
        """Why there is no model at `path` on this machine; None where there is one, or it is on the Hub."""
        return None if self.path is None else why_no_model(Path(self.path).expanduser())


def why_no_model(folder: Path) -> str | None:
    """Why a folder is not one that pythae saved, by the names of its files; None where it is."""
    if not folder.is_dir():
        return f"there is no folder {folder}"
    missing = [name for name in MODEL_FILES if not (folder / name).exists()]
    return f"{folder} has no {', '.join(missing)}; give a folder that pythae saved" if missing else None


NetworkValue = str | Mapping[str, Any]  # a name, or a map of one name to its options


def network_of(value: NetworkValue) -> Named:
    """A network as the configuration names it under `nets`."""
    if isinstance(value, str):
        return Named(value)
    ((name, options),) = value.items()
    return Named(name, options or {})


@dataclass(frozen=True)
class ModelSpec:
    """The model of a run: what it is built from. `model` is None where only the files of a pretrained one tell it."""

    run: str
    entry: str
    model: str | None
    nets: Mapping[str, NetworkValue | None]
    config: Mapping[str, Any]
    pretrained: PretrainedSource | None = None

    @classmethod
    def recorded(cls, spec: Mapping[str, Any]) -> Self:
        """The model in the specification that lies beside a saved one, which may be of an older version."""
        return cls(spec.get("run", ""), spec.get("entry", ""), spec["model"], spec["nets"], spec["config"])

    @property
    def model_name(self) -> str:
        """The name of the model; `UserError` where the configuration does not say it."""
        if self.model is None:
            raise UserError(f"{self.run}: the configuration names no model")
        return self.model

    @property
    def networks(self) -> dict[str, Named]:
        """The networks that the configuration names, by role."""
        return {role: network_of(value) for role, value in self.nets.items() if value}

    def as_record(self) -> dict[str, Any]:
        """The specification as it is written beside a model."""
        return {key: value for key, value in as_dict(self).items() if key != "sampler"}


@dataclass(frozen=True, kw_only=True)
class RunSpec(ModelSpec):
    """A run: the model, how it is trained, and what its images are drawn with."""

    training: TrainingSettings
    sampler: Named = field(default_factory=lambda: Named("auto"))
