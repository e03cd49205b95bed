"""The figures that show pictures: reconstructions, generated images, extremes, traversals and interpolations."""

from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure

from vaebench.figures.sheets import Block, Row, blocks, sheet
from vaebench.figures.style import looks, missing
from vaebench.metrics.registry import METRICS
from vaebench.results.study import Study
from vaebench.results.words import failure_of, metric_line, metric_words, number, sampler_words

COLUMNS = 10
LABELLED_COLUMNS = 8
SHOWN_EXTREMES = 4


def reconstructions(study: Study) -> Figure:
    """Held-out originals on top, then one row per run: the same images, in the same order, for all of them."""
    shown = {run.name: run.arrays("showcase.npz") for run in study.runs}
    reference = next((arrays for arrays in shown.values() if "originals" in arrays), None)
    if reference is None:
        return missing("Reconstructions", "no run has written showcase.npz")
    look = looks(study.runs)
    rows = [Row("originals", "held-out", reference["originals"])]
    for run in study.runs:
        arrays = shown[run.name]
        same = "index" in arrays and np.array_equal(arrays["index"], reference["index"])
        reason = failure_of(run, "showcase.npz") if not arrays else "shows other images than the first run"
        images = arrays["reconstructions"] if same else None
        rows.append(Row(run.name, metric_line(study, run, "mse"), images, look[run.name], reason))
    return sheet(rows, min(COLUMNS, len(reference["index"])))


def generations(study: Study) -> Figure:
    """The first generated images of every run, one row per run and sampler."""
    look = looks(study.runs)
    quality = generation_metric(study)
    rows = []
    for run in study.runs:
        for label in run.samplers:
            value = study.interval_by(run, label, quality) if quality else None
            drawn_by = sampler_words(run.drawn_by(label)) or label
            detail = f"{drawn_by}\n{metric_words(quality, value)}" if quality and value else drawn_by
            name = run.name if label == run.samplers[0] else ""
            reason = failure_of(run, "samples.npz")
            rows.append(Row(name, detail, run.generated(COLUMNS, label), look[run.name], reason))
    if all(row.images is None for row in rows):
        return missing("Generated images", "no run has written samples.npz")
    return sheet(rows, COLUMNS)


def conditional(study: Study) -> Figure:
    """What each conditional run draws: a row for each of its labels, a latent a column; of codes generated images."""
    look = looks(study.runs)
    parts = []
    for run in study.runs:
        arrays = run.arrays("showcase.npz")
        images = arrays.get("conditional")
        if images is None and "conditional_rows" in arrays:
            images = run.generated_for(arrays["conditional_rows"], LABELLED_COLUMNS)
        if images is not None:
            labels = [str(label) for label in arrays["conditional_labels"]]
            parts.append(Block(run.name, images, labels, (), look[run.name]))
    if not parts:
        return missing("Images for each label", "no run is conditional")
    return blocks(parts, 2)


def generation_metric(study: Study) -> str | None:
    """The first headline metric of generated images that this study has: FID where there is one."""
    names = [name for name, metric in METRICS.items() if metric.suite == "generation" and metric.headline]
    preferred = sorted(names, key=lambda name: name != "fid")
    return next((name for name in preferred if study.has(name)), None)


def extremes(study: Study) -> Figure:
    """For every run the held-out images with the lowest and the highest MSE, above their reconstructions."""
    look = looks(study.runs)
    rows = []
    for run in study.runs:
        arrays = run.arrays("metrics", "extremes.npz")
        if not arrays:
            rows.append(Row(run.name, "", None, look[run.name], failure_of(run, "metrics/extremes.npz")))
            continue
        pairs = {
            side: [arrays[f"{end}_{side}"][:SHOWN_EXTREMES] for end in ("best", "worst")]
            for side in ("original", "reconstruction")
        }
        rows.append(Row(run.name, "originals", np.concatenate(pairs["original"]), look[run.name]))
        rows.append(Row("", "reconstructions", np.concatenate(pairs["reconstruction"]), look[run.name]))
    if all(row.images is None for row in rows):
        return missing("Best and worst reconstructions", "no run has written metrics/extremes.npz")
    return sheet(rows, 2 * SHOWN_EXTREMES, SHOWN_EXTREMES, ("lowest MSE", "highest MSE"))


def traversals(study: Study) -> Figure:
    """One latent dimension changed at a time around one held-out image; the dimensions with the most KL on top."""
    look = looks(study.runs)
    found = {run: run.arrays("showcase.npz") for run in study.runs}
    found = {run: arrays for run, arrays in found.items() if arrays.get("traversal", np.empty(0)).size}
    across = 2 if len(found) <= 8 else 3
    shown = max(3, 16 // max(1, -(-len(found) // across)))
    parts = []
    for run, arrays in found.items():
        kl = run.arrays("metrics", "latent.npz").get("kl_per_dim")
        order = np.arange(len(arrays["traversal_dims"])) if kl is None else np.argsort(-kl[arrays["traversal_dims"]])
        order = order[:shown]
        dims = [int(dim) for dim in arrays["traversal_dims"][order]]
        labels = [f"z{dim}" + (f"   {number(kl[dim], 2)} nats" if kl is not None else "") for dim in dims]
        steps = [f"{value:+.2g}" for value in arrays["traversal_values"]]
        parts.append(Block(run.name, arrays["traversal"][order], labels, steps, look[run.name]))
    if not parts:
        return missing("Latent traversals", "no run with a vector latent has written traversals to showcase.npz")
    return blocks(parts, across)


def interpolations(study: Study) -> Figure:
    """Straight lines in latent space between the same pairs of held-out images, one row per run."""
    look = looks(study.runs)
    found = {run.name: run.arrays("showcase.npz").get("interpolation", np.empty(0)) for run in study.runs}
    found = {name: images for name, images in found.items() if images.size}
    if not found:
        return missing("Interpolations", "no run has written interpolations to showcase.npz")
    shapes = {images.shape for images in found.values()}
    if len(shapes) > 1:
        return missing("Interpolations", f"the runs differ in pairs, steps or image size: {_listing(shapes)}")
    stacked = np.stack(list(found.values()))
    names, row_looks = list(found), [look[name] for name in found]
    parts = [
        Block(f"pair {pair + 1}", stacked[:, pair], names if pair % 2 == 0 else [""] * len(names), (), None, row_looks)
        for pair in range(stacked.shape[1])
    ]
    return blocks(parts, 2)


def _listing(shapes: Iterable[tuple[int, ...]]) -> str:
    return ", ".join(sorted("x".join(map(str, shape)) for shape in shapes))
