"""Registered metrics of sets of images, against held-out and training images, in the features of a network."""

from dataclasses import replace
from functools import partial

from vaebench.metrics.metric import CONDITIONAL, FITTED, Metric
from vaebench.metrics.set_names import CLEAN, FEATURES, OFFICIAL, frechet_name, kernel_name, prd_names

FRECHET = "‖m_g - m_r‖² + tr(S_g + S_r - 2 (S_g S_r)^½)"
NEAREST = "pixel RMSE to the nearest training image, mean over"


def generation() -> list[Metric]:
    """Metrics of generated images as a set, and of reconstructed and interpolated ones, against held-out images."""
    return [entry for features in FEATURES for entry in in_features(features)] + [
        Metric(
            "nearest_train_distance",
            label="distance to training set",
            symbol=r"d_\mathrm{train}",
            unit="",
            higher_is_better=None,
            suite="generation",
            range="[0, 1]",
            formula=f"{NEAREST} generated images",
        ),
        Metric(
            "nearest_train_ratio",
            label="distance to training set, relative",
            symbol=r"d_\mathrm{train}/d_\mathrm{ref}",
            unit="",
            higher_is_better=None,
            suite="generation",
            range="[0, ∞)",
            formula=f"nearest_train_distance divided by the same {NEAREST} held-out images; near 0: memorised",
        ),
        Metric(
            "latent_nats",
            label="held-out latents",
            symbol=r"-\ln p(z)",
            unit="nats/image",
            higher_is_better=None,
            suite="generation",
            range="(-∞, ∞)",
            formula="-ln p(z) of the posterior's mode of each held-out image under the density that draws images, to "
            "compare samplers of one model; of two_stage a bound from above for a draw from the posterior, beside no "
            "other",
            applies_to=FITTED,
            long_only=True,
        ),
        *(
            Metric(
                name,
                label=f"accuracy of labels, {which}",
                symbol=rf"\mathrm{{Acc}}_\mathrm{{{mark}}}",
                unit="",
                higher_is_better=better,
                suite="generation",
                range="[0, 1]",
                formula=f"mean over the values of a label of the share of {which} images with it in which a ridge "
                "classifier of mean colours on a 16x16 grid, fitted on training images, sees it; mean over labels",
                applies_to=CONDITIONAL,
            )
            for name, which, mark, better in (
                ("condition_accuracy", "generated", "gen", True),
                ("condition_accuracy_real", "held-out", "real", None),
            )
        ),
    ]


def in_features(features: str) -> list[Metric]:
    """The set metrics of one feature network."""
    metric = partial(Metric, unit="", suite="generation", features=features)
    official, clean = features in (OFFICIAL, CLEAN), "clean-" if features == CLEAN else ""
    words, latex = features.replace("_", " "), features.replace("_", r"\ ")
    where = "" if official else f" ({words})"
    symbol, below = (f"{clean}FID", "") if official else ("FD", rf"_\mathrm{{{latex}}}")
    distance = f"{clean}FID" if official else "Fréchet distance"
    sides = {
        "": ("", "", f"{FRECHET} between generated (g) and held-out (r) images", False, True),
        "floor": (
            "floor of the ",
            "floor",
            "Fréchet distance of training from held-out images, as many as are generated: what real images reach",
            None,
            True,
        ),
        "r": ("reconstruction ", "rec", "Fréchet distance of reconstructions from their originals", False, False),
        "midpoint": (
            "interpolation ",
            "mid",
            "Fréchet distance from held-out images of decoded mid-points between the latents of random pairs of them",
            False,
            False,
        ),
    }
    entries = []
    for what, (prefix, mark, formula, better, headline) in sides.items():
        raised = rf"^\mathrm{{{mark}}}" if mark else ""
        name, text = frechet_name(features, what), f"{prefix}{distance}{where}"
        entries.append(
            metric(
                name,
                label=text,
                symbol=rf"\mathrm{{{symbol}}}{below}{raised}",
                higher_is_better=better,
                range="[0, ∞)",
                formula=formula,
                headline=headline,
                grouped=True,
            )
        )
    kernel = "unbiased MMD² with kernel (a·b/d + 1)³ between generated and held-out images, mean over 100 subsets"
    label, symbol = (f"{clean}KID", f"{clean}KID") if official else (f"kernel distance{where}", "KD")
    entries.append(
        metric(
            kernel_name(features),
            label=label,
            symbol=rf"\mathrm{{{symbol}}}{below}",
            higher_is_better=False,
            range="(-∞, ∞)",
            formula=kernel,
            grouped=True,
        )
    )
    for name, score, weighs in zip(prd_names(features), ("8", "1/8"), ("recall", "precision"), strict=True):
        curve = "on the curve of precision against recall over 20 clusters of both sets"
        entries.append(
            metric(
                name,
                label=f"PRD F{score} ({words})",
                symbol=rf"F_{{{score}}}^\mathrm{{{latex}}}",
                higher_is_better=True,
                range="[0, 1]",
                formula=f"largest F{score}, which weighs {weighs}, {curve}",
            )
        )
    if features == "clip":
        formula = "1000 MMD² with kernel exp(-‖a - b‖² / 200) of unit vectors, over all pairs"
        entries.append(
            metric(
                "cmmd",
                label="CMMD (ViT-B/32)",
                symbol=r"\mathrm{CMMD}",
                higher_is_better=False,
                range="[0, ∞)",
                formula=formula,
            )
        )
    neighbours = {
        "density": "mean number of real k-NN balls that hold a generated image, divided by k",
        "coverage": "share of real images whose k-NN ball holds a generated image",
        "precision": "share of generated images inside a k-NN ball of a real image: 1 for blurred images of one kind",
        "recall": "share of real images inside a k-NN ball of a generated image",
    }
    for name, formula in neighbours.items():
        shown = name in ("density", "coverage")
        entries.append(
            metric(
                f"{name}_{features}",
                label=f"{name} ({words})",
                symbol=rf"\mathrm{{{name.capitalize()}}}_\mathrm{{{latex}}}",
                higher_is_better=True,
                range="[0, ∞)" if name == "density" else "[0, 1]",
                formula=formula,
                headline=shown,
                long_only=not shown,
                grouped=name in ("coverage", "recall"),
            )
        )
    return [replace(entry, formula=f"{entry.formula}; {features} features") for entry in entries]
