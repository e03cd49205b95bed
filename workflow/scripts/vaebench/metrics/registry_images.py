"""Registered metrics of single images: fidelity, training objectives, the original study's."""

from dataclasses import replace

from vaebench.metrics.metric import BERNOULLI, DISTRIBUTION, VAEGAN, Metric


def fidelity() -> list[Metric]:
    """Metrics between an image x and its reconstruction x̂, both in [0, 1]."""
    return [
        Metric(
            "mse",
            label="MSE",
            symbol=r"\mathrm{MSE}",
            unit="",
            higher_is_better=False,
            suite="reconstruction",
            range="[0, 1]",
            formula="mean over pixels and channels of (x - x̂)²",
            headline=True,
            per_image=True,
            function="mse",
        ),
        Metric(
            "bce",
            label="BCE",
            symbol=r"\mathrm{BCE}",
            unit="nats/value",
            higher_is_better=False,
            suite="reconstruction",
            range="[0, 16.2]",
            formula="mean over pixels and channels of -x ln x̂ - (1-x) ln(1-x̂), x̂ clamped to [1e-7, 1-1e-7]",
            per_image=True,
            function="bce",
        ),
        Metric(
            "psnr",
            label="PSNR",
            symbol=r"\mathrm{PSNR}",
            unit="dB",
            higher_is_better=True,
            suite="reconstruction",
            range="[0, 100]",
            formula="-10 log10 of the image's MSE, which counts as at least 1e-10",
            per_image=True,
            function="psnr",
        ),
        Metric(
            "lpips_alex",
            label="LPIPS (AlexNet)",
            symbol=r"\mathrm{LPIPS}_\mathrm{alex}",
            unit="",
            higher_is_better=False,
            suite="reconstruction",
            range="[0, ∞), about [0, 1]",
            formula="lpips 0.1.4, AlexNet trunk, on 2x - 1",
            headline=True,
            per_image=True,
        ),
        Metric(
            "lpips_vgg",
            label="LPIPS (VGG)",
            symbol=r"\mathrm{LPIPS}_\mathrm{vgg}",
            unit="",
            higher_is_better=False,
            suite="reconstruction",
            range="[0, ∞), about [0, 1]",
            formula="lpips 0.1.4, VGG16 trunk, on 2x - 1",
            headline=True,
            per_image=True,
        ),
        Metric(
            "dists",
            label="DISTS",
            symbol=r"\mathrm{DISTS}",
            unit="",
            higher_is_better=False,
            suite="reconstruction",
            range="about [0, 1]",
            formula="1 - Σ α (2 μ_x μ_y + c) / (μ_x² + μ_y² + c) + β (2 σ_xy + c) / (σ_x² + σ_y² + c), c = 1e-6, over "
            "the channels of the image and of VGG16's stages",
            per_image=True,
        ),
        Metric(
            "ssim",
            label="SSIM",
            symbol=r"\mathrm{SSIM}",
            unit="",
            higher_is_better=True,
            suite="reconstruction",
            range="[-1, 1]",
            formula="structural similarity, 11x11 Gaussian window of sigma 1.5, data range 1, mean over channels; "
            "images whose shorter side has 384 pixels or more are first averaged down by round(side / 256) (piq)",
            headline=True,
            per_image=True,
            function="ssim",
        ),
        Metric(
            "ms_ssim",
            label="MS-SSIM",
            symbol=r"\mathrm{MS{-}SSIM}",
            unit="",
            higher_is_better=True,
            suite="reconstruction",
            range="[0, 1]",
            formula="multi-scale structural similarity with SSIM's window, weights of Wang et al. 2003; as many of "
            "their five scales as hold the window (three at 64 pixels), the weights scaled to sum 1, as the note says "
            "(piq)",
            per_image=True,
            function="ms_ssim",
        ),
        Metric(
            "gmsd",
            label="GMSD",
            symbol=r"\mathrm{GMSD}",
            unit="",
            higher_is_better=False,
            suite="reconstruction",
            range="[0, 0.5]",
            formula="standard deviation of the gradient magnitude similarity map of the luminance at half size, data "
            "range 1 (piq)",
            per_image=True,
            function="gmsd",
        ),
    ]


def sampled(entry: Metric) -> Metric:
    """The same metric for reconstructions from a drawn latent."""
    return replace(
        entry,
        name=f"sampled_{entry.name}",
        label=f"{entry.label}, sampled z",
        symbol=entry.symbol + r"^{z\sim q}",
        formula=f"{entry.formula}; mean over samples_per_image draws of z from q(z|x)",
        applies_to="stochastic posteriors",
        headline=False,
    )


def self_consistency(entry: Metric) -> Metric:
    """The same metric between a generated image and its own reconstruction."""
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


def objectives() -> list[Metric]:
    """The negative ELBO with its parts, and the terms that VAEGAN is trained on."""
    nats, drawn = "nats/image", "mean over evaluation.elbo_draws draws of z from q(z|x)"
    mean = f"{drawn}, x̂(z) not clamped"
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
            label="negative ELBO",
            symbol=r"-\mathrm{ELBO}",
            unit=nats,
            higher_is_better=False,
            suite="reconstruction",
            range="(-∞, ∞)",
            formula=f"distortion + rate, of p(x|z) = N(x̂(z), I) up to its constant ½ D ln 2π; {mean}",
            applies_to=DISTRIBUTION,
            headline=True,
            per_image=True,
        ),
        Metric(
            "neg_elbo_bernoulli",
            label="negative ELBO (Bernoulli)",
            symbol=r"-\mathrm{ELBO}_\mathrm{B}",
            unit=nats,
            higher_is_better=False,
            suite="reconstruction",
            range="(-∞, ∞)",
            formula=f"-Σ x ln x̂(z) + (1-x) ln(1-x̂(z)) + rate, x̂ clamped to [1e-7, 1-1e-7]; {drawn}",
            applies_to=BERNOULLI,
            headline=True,
            per_image=True,
        ),
        Metric(
            "neg_elbo_density",
            label="negative ELBO (density)",
            symbol=r"-\mathrm{ELBO}_p",
            unit=nats,
            higher_is_better=False,
            suite="reconstruction",
            range="(-∞, ∞)",
            formula=f"-ln p(x|z) + rate, of the density of the model's likelihood, with its constants: N(x̂(z), I) "
            f"where it was trained on an error and names none; {mean}",
            applies_to="models with a rate that are trained neither on cross-entropy nor on a mass",
            headline=True,
            per_image=True,
        ),
        Metric(
            "bits_per_dim",
            label="bits per dimension",
            symbol=r"\mathrm{bpd}",
            unit="bits/value",
            higher_is_better=False,
            suite="reconstruction",
            range="[0, ∞)",
            formula=f"(-ln P(x|z) + rate) / (D ln 2), of the mass of each of 256 levels; {mean}",
            applies_to="models trained on a discretized likelihood",
            headline=True,
            per_image=True,
        ),
        Metric(
            "distortion",
            label="distortion",
            symbol=r"D",
            unit=nats,
            higher_is_better=False,
            suite="reconstruction",
            range="[0, ∞)",
            formula=f"½ Σ (x - x̂(z))² over one image; {mean}, or at the code where it is one point",
            per_image=True,
        ),
        Metric(
            "neg_elbo_draw_error",
            label="standard error of neg_elbo over draws",
            symbol=r"\sigma_{-\mathrm{ELBO}}",
            unit=nats,
            higher_is_better=None,
            suite="reconstruction",
            range="[0, ∞)",
            formula="per image the standard deviation of distortion + rate over the draws / √draws; of the mean over n "
            "images √(Σ of their squares) / n",
            applies_to="posteriors that are drawn from, with two or more evaluation.elbo_draws",
            per_image=True,
        ),
        *(
            Metric(
                name,
                label=f"VAEGAN {name.replace('_', ' ')}",
                symbol=rf"\mathcal{{L}}_\mathrm{{{name.split('_')[0]}}}",
                unit="",
                higher_is_better=None,
                suite="reconstruction",
                range="(-∞, ∞)",
                formula=f"as pythae defines it, deterministic z: {formula}",
                applies_to=VAEGAN,
                per_image=True,
            )
            for name, formula in vaegan.items()
        ),
    ]


def legacy() -> list[Metric]:
    """The original study's arithmetic, kept so that old and new numbers can stand side by side."""
    formulas = {
        "mse": "batch mean of (x - x̂)²",
        "bce": "β-VAE: the model's recon_loss, ½ Σ SE per image; VQVAE and VAEGAN: mean binary cross-entropy",
        "kl": "β-VAE: reg_loss / β, although pythae's reg_loss is unscaled; VAEGAN: the summed KL",
        "elbo": "β-VAE: recon_loss + reg_loss; VAEGAN: mean MSE + summed KL, two scales in one number",
        "vq_loss": "VQVAE: the model's vq_loss",
        "recon_loss": "VAEGAN: ½ SE in the discriminator's feature space",
        "encoder_loss": "VAEGAN: the model's encoder_loss",
        "decoder_loss": "VAEGAN: the model's decoder_loss",
        "discriminator_loss": "VAEGAN: the model's discriminator_loss",
        "total_loss": "VQVAE and VAEGAN: the model's loss",
        "lpips": "LPIPS (VGG) fed images in [0, 1] instead of [-1, 1]",
        "ssim": "batch mean of SSIM",
        "gmsd": "batch mean of GMSD",
    }
    better = {"ssim": True} | dict.fromkeys(("mse", "lpips", "gmsd"), False)  # the rest differs in meaning by model
    return [
        Metric(
            f"legacy_{prefix}{name}",
            label=f"legacy {prefix.replace('_', '-')}{name.replace('_', ' ')}",
            symbol=rf"\mathrm{{{name.replace('_', ' ')}}}^\mathrm{{legacy{' self' if prefix else ''}}}",
            unit="",
            higher_is_better=better.get(name),
            suite="generation" if prefix else "reconstruction",
            range="as the original study printed it",
            formula=f"{formula}; x̂ from a sampled z; "
            + ("64 images generated with seed 999" if prefix else "unweighted mean over batches of 64"),
            applies_to="protocol: legacy; VAE, BetaVAE, VQVAE, VAEGAN",
        )
        for prefix in ("", "self_")
        for name, formula in formulas.items()
    ]
