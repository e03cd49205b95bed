"""Where models come from: a provider knows some, and builds, saves and loads them.

The Snakefile reads the catalogs of all providers on every start: a provider's module imports neither torch nor the
packages that its models come from before they are needed.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaebench.base.errors import UserError
from vaebench.base.fingerprint import Code
from vaebench.base.formats import read_json
from vaebench.models.catalog import ModelInfo
from vaebench.models.run_spec import ModelSpec

if TYPE_CHECKING:
    from vaebench.models.interface import Autoencoder

Shape = tuple[int, int, int]
SPECIFICATION = "vaebench.json"  # in a model's folder: what `load` builds it from
WEIGHTS = "model.pt"


class Provider(ABC):
    """A source of models.

    catalog: what it offers, by the name that the configuration has. library: the name of the models' library on the
    Hugging Face Hub; how_to_open: for a model card, how it opens a model of the repository {repository}.
    """

    catalog: Mapping[str, ModelInfo]
    library: str = "vaebench"
    how_to_open: str = "Download it, and open it with `load_model(folder)` of vaebench.models.storage."

    @abstractmethod
    def build(self, spec: ModelSpec, shape: Shape) -> "Autoencoder":
        """The model of a run's specification for images of `shape` (C, H, W).

        Weights come from torch's global random numbers. Raises `UserError` for a specification that the model cannot
        have.
        """

    @abstractmethod
    def code_of(self, spec: ModelSpec) -> Code:
        """The code that decides the run's results: the run becomes stale when this code is edited, and only then."""

    def measuring_code_of(self, spec: ModelSpec) -> Code:
        """The code that only an evaluation of the run's model uses, such as metrics of its own."""
        return Code()

    def save(self, model: "Autoencoder", folder: Path) -> None:
        """Write the model's tensors into an empty folder."""
        import torch

        torch.save(model.live_state(), folder / WEIGHTS)

    def load(self, folder: Path, spec: ModelSpec, shape: Shape) -> "Autoencoder":
        """The model that was saved in `folder`; no code in it is executed. Raises `UserError` where that fails."""
        import torch

        from vaebench.models.state import load_weights, restore_model

        with torch.random.fork_rng(devices=[]):
            model = self.build(spec, shape)
        restore_model(model, load_weights(folder / WEIGHTS))
        return model


def read_specification(folder: Path) -> dict[str, Any] | None:
    """What `vaebench.json` in a model's folder says, `spec` and `input_shape`; None where there is none."""
    path = folder / SPECIFICATION
    try:
        return read_json("model", path) if path.is_file() else None
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error})") from error
