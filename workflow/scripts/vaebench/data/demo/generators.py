"""What `dataset.generator` can name: makers of whole data sets, and what the report says of their images.

The Snakefile reads this module on every start, so it imports nothing heavy.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from vaebench.base.plugin_files import Added, Registry


@dataclass(frozen=True)
class Generator:
    """One maker of images: `notice` is what the reader of a report must know of them; `added`: by a plugin."""

    name: str
    notice: str
    added: Added | None = None


_GENERATORS = (
    Generator(
        "demo_faces",
        "The faces on this page are synthetic: drawn by a generator network with its noise scaled by 0.7, no "
        "photograph of a person among them.",
    ),
    Generator("mnist", "The images on this page are handwritten digits of MNIST."),
    Generator(
        "fashion_mnist",
        "The images on this page are photographs of clothes from Fashion-MNIST (Zalando SE, MIT licence).",
    ),
)


def _added_generators(found: Iterable[Added]) -> dict[str, Generator]:
    return {entry.name: Generator(entry.name, entry.options["notice"], entry) for entry in found}


GENERATORS: Registry[Generator] = Registry({made.name: made for made in _GENERATORS}, ["data_set"], _added_generators)
