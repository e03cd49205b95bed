"""Encoders, decoders and discriminators by name: pythae's benchmark networks, our families, or a user's class."""

import importlib
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from torch import nn

from vaebench.base.errors import UserError
from vaebench.base.importable import import_class
from vaebench.models.catalog import CELEBA, CIFAR, GAUSSIAN, GRID, MNIST, NETS, SPHERE, VECTOR, ModelInfo
from vaebench.models.networks.code import MODULES
from vaebench.models.run_spec import ModelSpec


def build(role: str, name: str, model: ModelInfo, config: Any, options: Mapping[str, Any] = {}) -> nn.Module:
    """The network `name` as the `role` (encoder, decoder, discriminator) of `model`, with the options of its family.

    `config` is an object such as pythae's configurations with `input_dim` (C, H, W) and `latent_dim`. `name` is a
    family of the catalog, or a dotted path package.module.Class; classes of the user's own are called with `config`.
    Weights come from torch's global random numbers. Raises `UserError` for a network that is unknown or does not fit.
    """
    if "." in name:
        return import_network(name)(config)
    unknown = f"no such network; there are {', '.join(NETS)}, and those of plugins in use (docs/adding-a-network.md)"
    reason = NETS[name].check(role, model, config.input_dim, vars(config), options) if name in NETS else unknown
    if reason:
        raise UserError(f"{role} {name} for {model.name}: {reason}")
    if role in NETS[name].added:
        return NETS[name].added[role].load()(config)
    head = model.head(vars(config))
    if name in MODULES:  # by name: an import statement would make each part of the fingerprint of all
        with_options = (options,) if NETS[name].has_options else ()
        return importlib.import_module(MODULES[name]).BUILD(role, head, config, *with_options)
    return _benchmark_class(role, name, head, tuple(config.input_dim))(config)


def build_around(
    spec: ModelSpec, info: ModelInfo, shape: tuple[int, int, int], widths: Mapping[str, int] | None = None
) -> tuple[dict[str, Any], dict[str, nn.Module]]:
    """The fields of a run's model, defaults among them, and its networks by role, for images of `shape` (C, H, W).

    widths: by role, how many numbers or channels its latents have; `latent_dim` where left out. Raises `UserError` for
    fields and networks that cannot be.
    """
    for field, value in spec.config.items():
        if field not in info.fields:
            raise UserError(f"{info.name} has no field {field!r}; it has {', '.join(info.fields)}")
        if reason := info.check(field, value):
            raise UserError(f"{info.name}: {field}: {reason}")
    fields = {**info.fields, **spec.config}
    networks = {}
    for role in info.nets:
        network = spec.networks.get(role)
        if network is None:
            raise UserError(f"{spec.run}: {info.name} needs a network under nets.{role}")
        width = {"latent_dim": (widths or {}).get(role, fields["latent_dim"])}
        config = SimpleNamespace(input_dim=tuple(shape), **{**fields, **width})
        networks[role] = build(role, network.name, info, config, network.options)
    return fields, networks


def import_network(path: str) -> type[nn.Module]:
    """The class of a network at a dotted path; `UserError` when it cannot be imported."""
    found: type[nn.Module] = import_class(path, "network")
    return found


def _benchmark_class(role: str, family: str, head: str, shape: tuple[int, int, int]) -> type[nn.Module]:
    """The class of pythae.models.nn.benchmarks, whose names tell role, family, latent and data set."""
    data_set = {MNIST: "mnist", CIFAR: "cifar", CELEBA: "celeba"}[shape]
    kind = {"convnet": "Conv", "resnet": "ResNet"}[family]
    latent = {VECTOR: "AE", GAUSSIAN: "VAE", SPHERE: "SVAE", GRID: "VQVAE"}[head]
    if role == "decoder" and head != GRID:
        latent = "AE"
    middle = "" if role == "discriminator" else f"_{latent}"
    module = importlib.import_module(f"pythae.models.nn.benchmarks.{data_set}")
    return getattr(module, f"{role.capitalize()}_{kind}{middle}_{data_set.upper()}")
