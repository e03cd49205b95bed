"""Every metric that a table, a figure or a page may show: its one meaning, unit, direction and where it applies.

This module is read by the Snakefile's neighbours, the tables and the figures, so it imports nothing heavy.
"""

from dataclasses import dataclass, replace

ALL = "all models"
GAUSSIAN = "Gaussian posteriors"
ESTIMATED = "posteriors without a closed-form KL"
VQ = "VQ models"
VAEGAN = "VAEGAN"
LABELS = "data sets with labels"
FACTORS = "data sets with discrete factors"

SUITES = ("reconstruction", "generation", "latent", "likelihood")


@dataclass(frozen=True)
class Metric:
    """One metric: what a row of runs.csv with this name means.

    name: the key in runs.csv; label: for axes and headings; symbol: LaTeX, without dollar signs; unit: empty when it
    has none; higher_is_better: None when neither direction is better; suite: the file it is written to; range: the
    values it can take; formula: plain text, exact; applies_to: the models or data it is defined for; headline: shown
    in comparison.csv; per_image: a column of per_image.parquet.
    """

    name: str
    label: str
    symbol: str
    unit: str
    higher_is_better: bool | None
    suite: str
    range: str
    formula: str
    applies_to: str = ALL
    headline: bool = False
    per_image: bool = False


def describe(name: str) -> Metric:
    """The entry for `name`; a name such as `probe_auc/Smiling` is its base entry with the qualifier in the label.

    Raises KeyError for a name that is not registered.
    """
    if name in METRICS:
        return METRICS[name]
    base, _, qualifier = name.partition("/")
    entry = METRICS[base]
    return replace(entry, name=name, label=f"{entry.label} ({qualifier})", headline=False)


def _fidelity() -> list[Metric]:
    """Metrics between an image x and its reconstruction x̂, both in [0, 1]."""
    return [
        Metric(
            "mse",
            "MSE",
            r"\mathrm{MSE}",
            "",
            False,
            "reconstruction",
            "[0, 1]",
            "mean over pixels and channels of (x - x̂)²",
            headline=True,
            per_image=True,
        ),
        Metric(
            "bce",
            "BCE",
            r"\mathrm{BCE}",
            "nats/value",
            False,
            "reconstruction",
            "[0, 16.2]",
            "mean over pixels and channels of -x ln x̂ - (1-x) ln(1-x̂), x̂ clamped to [1e-7, 1-1e-7]",
            per_image=True,
        ),
        Metric(
            "lpips_alex",
            "LPIPS (AlexNet)",
            r"\mathrm{LPIPS}_\mathrm{alex}",
            "",
            False,
            "reconstruction",
            "[0, ∞), about [0, 1]",
            "lpips 0.1.4, AlexNet trunk, on 2x - 1",
            headline=True,
            per_image=True,
        ),
        Metric(
            "lpips_vgg",
            "LPIPS (VGG)",
            r"\mathrm{LPIPS}_\mathrm{vgg}",
            "",
            False,
            "reconstruction",
            "[0, ∞), about [0, 1]",
            "lpips 0.1.4, VGG16 trunk, on 2x - 1",
            headline=True,
            per_image=True,
        ),
        Metric(
            "ssim",
            "SSIM",
            r"\mathrm{SSIM}",
            "",
            True,
            "reconstruction",
            "[-1, 1]",
            "structural similarity, 11x11 Gaussian window of sigma 1.5, data range 1, mean over channels (piq)",
            headline=True,
            per_image=True,
        ),
        Metric(
            "gmsd",
            "GMSD",
            r"\mathrm{GMSD}",
            "",
            False,
            "reconstruction",
            "[0, 0.5]",
            "standard deviation of the gradient magnitude similarity map, data range 1 (piq)",
            per_image=True,
        ),
    ]


def _sampled(entry: Metric) -> Metric:
    return replace(
        entry,
        name=f"sampled_{entry.name}",
        label=f"{entry.label}, sampled z",
        symbol=entry.symbol + r"^{z\sim q}",
        formula=f"{entry.formula}; mean over samples_per_image draws of z from q(z|x)",
        applies_to="stochastic posteriors",
        headline=False,
    )


def _self(entry: Metric) -> Metric:
    return replace(
        entry,
        name=f"self_{entry.name}",
        label=f"self-{entry.label}",
        symbol=entry.symbol + r"^\mathrm{self}",
        suite="generation",
        formula=f"{entry.formula}, between a generated image and its own reconstruction: consistency, not quality",
        headline=False,
        per_image=False,
    )


def _objectives() -> list[Metric]:
    """The negative ELBO and the terms that VAEGAN is trained on."""
    nats = "nats/image"
    vaegan = {
        "feature_recon": "½ Σ (D_l(x) - D_l(x̂))² in layer l of the discriminator, summed over features",
        "encoder_loss": "feature_recon + KL",
        "decoder_loss": "(1 - a) feature_recon - a discriminator_loss",
        "discriminator_loss": "BCE(D(x), 1) + BCE(D(G(z)), 0), z from the prior",
        "total_loss": "encoder_loss + decoder_loss + discriminator_loss",
    }
    return [
        Metric(
            "neg_elbo",
            "negative ELBO",
            r"-\mathrm{ELBO}",
            nats,
            False,
            "reconstruction",
            "[0, ∞)",
            "½ Σ (x - x̂)² + KL, both sums over one image, up to the constant of a unit-variance Gaussian",
            GAUSSIAN,
            headline=True,
            per_image=True,
        ),
        *(
            Metric(
                name,
                f"VAEGAN {name.replace('_', ' ')}",
                rf"\mathcal{{L}}_\mathrm{{{name.split('_')[0]}}}",
                "",
                None,
                "reconstruction",
                "(-∞, ∞)",
                f"as pythae defines it, deterministic z: {formula}",
                VAEGAN,
                per_image=True,
            )
            for name, formula in vaegan.items()
        ),
    ]


def _latent() -> list[Metric]:
    """Metrics of the posterior, of the codebook, and of what the latent mean tells about the labels."""

    def metric(name: str, label: str, symbol: str, unit: str, better: bool | None, *rest: str, **flags: bool) -> Metric:
        values, formula, applies_to = rest
        return Metric(name, label, symbol, unit, better, "latent", values, formula, applies_to, **flags)

    kl = "Σ_dims -½ (1 + ln σ² - μ² - σ²) between q(z|x) = N(μ, σ²) and N(0, I)"
    auc = "area under the ROC curve of a ridge classifier on the latent mean, fitted on train, scored on held-out"
    fit = "a gradient-free importance matrix of the latent mean for each factor"
    return [
        metric("kl", "KL", r"\mathrm{KL}", "nats/image", None, "[0, ∞)", kl, GAUSSIAN, headline=True, per_image=True),
        metric(
            "kl_estimate",
            "KL (model's own estimate)",
            r"\widehat{\mathrm{KL}}",
            "nats/image",
            None,
            "(-∞, ∞)",
            "the regularisation term that the model itself returns, per image",
            ESTIMATED,
            per_image=True,
        ),
        metric(
            "active_units",
            "active units",
            r"\mathrm{AU}",
            "dims",
            None,
            "{0, ..., L}",
            "number of latent dimensions with Var_x(μ) > 0.01",
            GAUSSIAN,
            headline=True,
        ),
        metric(
            "kl_per_dim",
            "KL per dimension",
            r"\mathrm{KL}/L",
            "nats/dim",
            None,
            "[0, ∞)",
            "mean over dimensions of the mean KL of the dimension; the vector is in latent.npz",
            GAUSSIAN,
        ),
        metric(
            "posterior_collapse",
            "posterior collapse",
            r"\mathrm{PC}",
            "",
            False,
            "{0, 1}",
            "1 when fewer than one latent dimension in ten is active",
            GAUSSIAN,
        ),
        metric(
            "aggregate_mean",
            "aggregate posterior mean",
            r"|\bar\mu|",
            "",
            None,
            "[0, ∞)",
            "mean over dimensions of |E_x μ|; 0 for the prior",
            "models with a vector latent",
        ),
        metric(
            "aggregate_variance",
            "aggregate posterior variance",
            r"\bar\sigma^2",
            "",
            None,
            "[0, ∞)",
            "mean over dimensions of Var_x(μ) + E_x σ²; 1 for the prior",
            "models with a vector latent",
        ),
        metric(
            "vq_commitment",
            "commitment",
            r"\|z_e - e\|^2",
            "",
            False,
            "[0, ∞)",
            "Σ ‖z_e - e‖² over the code grid of one image",
            VQ,
            per_image=True,
        ),
        metric(
            "codebook_perplexity",
            "codebook perplexity",
            r"\exp H(e)",
            "codes",
            True,
            "[1, K]",
            "exp of the entropy of code use over all positions of all images",
            VQ,
            headline=True,
        ),
        metric("codes_used", "codes used", r"K_+", "codes", True, "{1, ..., K}", "number of distinct codes used", VQ),
        metric("probe_auc", "probe AUC", r"\mathrm{AUC}", "", True, "[0, 1]", auc, LABELS),
        metric(
            "probe_balanced_accuracy",
            "probe balanced accuracy",
            r"\mathrm{BA}",
            "",
            True,
            "[0, 1]",
            "mean of sensitivity and specificity of the same classifier at threshold 0",
            LABELS,
        ),
        metric(
            "mig",
            "MIG",
            r"\mathrm{MIG}",
            "",
            True,
            "[0, 1]",
            "mutual information gap: mean over factors of (I_1 - I_2) / H(factor), μ in 20 bins",
            FACTORS,
        ),
        metric(
            "sap",
            "SAP",
            r"\mathrm{SAP}",
            "",
            True,
            "[0, 1]",
            "separated attribute predictability: mean over factors of the gap between the two best single dimensions",
            FACTORS,
        ),
        metric(
            "dci_disentanglement",
            "DCI disentanglement",
            r"\mathrm{DCI}_D",
            "",
            True,
            "[0, 1]",
            f"1 - entropy over factors of each dimension's importance, weighted; {fit}",
            FACTORS,
        ),
        metric(
            "dci_completeness",
            "DCI completeness",
            r"\mathrm{DCI}_C",
            "",
            True,
            "[0, 1]",
            f"1 - entropy over dimensions of each factor's importance, weighted; {fit}",
            FACTORS,
        ),
        metric(
            "dci_informativeness",
            "DCI informativeness",
            r"\mathrm{DCI}_I",
            "",
            True,
            "[0, 1]",
            f"held-out accuracy of the classifiers behind {fit}",
            FACTORS,
        ),
    ]


def _generation() -> list[Metric]:
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


def _likelihood() -> list[Metric]:
    return [
        Metric(
            "log_likelihood",
            "importance-weighted bound",
            r"\log \hat p(x)",
            "nats/image",
            True,
            "likelihood",
            "(-∞, ∞)",
            "ln 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x), p(x|z) = N(x̂(z), I) (or Bernoulli when trained on BCE)",
            GAUSSIAN,
            headline=True,
            per_image=True,
        ),
        Metric(
            "effective_samples",
            "effective importance samples",
            r"\mathrm{ESS}",
            "samples",
            None,
            "likelihood",
            "[1, K]",
            "(Σ w)² / Σ w² of the importance weights, mean over images",
            GAUSSIAN,
            per_image=True,
        ),
    ]


def _legacy() -> list[Metric]:
    """The original study's arithmetic, kept so that old and new numbers can stand side by side."""
    formulas = {
        "mse": "mean over batches of the batch mean of (x - x̂)²",
        "bce": "β-VAE: the model's own recon_loss (½ Σ SE per image); VQVAE and VAEGAN: mean binary cross-entropy",
        "kl": "β-VAE: reg_loss / β, although pythae's reg_loss is unscaled; VAEGAN: the summed KL",
        "elbo": "mean MSE + KL (VAEGAN) or + vq_loss (VQVAE): two scales in one number; β-VAE: the model's loss",
        "lpips": "lpips (VGG) fed images in [0, 1] instead of [-1, 1]",
        "ssim": "mean over batches of the batch mean of SSIM (piq)",
        "gmsd": "mean over batches of the batch mean of GMSD (piq)",
    }
    better = {"kl": None, "ssim": True}
    return [
        Metric(
            f"legacy_{prefix}{name}",
            f"legacy {prefix.replace('_', '-')}{name.upper()}",
            rf"\mathrm{{{name.upper()}}}^\mathrm{{legacy{' self' if prefix else ''}}}",
            "",
            better.get(name, False),
            "generation" if prefix else "reconstruction",
            "as the original study printed it",
            formula + ("; 64 generated images, seed 999, against their own reconstruction" if prefix else ""),
            "protocol: legacy",
        )
        for prefix in ("", "self_")
        for name, formula in formulas.items()
    ]


def _collect() -> dict[str, Metric]:
    fidelity = _fidelity()
    entries = [
        *fidelity,
        *_objectives(),
        *map(_sampled, fidelity),
        *_latent(),
        *_generation(),
        *map(_self, fidelity),
        *_likelihood(),
        *_legacy(),
    ]
    return {entry.name: entry for entry in entries}


METRICS: dict[str, Metric] = _collect()
