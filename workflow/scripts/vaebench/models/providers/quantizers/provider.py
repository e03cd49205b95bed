"""Autoencoders with a quantiser of the package vector-quantize-pytorch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vaebench.base.fingerprint import Code
from vaebench.models.catalog import ModelInfo
from vaebench.models.provider import Provider, Shape
from vaebench.models.providers.quantizers.catalog import MODELS, QUANTIZERS
from vaebench.models.run_spec import ModelSpec
from vaebench.models.terms.terms_code import code_with_terms

if TYPE_CHECKING:
    from vaebench.models.interface import Autoencoder

PACKAGE = "vaebench.models.providers.quantizers"


class Quantizers(Provider):
    """Networks of this package, or of a user's own, around a quantiser that the field `quantizer` names."""

    catalog: Mapping[str, ModelInfo] = MODELS

    def build(self, spec: ModelSpec, shape: Shape) -> "Autoencoder":
        """Encoder, quantiser and decoder."""
        from vaebench.models.providers.quantizers.model import build_quantized

        return build_quantized(spec, shape)

    def code_of(self, spec: ModelSpec) -> Code:
        """The model, its quantiser's module, and its networks."""
        info = MODELS[spec.model_name]
        return code_with_terms(spec, info, PACKAGE, QUANTIZERS.chosen({**info.fields, **spec.config}["quantizer"]))


PROVIDER = Quantizers()
