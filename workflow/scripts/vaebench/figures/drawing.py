"""Draw the figures that the catalog lists, and write each as PNG and SVG."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure
from tqdm import tqdm

from vaebench.base.platforms import process_context
from vaebench.base.plugin_files import PluginError, blamed, plugins_in_use, use_plugins
from vaebench.figures import comparison, latent_space, pictures, training_curves
from vaebench.figures.listing import FIGURES, FORMATS
from vaebench.figures.style import look_of_vaebench, save
from vaebench.results.study import Study

DRAWINGS = {
    "reconstructions": pictures.reconstructions,
    "generations": pictures.generations,
    "conditional": pictures.conditional,
    "extremes": pictures.extremes,
    "traversals": pictures.traversals,
    "interpolations": pictures.interpolations,
    "ranks": comparison.ranks,
    "rate_distortion": comparison.rate_distortion,
    "beta_tradeoff": comparison.beta_tradeoff,
    "image_errors": comparison.image_errors,
    "latent_dimensions": latent_space.latent_dimensions,
    "aggregate_posterior": latent_space.aggregate_posterior,
    "codebook": latent_space.codebook,
    "training_curves": training_curves.training_curves,
    "cost": training_curves.cost,
}


def draw(study: Study, name: str) -> Figure:
    """One figure by its name in the catalog; where its data are missing, it shows a placeholder with the reason."""
    with look_of_vaebench():
        return _drawing(name, study)


def draw_all(study: Study, output: Path, threads: int = 1, formats: Sequence[str] = FORMATS) -> None:
    """Write every figure of the catalog to the folder `output` in the given formats: PNG (200 dpi) and SVG.

    Runs without results are named on the figures. `threads` processes draw at once.
    """
    write = partial(_write, study, Path(output), formats)
    plugins = plugins_in_use()
    context = process_context()
    with ProcessPoolExecutor(threads, mp_context=context, initializer=use_plugins, initargs=(plugins,)) as pool:
        for _ in tqdm(pool.map(write, FIGURES), total=len(FIGURES), desc="figures", unit="figure"):
            pass
    print(f"Wrote {len(FIGURES)} figures as {' and '.join(formats)} to {output}")


def _write(study: Study, output: Path, formats: Sequence[str], name: str) -> None:
    with look_of_vaebench():
        save(_drawing(name, study), output / name, formats)


def _drawing(name: str, study: Study) -> Figure:
    entry = FIGURES[name].added
    if entry is None:
        return DRAWINGS[name](study)
    with blamed(entry):
        figure = entry.load()(study)
    if not isinstance(figure, Figure):
        raise PluginError(f"{entry.place}: {name} must give a matplotlib figure")
    return figure
