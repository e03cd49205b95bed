"""The figures of the latent space: KL per dimension, active units, the aggregate posterior, and the codebook."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from vaebench.figures.style import (
    INK,
    LINE,
    MUTED,
    PAGE,
    last_line,
    legend_columns,
    legend_height,
    log_scale,
    looks,
    missing,
    name_ticks,
    panels,
    row_height,
    wrapped,
)
from vaebench.results.study import Run, Study
from vaebench.results.words import interval

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
NORMAL_QUANTILES = (-1.6449, -0.6745, 0.0, 0.6745, 1.6449)
SHOWN_DIMS = 64
FLOOR = 1e-4  # nats; a collapsed dimension is drawn here


def _with(study: Study, key: str) -> dict[str, tuple[Run, dict[str, np.ndarray]]]:
    """The runs whose latent.npz holds `key`, with its arrays."""
    loaded = {run.name: (run, run.arrays("metrics", "latent.npz")) for run in study.runs}
    return {name: (run, arrays) for name, (run, arrays) in loaded.items() if key in arrays}


def latent_dimensions(study: Study) -> Figure:
    """Mean KL of every latent dimension, sorted; beside it how many dimensions are active."""
    found = _with(study, "kl_per_dim")
    if not found:
        return missing("KL per latent dimension", "no run has a Gaussian posterior")
    look = looks(study.runs)
    figure = Figure(figsize=(PAGE, max(1.9, 0.6 + row_height([*found], 0.18) * len(found))), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for name, (_, arrays) in found.items():
        kl = np.sort(arrays["kl_per_dim"])[::-1]
        left.plot(
            np.arange(1, len(kl) + 1), np.maximum(kl, FLOOR), color=look[name].color, ls=look[name].dash, gid=name
        )
    left.set_yscale("log")
    left.set_ylim(bottom=FLOOR)
    log_scale(left.yaxis, *left.get_ylim())
    left.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    left.set_title("KL per latent dimension")
    left.set_xlabel("dimension, from the most to the least informative")
    left.set_ylabel("KL (nats)")
    names = list(found)[::-1]
    for place, name in enumerate(names):
        active = found[name][1]["active"].astype(bool)
        right.barh(place, len(active), color="#eeeeee", height=0.62)
        right.barh(place, active.sum(), color=look[name].color, height=0.62)
        right.text(active.sum(), place, f" {active.sum()} of {len(active)}", va="center", fontsize=6.5, color=INK)
    name_ticks(right, names)
    right.grid(False)
    right.set_title("Active units")
    right.set_xlabel("dimensions with Var(μ) > 0.01")
    right.set_xlim(0, 1.22 * max(len(arrays["active"]) for _, arrays in found.values()))
    right.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure


def aggregate_quantiles(arrays: dict[str, np.ndarray], seed: int = 0) -> np.ndarray:
    """Quantiles (5, L) of z drawn once from q(z|x) for every stored x: of the aggregate posterior, per dimension.

    Without stored variances the modes themselves are used (of a deterministic encoder, and where q is no Gaussian).
    """
    z = arrays["posterior_means"].astype(np.float64)
    if "posterior_log_variances" in arrays:
        noise = np.random.default_rng(seed).standard_normal(z.shape)
        z = z + noise * np.exp(0.5 * arrays["posterior_log_variances"])
    return np.quantile(z, QUANTILES, axis=0)


def aggregate_posterior(study: Study) -> Figure:
    """Per run and latent dimension, the spread of the aggregate posterior over the spread of the prior."""
    found = _with(study, "posterior_means")
    if not found:
        return missing("Aggregate posterior against the prior", "no run has a vector latent")
    look = looks(study.runs)
    across = min(3, len(found))
    down = -(-len(found) // across)
    figure = Figure(figsize=(PAGE, (1.22 + row_height([*found], LINE)) * down + 0.5), layout="constrained")
    every = panels(figure, len(found), across, sharey=True)
    for axes, (name, (_, arrays)) in zip(every, found.items(), strict=True):
        quantiles = aggregate_quantiles(arrays)
        order = np.argsort(-arrays["kl_per_dim"]) if "kl_per_dim" in arrays else np.argsort(-np.ptp(quantiles, axis=0))
        quantiles = quantiles[:, order[:SHOWN_DIMS]]
        dims = np.arange(1, quantiles.shape[1] + 1)
        for low, high, alpha in ((0, 4, 0.45), (1, 3, 0.9)):
            axes.axhspan(NORMAL_QUANTILES[low], NORMAL_QUANTILES[high], color="#dddddd", alpha=alpha, lw=0)
        axes.vlines(dims, quantiles[0], quantiles[4], color=look[name].color, lw=0.7)
        axes.vlines(dims, quantiles[1], quantiles[3], color=look[name].color, lw=2)
        axes.plot(dims, quantiles[2], "_", color=INK, ms=2.2, mew=0.7)
        axes.set_title(wrapped(name))
        axes.grid(False)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    limit = min(6.0, max(2.5, np.abs(figure.axes[0].get_ylim()).max()))
    figure.axes[0].set_ylim(-limit, limit)
    for axes in last_line(every, across):
        axes.set_xlabel("latent dimension, by KL")
    for axes in every[::across]:
        axes.set_ylabel("z")
    key = [
        Patch(color="#d6d6d6", label="middle 50 % of the prior"),
        Patch(color="#eeeeee", label="90 % of the prior"),
        Line2D([], [], color=MUTED, lw=2, label="middle 50 % of the aggregate posterior"),
        Line2D([], [], color=MUTED, lw=0.7, label="90 %"),
    ]
    figure.legend(handles=key, loc="outside lower left", ncols=4)
    return figure


def codebook(study: Study) -> Figure:
    """How often each code of a VQ model is used, from the most to the least used one."""
    found = _with(study, "code_usage")
    if not found:
        return missing("Codebook usage", "no run is a VQ model")
    look = looks(study.runs)
    labels = {}
    for name, (_, arrays) in found.items():
        usage, perplexity = arrays["code_usage"], study.interval(name, "codebook_perplexity")
        levels, each = (f" of {len(usage)} levels", " a level") if usage.ndim > 1 else ("", "")
        told = f", perplexity {interval(perplexity)}{each}" if perplexity else ""
        labels[name] = f"{name}: {(usage > 0).sum()} of {usage.size} codes{levels}{told}"
    figure = Figure(figsize=(PAGE, 1.8 + legend_height([*labels.values()])), layout="constrained")
    axes = figure.subplots()
    for name, (_, arrays) in found.items():
        usage = np.sort(arrays["code_usage"].ravel())[::-1]  # of all levels
        share = usage / max(1, usage.sum())
        used = int((usage > 0).sum())
        axes.plot(
            np.arange(1, used + 1),
            100 * share[:used],
            color=look[name].color,
            ls=look[name].dash,
            gid=name,
            label=labels[name],
        )
        axes.axvline(len(usage), color=MUTED, lw=0.6, ls=(0, (2, 2)))
    axes.set_yscale("log")
    log_scale(axes.yaxis, *axes.get_ylim())
    figure.legend(loc="outside lower left", ncols=legend_columns([*labels.values()]))
    axes.set_title("Codebook usage")
    axes.set_xlabel("code, from the most to the least used")
    axes.set_ylabel("share of positions (%)")
    return figure
