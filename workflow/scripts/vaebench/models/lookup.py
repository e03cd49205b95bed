"""The models that a configuration can name, by provider.

Providers are found in four places: the modules in `models/providers`, the entry points `vaebench.models` of installed
packages, each a `Provider`, classes that plugins add, and classes by their dotted path. Nothing here imports torch.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules

from vaebench.base.errors import UserError
from vaebench.base.fingerprint import Code
from vaebench.models import providers
from vaebench.models.catalog import ModelInfo
from vaebench.models.label_names import FIELD, label_names
from vaebench.models.own_models import OWN_CLASSES
from vaebench.models.provider import Provider
from vaebench.models.run_spec import ModelSpec

GROUP = "vaebench.models"
# Functions of models and posteriors that no training of the package's own models calls (tests/unit/test_zoo.py trains
# all of them without): an edit of one measures and samples anew, and leaves what is trained alone.
AFTER_TRAINING = frozenset(
    {
        "_drawn",
        "_log_prior",
        "_log_ratio",
        "between",
        "codebook_size",
        "codes",
        "commitment",
        "diagnostics",
        "draw",
        "draw_prior",
        "embed_codes",
        "head",
        "kl",
        "kl_per_dimension",
        "latent_shape",
        "latents_of",
        "original_study",
        "own_nats",
        "posteriors_of",
        "priors",
        "sample",
        "spread",
        "standard_normal",
        "why_no_rate",
    }
)


def provider_of(model: str) -> Provider:
    """The provider of a model; raises `UserError` for a name that none has, or that two have."""
    found = [provider for provider in (*found_providers(), OWN_CLASSES) if model in provider.catalog]
    if not found:
        known = ", ".join(Models())
        raise UserError(f"there is no model {model!r}; choose from {known}, a dotted path, or name its file in plugins")
    if len(found) > 1:
        raise UserError(f"two providers offer a model {model!r}; rename the one of the plugin")
    return found[0]


def info_of(model: str) -> ModelInfo:
    """What is known of a model; raises `UserError` for a name that no provider has."""
    return provider_of(model).catalog[model]


def trained_on_by(spec: ModelSpec) -> tuple[str, ...]:
    """The fixed networks whose weights a training of the run needs."""
    return () if spec.pretrained is not None else info_of(spec.model_name).of(spec.config).trained_on


def conditioning_labels(spec: ModelSpec) -> tuple[str, ...]:
    """The labels that the run's model is given beside the images; none for most, and for a pretrained one."""
    conditional = spec.model is not None and FIELD in info_of(spec.model).fields
    return label_names(spec.config) if conditional else ()


def code_of_run(spec: ModelSpec, measured: bool = False) -> Code:
    """The code that decides the results of a run's training, and with `measured` also those of its evaluation.

    A pretrained model without a name may turn out to be any of pythae's.
    """
    provider = provider_of("VAE" if spec.model is None else spec.model)
    code = provider.code_of(spec)
    return code.joined(provider.measuring_code_of(spec)) if measured else code


def code_of_training(spec: ModelSpec) -> Code:
    """The code that decides the results of a run's training.

    A provider that is installed beside the package may train by any function, so that all of them count.
    """
    of_the_package = type(provider_of(spec.model_name)).__module__.startswith(f"{providers.__name__}.")
    return replace(code_of_run(spec), uncalled=AFTER_TRAINING if of_the_package else frozenset())


class Models(Mapping[str, ModelInfo]):
    """What is known of every model, by name; a class that is named by its dotted path is found, but not listed."""

    def __getitem__(self, name: str) -> ModelInfo:
        try:
            return info_of(name)
        except UserError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return (name for provider in (*found_providers(), OWN_CLASSES) for name in provider.catalog)

    def __len__(self) -> int:
        return sum(len(provider.catalog) for provider in (*found_providers(), OWN_CLASSES))


MODELS = Models()


@cache
def found_providers() -> tuple[Provider, ...]:
    """This package's providers and those of installed packages, in the order of their names."""
    found = []
    for module in sorted(iter_modules(providers.__path__), key=lambda module: module.name):
        name = f"{providers.__name__}.{module.name}"
        found.append(import_module(f"{name}.provider" if module.ispkg else name).PROVIDER)
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        provider = entry.load()
        if not isinstance(provider, Provider):
            raise UserError(f"the entry point {entry.name} of {GROUP} ({entry.value}) is no Provider")
        found.append(provider)
    return tuple(found)
