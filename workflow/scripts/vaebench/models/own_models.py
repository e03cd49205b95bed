"""A user's own classes: added by a plugin, or named by their dotted path, `model: package.module.Class`."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from vaebench.base.errors import UserError
from vaebench.base.fingerprint import Code
from vaebench.base.importable import import_class, source_file
from vaebench.base.plugin_files import Added, added
from vaebench.models.catalog import ModelInfo
from vaebench.models.provider import Provider, Shape
from vaebench.models.run_spec import ModelSpec

if TYPE_CHECKING:
    from vaebench.models.interface import Autoencoder


class _OwnClasses(Mapping[str, ModelInfo]):
    """What is known of a class without importing it: its name. A class named by its path is found, but not listed."""

    def __getitem__(self, name: str) -> ModelInfo:
        if "." not in name and name not in list(self):
            raise KeyError(name)
        return ModelInfo(name, nets=(), sampler="", terms=(), is_open=True)

    def __iter__(self) -> Iterator[str]:
        return (entry.name for entry in added("model"))

    def __len__(self) -> int:
        return len(added("model"))


class OwnClasses(Provider):
    """Classes that plugins add, and those named by a path, which derive from `interface.Autoencoder`.

    Each is called with the shape of the images and the fields of `config`, and brings its own networks.
    """

    catalog = _OwnClasses()

    def build(self, spec: ModelSpec, shape: Shape) -> "Autoencoder":
        """`Class((C, H, W), **config)`."""
        name = spec.model_name
        try:
            model = own_class(name)(shape, **spec.config)
        except TypeError as error:
            raise UserError(f"{name} cannot be built with config {dict(spec.config)}: {error}") from error
        model.input_shape = shape
        return model

    def code_of(self, spec: ModelSpec) -> Code:
        """Its source file, and what that imports from this package."""
        name = spec.model_name
        file = source_file(name.rpartition(".")[0]) if "." in name else _added(name).file
        return Code(frozenset({__name__}), frozenset() if file is None else frozenset({file}))


def own_class(name: str) -> "Callable[..., Autoencoder]":
    """The class itself, imported; `UserError` where it cannot be imported or is no model."""
    from vaebench.models.interface import Autoencoder

    found = import_class(name, "model") if "." in name else _added(name).load()
    if not (isinstance(found, type) and issubclass(found, Autoencoder)):
        raise UserError(f"the model {name} is no class derived from vaebench.models.interface.Autoencoder")
    return found


def _added(name: str) -> Added:
    return next(entry for entry in added("model") if entry.name == name)


OWN_CLASSES = OwnClasses()
