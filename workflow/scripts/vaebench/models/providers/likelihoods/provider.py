"""Variational autoencoders whose likelihood is chosen."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vaebench.base.fingerprint import Code
from vaebench.models.catalog import ModelInfo
from vaebench.models.networks.code import code_of_networks
from vaebench.models.provider import Provider, Shape
from vaebench.models.providers.likelihoods.catalog import LIKELIHOODS, MODELS
from vaebench.models.run_spec import ModelSpec
from vaebench.models.terms.term_fields import chosen_terms, modules_of_terms

if TYPE_CHECKING:
    from vaebench.models.interface import Autoencoder

PACKAGE = "vaebench.models.providers.likelihoods"


class Likelihoods(Provider):
    """Networks of this package, or of a user's own, under the likelihood that the field of this name says."""

    catalog: Mapping[str, ModelInfo] = MODELS

    def build(self, spec: ModelSpec, shape: Shape) -> "Autoencoder":
        """Encoder, decoder and likelihood."""
        from vaebench.models.providers.likelihoods.model import build_likelihood_vae

        return build_likelihood_vae(spec, shape)

    def code_of(self, spec: ModelSpec) -> Code:
        """The model, its likelihood's module, those of its added terms, and its networks."""
        info = MODELS[spec.model_name]
        name, options = LIKELIHOODS.chosen({**info.fields, **spec.config}["likelihood"])
        facts = f"{info.decisive()} {sorted(options.items())} {sorted(chosen_terms(spec.config).items())}"
        own = Code(frozenset({f"{PACKAGE}.model", f"{PACKAGE}.{name}"}) | modules_of_terms(spec.config), facts=facts)
        return code_of_networks(spec).joined(own)


PROVIDER = Likelihoods()
