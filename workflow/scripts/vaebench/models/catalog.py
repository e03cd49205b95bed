"""What is known of a model without importing it, and the families of networks that models are built of.

The Snakefile reads this module on every start, so it must not import torch or pythae.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Self

from vaebench.base.errors import UserError
from vaebench.base.importable import is_installed
from vaebench.base.plugin_files import Added, Registry
from vaebench.models.fields import CHOICES, COUNT, OPTIONAL, RANGES, WHOLE, Range
from vaebench.models.networks.diffusers_options import NETWORKS, why_no_grid

# The trainer kinds are pythae's four trainers: which losses there are, and which parameters follow which loss.
SINGLE, ADVERSARIAL, COUPLED, COUPLED_ADVERSARIAL = "single", "adversarial", "coupled", "coupled_adversarial"
COMPONENTS = {
    SINGLE: (),
    ADVERSARIAL: ("autoencoder", "discriminator"),
    COUPLED: ("encoder", "decoder"),
    COUPLED_ADVERSARIAL: ("encoder", "decoder", "discriminator"),
}

Shape = tuple[int, int, int]  # of images: channels, height, width
ROLES = ("encoder", "decoder", "discriminator")
DOWNSAMPLING = (4, 8, 16, 32)  # pixels of the image per vector of a grid, in either direction

# What an encoder gives: a vector, the mean and log variance of a Gaussian, the direction and concentration of a von
# Mises-Fisher distribution, or a grid of vectors.
VECTOR, GAUSSIAN, SPHERE, GRID = "vector", "gaussian", "sphere", "grid"
# The key under which an encoder gives its second answer.
SECOND = {VECTOR: None, GAUSSIAN: "log_covariance", SPHERE: "log_concentration"}

# The settings of a training that cannot change what it aims at: a state goes on, and a model stays valid, without them.
HOW_TO_TRAIN = ("checkpoint_minutes", "device", "eval_batch_size", "record_steps", "tuning_trials")


@dataclass(frozen=True)
class ModelInfo:
    """One model that a provider offers.

    `fields` are what `config` may set, with their defaults. `trainer` says which objectives it has. `posterior` and
    `prior` name the distributions over the latent variables. `sampler` is the one that draws from the model's own
    prior, or a fitted one where it has none; empty where the model decides. `smallest_batch` is the fewest images that
    one step can be computed from; `halves_batches`: it computes with either half apart. `differentiates`: its forward
    pass needs gradients. `ranges` and `choices` are narrower than `RANGES` and `CHOICES`, with the reason in `why`.
    `terms` are the losses in its history besides the total and its trainer's. `recordable`: a training step neither
    waits for the device nor depends on anything but tensors within an epoch, so that it can be recorded
    (`training.steps`). `needs_float32`: why precision auto is never bf16 for it; empty where bfloat16 does
    (docs/performance.md). `meaningless`: keys of the section `training` that cannot change its results. `decays`: the
    components whose optimizer decays weights because of a field. `exact_only`: it cannot be trained with `gradients:
    pythae`. `trained_on`: the fixed networks in whose features its loss compares images; their weights are needed to
    train it. `is_open`: a user's own class, whose fields, components and terms are not known here. `of_any_kind`: the
    fields that `check` takes as a word or a number, whatever the default is.
    """

    name: str
    fields: Mapping[str, object] = field(default_factory=dict)
    trainer: str = SINGLE
    encoder: str = GAUSSIAN
    posterior: str = "gaussian"
    prior: str = "normal"
    sampler: str = "normal"
    nets: tuple[str, ...] = ("encoder", "decoder")
    smallest_batch: int = 1
    differentiates: bool = False
    halves_batches: bool = False
    ranges: Mapping[str, Range] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    why: str = ""
    terms: tuple[str, ...] = ("reconstruction_loss", "kl")
    recordable: bool = False
    needs_float32: str = ""
    meaningless: tuple[str, ...] = ("vq_scale",)
    decays: tuple[str, ...] = ()
    exact_only: bool = False
    trained_on: tuple[str, ...] = ()
    is_open: bool = False
    of_any_kind: tuple[str, ...] = ()

    def of(self, config: Mapping[str, Any]) -> Self:
        """The entry for a configuration, on which objectives and terms can depend."""
        return self

    def decisive(self) -> str:
        """The parts of this entry that decide results, as text; not the values that it allows, nor messages."""
        kinds = (self.trainer, self.encoder, self.nets, self.smallest_batch, self.halves_batches, self.differentiates)
        return repr((self.name, sorted(self.fields.items()), kinds, self.recordable, bool(self.needs_float32)))

    def without_meaning(self) -> tuple[str, ...]:
        """The keys of the section `training` that cannot change the results of this model."""
        return (*HOW_TO_TRAIN, *self.meaningless)

    def sampler_of(self, config: Mapping[str, Any]) -> str:
        """`sampler` with this configuration."""
        return self.sampler

    def code_levels(self, config: Mapping[str, Any]) -> int:
        """How many codes a position of the grid has with this configuration; 1 also of models without codes."""
        return 1

    @property
    def components(self) -> tuple[str, ...]:
        """Names of its optimizers, as keys of `training.components`; none where one optimizer has all parameters."""
        return COMPONENTS[self.trainer]

    @property
    def selectable(self) -> tuple[str, ...]:
        """The terms of its history by which an epoch can be chosen; losses of adversaries say nothing of quality."""
        if self.trainer in (ADVERSARIAL, COUPLED_ADVERSARIAL):
            return ("mse", *self.terms)
        return ("mse", "loss", *self.terms, *(f"{name}_loss" for name in self.components))

    def smallest_step(self, batch_norm: bool) -> int:
        """The fewest images of a training step; networks with batch norm cannot train with one."""
        if not batch_norm:
            return self.smallest_batch
        return max(self.smallest_batch, 4 if self.halves_batches else 2)

    def check(self, name: str, value: object) -> str | None:
        """Why `value` cannot be the field `name` of this model's configuration; None when it can.

        The type is not checked: `name` must be one of `fields` and `value` of the kind of its default.
        """
        if value is None:
            return None if name in OPTIONAL else "null is no value; leave the field out for its default"
        why = f" ({self.why})" if self.why and name in {*self.ranges, *self.choices} else ""
        values = value if isinstance(value, list | tuple) else [value]
        if name in CHOICES:
            words = self.choices.get(name, CHOICES[name])
            wrong = [item for item in values if item not in words]
            return f"{wrong[0]!r} is not allowed; choose from {', '.join(words)}{why}" if wrong else None
        allowed = self.ranges.get(name, RANGES.get(name, Range()))
        for item in values:
            whole = name in WHOLE or allowed is COUNT
            if isinstance(item, bool) or (allowed == Range() and not whole):
                continue
            if not isinstance(item, int | float):
                return f"{item!r} must be a number"
            if whole and not isinstance(item, int):
                return f"{item!r} must be a whole number{f'; write {int(item)}' if item.is_integer() else ''}"
            if item not in allowed:
                return f"{item!r} must be {allowed}{why}"
        return None if values else "it must not be empty"

    def why_not_together(self, config: Mapping[str, Any]) -> str | None:
        """Why fields of this model's configuration, each of them sound, do not go together; None where they do."""
        return None

    def head(self, config: Mapping[str, Any]) -> str:
        """What its encoder must give, one of `VECTOR`, `GAUSSIAN`, `SPHERE`, `GRID`, with this configuration."""
        return SPHERE if config.get("posterior_distribution") == "riemannian_normal" else self.encoder


@dataclass(frozen=True)
class NetInfo:
    """A family of networks: what it can be built for.

    `shapes` are the input shapes (channels, height, width) that it takes, None for a family of any shape. `heads` are
    the kinds of latents. `strides`: by shape, how many pixels a vector of its grids stands for in either direction,
    where that is fixed. `has_options`: it takes options (`diffusers_options`). `package`: the optional package that it
    needs. `discriminator_depth` is the number of layers of its discriminator; the last one gives the probability.
    `batch_norm` are the roles whose networks normalise over the batch. `added` are the roles' classes where a plugin
    adds it: their channels, depth and batch norm are seen only when they are built.
    """

    name: str
    roles: tuple[str, ...]
    shapes: tuple[tuple[int, int, int], ...] | None
    heads: tuple[str, ...] = (VECTOR, GAUSSIAN, SPHERE, GRID)
    discriminator_depth: int = 0
    smallest_side: int = 28
    batch_norm: tuple[str, ...] = ()
    added: Mapping[str, Added] = field(default_factory=dict)
    strides: Mapping[tuple[int, int, int], int] = field(default_factory=dict)
    has_options: bool = False
    package: str = ""

    def why_not(self, options: Mapping[str, Any]) -> str | None:
        """Why this family cannot be built with these options, whatever the model and the images; None when it can."""
        if self.package and not is_installed(self.package):
            return f"the package {self.package} is not installed; pip install 'vaebench[{self.package}]'"
        return NETWORKS.why_not({self.name: options}) if self.has_options or options else None

    def check(
        self,
        role: str,
        model: ModelInfo,
        input_shape: tuple[int, int, int],
        config: Mapping[str, Any],
        options: Mapping[str, Any] = {},
    ) -> str | None:
        """Why this family cannot be the `role` of `model` for images of `input_shape` (C, H, W); None when it can."""
        if reason := self.why_not(options):
            return reason
        channels, height, width = input_shape
        size = f"{height}x{width} images with {channels} channel{'s' if channels > 1 else ''}"
        if role not in self.roles:
            return f"the family {self.name} has no {role}; use {_alternatives(role)}"
        if self.shapes is not None and tuple(input_shape) not in self.shapes:
            known = ", ".join(f"{h}x{w}x{c}" for c, h, w in self.shapes)
            return f"{self.name} takes only {known} (height x width x channels), not {size}; use compact"
        if self.added:
            return self._check_added(role, model, min(height, width), config)
        if self.shapes is None and (min(height, width) < self.smallest_side or channels not in (1, 3)):
            return (
                f"{self.name} takes 1 or 3 channels of at least {self.smallest_side}x{self.smallest_side}, not {size}"
            )
        if role == "discriminator":
            return self._check_layer(model, config)
        head = model.head(config)
        if head not in self.heads:
            return self._why_no_latents(model, head)
        stride, chosen = self.stride(input_shape, config), config.get("downsampling")
        if head == GRID and chosen not in (None, stride):
            return f"{self.name} divides these images by {stride}, not by downsampling {chosen}; use compact or lapped"
        return why_no_grid((height, width), options, stride, head == GRID) if self.has_options else None

    def _why_no_latents(self, model: ModelInfo, head: str) -> str:
        if head != GRID:
            return f"{self.name} gives {' or '.join(self.heads)} latents; {model.name} needs {head}; use compact"
        return (
            f"{self.name} gives one flat vector, and {model.name} needs a grid of vectors here; use resnet, "
            "compact or lapped, which give one"
        )

    def stride(self, input_shape: tuple[int, int, int], config: Mapping[str, Any]) -> int:
        """How many pixels of images of `input_shape` (C, H, W) a vector of its grids stands for, each way."""
        channels, height, width = input_shape
        fixed = self.strides.get((channels, height, width))
        return fixed or grid_stride((height, width), config.get("downsampling"))

    def _check_added(self, role: str, model: ModelInfo, side: int, config: Mapping[str, Any]) -> str | None:
        options = self.added[role].options
        if side < options["smallest"]:
            return f"{self.name} takes images of at least {options['smallest']}x{options['smallest']}"
        head = model.head(config)
        if role == "discriminator" or head in options["heads"]:
            return None
        given = " or ".join(options["heads"])
        return f"{self.name} gives {given} latents ({self.added[role].place}); {model.name} needs {head}"

    def has_batch_norm(self, role: str, input_shape: tuple[int, int, int]) -> bool:
        """Whether this family's network for the role normalises over the batch (of discriminators only CelebA's)."""
        return role in self.batch_norm and (role != "discriminator" or tuple(input_shape) == CELEBA)

    def _check_layer(self, model: ModelInfo, config: Mapping[str, Any]) -> str | None:
        layer = config.get("reconstruction_layer", model.fields.get("reconstruction_layer", 1))
        if 1 <= layer < self.discriminator_depth:
            return None
        return (
            f"reconstruction_layer {layer} is not one of this discriminator's feature layers, 1 to "
            f"{self.discriminator_depth - 1}; its last layer, which -1 means, is the probability itself"
        )


def grid_size(size: tuple[int, int], stride: int | None = None) -> tuple[int, int]:
    """Height and width of our families' grids of codes: the image's divided by `stride`, rounded up.

    The default stride is 4, and 8 for images of 48 pixels or more.
    """
    stride = grid_stride(size, stride)
    return ceil(size[0] / stride), ceil(size[1] / stride)


def grid_stride(size: tuple[int, int], chosen: int | None = None) -> int:
    """Pixels of an image of `size` (height, width) per vector of a grid, in either direction; see `grid_size`."""
    return chosen or (4 if max(size) < 48 else 8)


def why_no_downsampling(value: object) -> str | None:
    """Why `value` cannot be the field `downsampling` of a model whose latents are grids; None where it can."""
    allowed = ", ".join(map(str, DOWNSAMPLING))
    return None if value is None or value in DOWNSAMPLING else f"{value!r} must be one of {allowed}, or null"


def _alternatives(role: str) -> str:
    return " or ".join(name for name, info in NETS.items() if role in info.roles)


MNIST, CIFAR, CELEBA = (1, 28, 28), (3, 32, 32), (3, 64, 64)

OWN_NETS = {
    info.name: info
    for info in (
        NetInfo(
            "convnet",
            ("encoder", "decoder", "discriminator"),
            (MNIST, CIFAR, CELEBA),
            heads=(VECTOR, GAUSSIAN, SPHERE),
            discriminator_depth=5,
            batch_norm=("encoder", "decoder", "discriminator"),
        ),
        NetInfo("resnet", ("encoder", "decoder"), (MNIST, CIFAR, CELEBA), strides={MNIST: 8, CIFAR: 4, CELEBA: 16}),
        NetInfo(
            "compact",
            ("encoder", "decoder", "discriminator"),
            None,
            discriminator_depth=4,
            batch_norm=("encoder", "decoder"),
        ),
        NetInfo(
            "spectral",
            ("encoder", "decoder"),
            None,
            heads=(VECTOR, GAUSSIAN, SPHERE),
            batch_norm=("encoder", "decoder"),
        ),
        NetInfo("lapped", ("encoder", "decoder"), None, batch_norm=("encoder", "decoder")),
        NetInfo(
            "dcgan",
            ("encoder", "decoder"),
            (CELEBA,),
            heads=(VECTOR, GAUSSIAN),
            batch_norm=("encoder", "decoder"),
        ),
        NetInfo("diffusers", ("encoder", "decoder"), None, smallest_side=8, has_options=True, package="diffusers"),
        NetInfo(
            "strided",
            ("encoder", "decoder"),
            (MNIST, CIFAR, CELEBA),
            heads=(GRID,),
            strides=dict.fromkeys((MNIST, CIFAR, CELEBA), 4),
        ),
    )
}


def _added_nets(found: Iterable[Added]) -> dict[str, NetInfo]:
    """The families that plugins add, each with the classes of its roles."""
    roles: dict[str, dict[str, Added]] = {}
    for entry in found:
        if (role := entry.options["role"]) not in ROLES:
            raise UserError(f"{entry.place}: {role!r} is no role of a network; choose from {', '.join(ROLES)}")
        if wrong := set(entry.options["heads"]) - {VECTOR, GAUSSIAN, SPHERE, GRID}:
            raise UserError(f"{entry.place}: heads: {min(wrong)!r}; choose from vector, gaussian, sphere, grid")
        roles.setdefault(entry.name, {})[role] = entry
    return {name: NetInfo(name, tuple(classes), None, added=classes) for name, classes in roles.items()}


NETS: Registry[NetInfo] = Registry(OWN_NETS, ["network"], _added_nets)
