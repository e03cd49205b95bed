"""pythae 0.1.2's models."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaebench.base.fingerprint import Code
from vaebench.models.catalog import ModelInfo
from vaebench.models.networks.code import code_of_networks
from vaebench.models.provider import Provider, Shape
from vaebench.models.providers.likelihoods.catalog import LIKELIHOODS
from vaebench.models.providers.pythae.catalog import DIAGNOSTICS, IN_ORIGINAL_STUDY, LIKELIHOOD, MODELS, SPECIAL
from vaebench.models.run_spec import ModelSpec

if TYPE_CHECKING:
    from vaebench.models.interface import Autoencoder

HOW_TO_OPEN = """With a `likelihood` in its config it is opened by `load_model(folder)` of
vaebench.models.storage. Else open it with
`AutoModel.load_from_hf_hub("{repository}")` of pythae, or name it in a configuration of vaebench:

```yaml
models:
  theirs: {{pretrained: {{hf_hub: {repository}}}}}
```"""
PACKAGE = "vaebench.models.providers.pythae"


class Pythae(Provider):
    """Stock models that `adopt` gives the interface; what they save, stock pythae opens, without a likelihood in it."""

    catalog: Mapping[str, ModelInfo] = MODELS
    library = "pythae"
    how_to_open = HOW_TO_OPEN

    def build(self, spec: ModelSpec, shape: Shape) -> "Autoencoder":
        """The model, with the settings of `training` that decide about its losses."""
        from vaebench.models.providers.pythae.building import build_pythae

        return build_pythae(spec, shape)

    def save(self, model: "Autoencoder", folder: Path) -> None:
        """As pythae does: `AutoModel.load_from_folder` opens it."""
        stock: Any = model
        stock.save(str(folder))

    def load(self, folder: Path, spec: ModelSpec, shape: Shape) -> "Autoencoder":
        """The model of the specification; pickled networks are opened only where it says so."""
        from vaebench.models.providers.pythae.building import PICKLED, load_trusted

        if PICKLED in spec.nets.values():
            return load_trusted(folder)
        return super().load(folder, spec, shape)

    def code_of(self, spec: ModelSpec) -> Code:
        """What all of its models share, the modules of this one and of its likelihood, and its networks."""
        special = _modules(SPECIAL[name] for name in _names(spec) if name in SPECIAL)
        facts = "\n".join(MODELS[name].decisive() for name in _names(spec))
        found = code_of_networks(spec).joined(Code(special | {f"{PACKAGE}.building"}, facts=facts))
        if spec.config.get(LIKELIHOOD) is None:
            return found
        name, options = LIKELIHOODS.chosen(spec.config[LIKELIHOOD])
        modules = _modules(["chosen_likelihood"]) | {f"vaebench.models.providers.likelihoods.{name}"}
        return found.joined(Code(modules, facts=str(sorted(options.items()))))

    def measuring_code_of(self, spec: ModelSpec) -> Code:
        """The metrics of this model's own, and the original study's arithmetic."""
        own = _modules(DIAGNOSTICS[name] for name in _names(spec) if name in DIAGNOSTICS)
        studied = set(_names(spec)) & set(IN_ORIGINAL_STUDY)
        return Code(own | _modules(["original_study"] if studied else []))


def _names(spec: ModelSpec) -> list[str]:
    """The model of a run; all where only a download can name it."""
    return [*MODELS] if spec.model is None else [spec.model]


def _modules(names: Iterable[str]) -> frozenset[str]:
    return frozenset(f"{PACKAGE}.{name}" for name in names)


PROVIDER = Pythae()
