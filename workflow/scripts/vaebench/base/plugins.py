"""Decorators that mark what a user's own file adds to the package: `plugins:` in the config names the file.

Each marks one function or class and returns it unchanged. What a file adds is read off its source, without importing
it (`plugin_files`); so names and options are written as literals. docs/adding-*.md has an example of each.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypedDict, TypeVar, Unpack

Marked = TypeVar("Marked")


class Mark(Protocol):
    """What a decorator's call gives: it takes a function or class and returns it unchanged."""

    def __call__(self, marked: Marked, /) -> Marked: ...


class Notation(TypedDict, total=False):
    """How a metric is written, where there is more to say than its label.

    symbol: LaTeX, without dollar signs, the label where it is not given; unit: empty for none; range: the values it can
    take; headline: shown in comparison.csv.
    """

    symbol: str
    unit: str
    range: str
    headline: bool


def metric(
    name: str,
    *,
    label: str,
    formula: str,
    higher_is_better: bool | None,
    of: str = "pairs",
    **notation: Unpack[Notation],
) -> Mark:
    """A metric; its arguments and value depend on `of`.

    "pairs": an image and its reconstruction, float32 (B, C, H, W) in [0, 1] twice -> (B,), one number per image.
    "sets": features of generated and of held-out images, float64 (n, D) and (m, D) -> one number, for each feature
    network. "latents": latent means of the held-out images, float64 (n, L) -> one number.

    label: for axes and headings; formula: exact, in plain text; higher_is_better: None when neither direction is.
    """
    return _unchanged


def feature_network(name: str, *, smallest: int = 1, weights: Mapping[str, Any] | None = None) -> Mark:
    """A function (weights: Path | None, device) that gives a function images (B, C, H, W) in [0, 1] -> features (B, D).

    smallest: side in pixels below which images are too small; weights: the default of `weights.{name}` in the config,
    such as {"source": [{"url": ...}], "sha256": ...}, None for a network without a file of weights.
    """
    return _unchanged


def network(name: str, role: str, *, heads: tuple[str, ...] = ("vector", "gaussian"), smallest: int = 1) -> Mark:
    """The class of an encoder, a decoder or a discriminator, called with pythae's configuration of the model.

    heads: for which kinds of latents, of "vector", "gaussian", "sphere", "grid"; smallest: side in pixels of the
    smallest images.
    """
    return _unchanged


def model(name: str) -> Mark:
    """A class derived from `models.interface.Autoencoder`, called with (C, H, W) and the fields of `config`."""
    return _unchanged


def sampler(name: str) -> Mark:
    """A function of a `sampling.request.Request` that gives latents (count, ...) as the model's decoder takes them."""
    return _unchanged


def data_set(name: str, *, notice: str = "") -> Mark:
    """A function that yields (file name, uint8 pixels (H, W) or (H, W, 3), "train", "eval" or "test") per image.

    notice: what the report says of where the images come from.
    """
    return _unchanged


def table(name: str, *, title: str) -> Mark:
    """A function of a `results.study.Study` that gives a pandas DataFrame."""
    return _unchanged


def figure(name: str, *, title: str, caption: str = "", category: str = "Comparison", images: bool = False) -> Mark:
    """A function of a `results.study.Study` that gives a matplotlib figure.

    caption: what the report says below it; images: whether it shows pictures, so that the report embeds pixels
    instead of lines.
    """
    return _unchanged


def _unchanged(marked: Marked) -> Marked:
    return marked


KINDS: dict[str, Callable[..., Mark]] = {
    "metric": metric,
    "feature_network": feature_network,
    "network": network,
    "model": model,
    "sampler": sampler,
    "data_set": data_set,
    "table": table,
    "figure": figure,
}
# Options that say how something is shown: they cannot change what a model is trained, sampled or measured to.
SHOWN = frozenset(
    {
        "caption",
        "category",
        "formula",
        "headline",
        "higher_is_better",
        "label",
        "notice",
        "range",
        "symbol",
        "title",
        "unit",
    }
)
