"""Variational autoencoders whose likelihood is chosen."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vaebench.base.fingerprint import Code
from vaebench.models.catalog import ModelInfo
from vaebench.models.provider import Provider, Shape
from vaebench.models.providers.likelihoods.catalog import LIKELIHOODS, MODELS
from vaebench.models.run_spec import ModelSpec
from vaebench.models.terms.terms_code import code_with_terms

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
        return code_with_terms(spec, info, PACKAGE, LIKELIHOODS.chosen({**info.fields, **spec.config}["likelihood"]))


PROVIDER = Likelihoods()
