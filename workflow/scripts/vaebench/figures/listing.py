"""Which figures a study has: file names, titles and where each is listed.

The Snakefile reads this module on every start, so it imports nothing heavy.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from vaebench.base.plugin_files import Added, Registry


@dataclass(frozen=True)
class FigureInfo:
    """One figure: `name` is its file name without suffix; `images` says that it shows pictures, not only lines.

    `added`: where a plugin adds it; its caption is then among the decorator's options.
    """

    name: str
    title: str
    category: str
    images: bool = False
    added: Added | None = None


_FIGURES = (
    FigureInfo("reconstructions", "The same held-out images, reconstructed", "Images", True),
    FigureInfo("generations", "Generated images", "Images", True),
    FigureInfo("conditional", "Images for each label", "Images", True),
    FigureInfo("extremes", "Best and worst reconstructions", "Images", True),
    FigureInfo("traversals", "Latent traversals, dimensions ordered by KL", "Images", True),
    FigureInfo("interpolations", "Interpolations between held-out images", "Images", True),
    FigureInfo("ranks", "Every headline metric, with intervals and ranks", "Comparison"),
    FigureInfo("rate_distortion", "Rate and distortion", "Comparison"),
    FigureInfo("beta_tradeoff", "The trade-off along beta", "Comparison"),
    FigureInfo("image_errors", "Reconstruction error, image by image", "Comparison"),
    FigureInfo("latent_dimensions", "KL per latent dimension, and active units", "Latent space"),
    FigureInfo("aggregate_posterior", "Aggregate posterior against the prior", "Latent space"),
    FigureInfo("codebook", "Codebook usage", "Latent space"),
    FigureInfo("training_curves", "Training curves", "Training"),
    FigureInfo("cost", "Throughput, memory and time", "Training"),
)


def _added_figures(found: Iterable[Added]) -> dict[str, FigureInfo]:
    return {
        entry.name: FigureInfo(
            entry.name, entry.options["title"], entry.options["category"], entry.options["images"], entry
        )
        for entry in found
    }


FIGURES: Registry[FigureInfo] = Registry({figure.name: figure for figure in _FIGURES}, ["figure"], _added_figures)
FORMATS = ("png", "svg")
