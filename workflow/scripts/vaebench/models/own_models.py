"""Classes of a user's own, named by their dotted path: `model: package.module.Class`."""

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from vaebench.base.errors import UserError
from vaebench.base.fingerprint import Code
from vaebench.base.importable import source_file
from vaebench.models.catalog import ModelInfo
from vaebench.models.provider import Provider, Shape
from vaebench.models.run_spec import ModelSpec

if TYPE_CHECKING:
    from vaebench.models.interface import Autoencoder


class _AnyPath(Mapping[str, ModelInfo]):
    """What is known of a class without importing it: its path."""

    def __getitem__(self, path: str) -> ModelInfo:
        return ModelInfo(path, nets=(), sampler="", terms=(), is_open=True)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class OwnClasses(Provider):
    """Each class derives from `interface.Autoencoder` and is called with the shape of the images and the `config`."""

    catalog = _AnyPath()

    def build(self, spec: ModelSpec, shape: Shape) -> "Autoencoder":
        """`Class((C, H, W), **config)`."""
        from vaebench.models.interface import Autoencoder

        path = spec.model_name
        module, _, attribute = path.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"the model {path} cannot be imported ({error}); give package.module.Class with the package on "
                "PYTHONPATH"
            ) from error
        if not (isinstance(found, type) and issubclass(found, Autoencoder)):
            raise UserError(f"the model {path} is no class derived from vaebench.models.interface.Autoencoder")
        try:
            model = found(tuple(shape), **spec.config)
        except TypeError as error:
            raise UserError(f"{path} cannot be built with config {dict(spec.config)}: {error}") from error
        model.input_shape = tuple(shape)
        return model

    def code_of(self, spec: ModelSpec) -> Code:
        """Its source file, and what that imports from this package."""
        file = source_file(spec.model_name.rpartition(".")[0])
        return Code(frozenset({__name__}), frozenset() if file is None else frozenset({file}))


OWN_CLASSES = OwnClasses()
