"""Which figures a study has: file names, titles and where each is listed. Imports nothing, for the Snakefile."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FigureInfo:
    """One figure: `name` is its file name without suffix; `images` says that it shows pictures, not only lines."""

    name: str
    title: str
    category: str
    images: bool = False


_FIGURES = (
    FigureInfo("reconstructions", "The same held-out images, reconstructed", "Images", True),
    FigureInfo("generations", "Generated images", "Images", True),
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

FIGURES = {figure.name: figure for figure in _FIGURES}
FORMATS = ("png", "svg")
