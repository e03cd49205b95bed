"""Autoencoders whose code is a point, beside those of pythae."""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from vaebench.base.fingerprint import Code
from vaebench.models.catalog import ModelInfo
from vaebench.models.networks.code import code_of_networks
from vaebench.models.provider import Provider, Shape
from vaebench.models.providers.deterministic.catalog import MODELS, MODULES
from vaebench.models.run_spec import ModelSpec

if TYPE_CHECKING:
    from vaebench.models.interface import Autoencoder

PACKAGE = "vaebench.models.providers.deterministic"


class Deterministic(Provider):
    """Networks of this package, or of a user's own, trained by the losses of the papers."""

    catalog: Mapping[str, ModelInfo] = MODELS

    def build(self, spec: ModelSpec, shape: Shape) -> "Autoencoder":
        """Encoder and decoder with what the model adds."""
        from vaebench.models.networks.families import build_around

        fields, networks = build_around(spec, MODELS[spec.model_name], shape)
        module = import_module(f"{PACKAGE}.{MODULES[spec.model_name]}")
        model: Autoencoder = module.build(spec.model_name, shape, (networks["encoder"], networks["decoder"]), fields)
        return model

    def code_of(self, spec: ModelSpec) -> Code:
        """The model's module and its networks."""
        own = Code(frozenset({f"{PACKAGE}.{MODULES[spec.model_name]}"}), facts=MODELS[spec.model_name].decisive())
        return code_of_networks(spec).joined(own)


PROVIDER = Deterministic()
