"""Registered metrics of generated images as a set, against held-out and training images."""

from vaebench.metrics.metric import Metric


def generation() -> list[Metric]:
    """Metrics of generated images as a set, against held-out images, in a named feature space."""

    def metric(name: str, label: str, symbol: str, better: bool, values: str, formula: str, headline: bool) -> Metric:
        return Metric(name, label, symbol, "", better, "generation", values, formula, headline=headline)

    entries = []
    for features in ("alexnet", "vgg16", "inception"):
        standard = features == "inception"
        where = rf"_\mathrm{{{features}}}"
        frechet, kernel = ("fid", "kid") if standard else (f"fd_{features}", f"kd_{features}")
        entries += [
            metric(
                frechet,
                "FID" if standard else f"Fréchet distance ({features})",
                r"\mathrm{FID}" if standard else r"\mathrm{FD}" + where,
                False,
                "[0, ∞)",
                f"‖m_g - m_r‖² + tr(S_g + S_r - 2 (S_g S_r)^½) of {features} features",
                True,
            ),
            metric(
                kernel,
                "KID" if standard else f"kernel distance ({features})",
                r"\mathrm{KID}" if standard else r"\mathrm{KD}" + where,
                False,
                "(-∞, ∞)",
                f"unbiased MMD² with kernel (a·b/d + 1)³ of {features} features, mean over 100 subsets",
                False,
            ),
        ]
        prdc = {
            "precision": "share of generated images inside a k-NN ball of a real image",
            "recall": "share of real images inside a k-NN ball of a generated image",
            "density": "mean number of real k-NN balls that hold a generated image, divided by k",
            "coverage": "share of real images whose k-NN ball holds a generated image",
        }
        for name, formula in prdc.items():
            entries.append(
                metric(
                    f"{name}_{features}",
                    f"{name} ({features})",
                    rf"\mathrm{{{name.capitalize()}}}" + where,
                    True,
                    "[0, ∞)" if name == "density" else "[0, 1]",
                    f"{formula}; {features} features",
                    name in ("precision", "recall"),
                )
            )
    distance = "pixel RMSE to the nearest training image, mean over"
    return [
        *entries,
        Metric(
            "nearest_train_distance",
            "distance to training set",
            r"d_\mathrm{train}",
            "",
            None,
            "generation",
            "[0, 1]",
            f"{distance} generated images",
        ),
        Metric(
            "nearest_train_ratio",
            "distance to training set, relative",
            r"d_\mathrm{train}/d_\mathrm{ref}",
            "",
            None,
            "generation",
            "[0, ∞)",
            f"nearest_train_distance divided by the same {distance} held-out images; near 0: memorised",
        ),
    ]
