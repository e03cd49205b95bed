"""pythae 0.1.2's models."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vaebench.models.catalog import ModelInfo
from vaebench.models.networks.code import code_of_networks
from vaebench.models.provider import Code, Provider, Shape
from vaebench.models.providers.pythae.catalog import DIAGNOSTICS, IN_ORIGINAL_STUDY, MODELS, SPECIAL

if TYPE_CHECKING:
    from vaebench.models.interface import Autoencoder

HOW_TO_OPEN = """Open it with
`AutoModel.load_from_hf_hub("{repository}")` of pythae, or name it in a configuration of vaebench:

```yaml
models:
  theirs: {{pretrained: {{hf_hub: {repository}}}}}
```"""
PACKAGE = "vaebench.models.providers.pythae"


class Pythae(Provider):
    """Stock models that `adopt` gives the interface; what they save, stock pythae opens."""

    catalog: Mapping[str, ModelInfo] = MODELS
    library = "pythae"
    how_to_open = HOW_TO_OPEN

    def build(self, spec: Mapping, shape: Shape) -> "Autoencoder":
        """The model, with the settings of `training` that decide about its losses."""
        from vaebench.models.providers.pythae.building import build_pythae

        return build_pythae(spec, shape)

    def save(self, model: "Autoencoder", folder: Path) -> None:
        """As pythae does: `AutoModel.load_from_folder` opens it."""
        model.save(str(folder))

    def load(self, folder: Path, spec: Mapping, shape: Shape) -> "Autoencoder":
        """From the specification; pickled networks are opened only where it says so."""
        from vaebench.models.providers.pythae.building import PICKLED, load_trusted

        if PICKLED in spec["nets"].values():
            return load_trusted(folder)
        return super().load(folder, spec, shape)

    def code_of(self, spec: Mapping) -> Code:
        """What all of its models share, the module of this one, and its networks."""
        names = MODELS if spec["model"] is None else [spec["model"]]
        special = {f"{PACKAGE}.{SPECIAL[name]}" for name in names if name in SPECIAL}
        measuring = {f"{PACKAGE}.{DIAGNOSTICS[name]}" for name in names if name in DIAGNOSTICS}
        if set(names) & set(IN_ORIGINAL_STUDY):
            measuring.add(f"{PACKAGE}.original_study")
        facts = "\n".join(MODELS[name].decisive() for name in names)
        own = Code(frozenset({f"{PACKAGE}.building", *special}), facts=facts, measuring=frozenset(measuring))
        return code_of_networks(spec).joined(own)


PROVIDER = Pythae()
