"""A run's specification made into a pythae model."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from pythae import models as pythae_models
from pythae.models.base import BaseAEConfig
from torch import nn

from vaebench.base.errors import UserError
from vaebench.base.plain_tensors import one_line
from vaebench.models.networks.families import build
from vaebench.models.providers.pythae.catalog import DOWNSAMPLING, LIKELIHOOD, MODELS, ONLY_PRETRAINED, OWN_FIELDS
from vaebench.models.providers.pythae.model import PythaeModel, adopt
from vaebench.models.run_spec import ModelSpec, Named, RunSpec

# Names of networks that only imported models have: pythae's own multi-layer perceptron, and one kept as a pickle.
DEFAULT, PICKLED = "default", "pickled"
LATENT_DISCRIMINATOR = "Adversarial_AE"  # its discriminator judges latents; pythae brings one, a user may bring another


def build_pythae(spec: ModelSpec, shape: tuple[int, int, int]) -> PythaeModel:
    """The model of a run's specification for images of `shape` (C, H, W).

    Raises `UserError` for an unknown field or network, and for values that pythae refuses.
    """
    name = spec.model_name
    config = build_config(name, spec.config, shape)
    networks = {role: build_network(role, _network(spec, role), name, config) for role in roles_of(name)}
    try:
        model = adopt(getattr(pythae_models, name)(config, **networks))
    except (AssertionError, AttributeError, TypeError, RuntimeError, ZeroDivisionError) as error:
        raise UserError(f"{name} cannot be built with config {dict(spec.config)}: {one_line(error)}") from error
    if spec.config.get(LIKELIHOOD) is not None:
        import_module("vaebench.models.providers.pythae.chosen_likelihood").take_likelihood(
            model, spec.config[LIKELIHOOD]
        )
    model.device = torch.device("cpu")
    if isinstance(spec, RunSpec):
        model.as_stock = spec.training.gradients == "pythae"
        model.vq_scale = spec.training.vq_scale
    return model


def roles_of(model: str) -> tuple[str, ...]:
    """The networks that the class `model` takes: encoder, decoder, and perhaps a discriminator."""
    roles = MODELS[model].nets
    return (*roles, "discriminator") if model == LATENT_DISCRIMINATOR else roles


def build_network(role: str, network: Named, model: str, config: BaseAEConfig) -> nn.Module | None:
    """The network (see `networks.families.build`); None, pythae's sign for its own, when it is `DEFAULT`."""
    return None if network.name == DEFAULT else build(role, network.name, MODELS[model], config, network.options)


def build_config(name: str, fields: Mapping[str, Any], input_shape: tuple[int, int, int]) -> BaseAEConfig:
    """pythae's configuration object, with `downsampling` for the networks, which pythae does not save.

    Unlike pythae it refuses fields that the model does not have.
    """
    if name not in MODELS:
        raise UserError(f"{name!r} is no model of pythae 0.1.2; choose from {', '.join(MODELS)}")
    info = MODELS[name]
    for field, value in fields.items():
        if field not in info.fields:
            raise UserError(f"{name} has no field {field!r}; it has {', '.join(info.fields)}")
        reason = None if (name, field, value) in ONLY_PRETRAINED else info.check(field, value)
        if reason:
            raise UserError(f"{name}: {field}: {reason}")
    if reason := info.why_not_together(fields):
        raise UserError(f"{name}: {reason}")
    config_class = getattr(pythae_models, f"{name}Config", None) or getattr(pythae_models, f"{name}_Config")
    try:
        config = config_class(
            input_dim=tuple(input_shape), **{key: value for key, value in fields.items() if key not in OWN_FIELDS}
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} cannot have the config {dict(fields)}: {one_line(error)}") from error
    config.downsampling = fields.get(DOWNSAMPLING)
    return config


def load_trusted(folder: Path) -> PythaeModel:
    """The model as pythae loads it, which runs the code of its pickles."""
    return adopt(pythae_models.AutoModel.load_from_folder(str(folder)))


def _network(spec: ModelSpec, role: str) -> Named:
    network = spec.networks.get(role)
    if network is None and role == "discriminator" and spec.model == LATENT_DISCRIMINATOR:
        return Named(DEFAULT)
    if network is None:
        raise UserError(f"{spec.run}: {spec.model} needs a network under nets.{role}")
    return network
