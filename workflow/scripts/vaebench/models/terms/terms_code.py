"""Which code decides what becomes of a model that is trained on added terms."""

from collections.abc import Mapping
from typing import Any

from vaebench.base.fingerprint import Code
from vaebench.models.catalog import ModelInfo
from vaebench.models.networks.code import code_of_networks
from vaebench.models.run_spec import ModelSpec
from vaebench.models.terms.term_fields import MODULES, chosen_terms


def code_with_terms(spec: ModelSpec, info: ModelInfo, package: str, part: tuple[str, Mapping[str, Any]]) -> Code:
    """The code of a run whose model is in the module `model` of a provider's package.

    part: the module there that the configuration chooses, by its name, and the options it is given.
    """
    name, options = part
    terms = chosen_terms(spec.config)
    facts = f"{info.decisive()} {sorted(options.items())} {sorted(terms.items())}"
    modules = {f"{package}.model", f"{package}.{name}", *(MODULES[term] for term in terms)}
    return code_of_networks(spec).joined(Code(frozenset(modules), facts=facts))
