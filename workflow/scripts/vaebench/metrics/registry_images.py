"""Registered metrics of single images: fidelity, training objectives, the original study's."""

from dataclasses import replace

from vaebench.metrics.metric import BERNOULLI, DISTRIBUTION, VAEGAN, Metric


def fidelity() -> list[Metric]:
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
            function="mse",
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
            function="bce",
        ),
        Metric(
            "psnr",
            "PSNR",
            r"\mathrm{PSNR}",
            "dB",
            True,
            "reconstruction",
            "[0, 100]",
            "-10 log10 of the image's MSE, which counts as at least 1e-10",
            per_image=True,
            function="psnr",
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
            "dists",
            "DISTS",
            r"\mathrm{DISTS}",
            "",
            False,
            "reconstruction",
            "about [0, 1]",
            "1 - Σ α (2 μ_x μ_y + c) / (μ_x² + μ_y² + c) + β (2 σ_xy + c) / (σ_x² + σ_y² + c), c = 1e-6, over "
            "the channels of the image and of VGG16's stages",
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
            "structural similarity, 11x11 Gaussian window of sigma 1.5, data range 1, mean over channels; images whose "
            "shorter side has 384 pixels or more are first averaged down by round(side / 256) (piq)",
            headline=True,
            per_image=True,
            function="ssim",
        ),
        Metric(
            "ms_ssim",
            "MS-SSIM",
            r"\mathrm{MS{-}SSIM}",
            "",
            True,
            "reconstruction",
            "[0, 1]",
            "multi-scale structural similarity with SSIM's window, weights of Wang et al. 2003; as many of their five "
            "scales as hold the window (three at 64 pixels), the weights scaled to sum 1, as the note says (piq)",
            per_image=True,
            function="ms_ssim",
        ),
        Metric(
            "gmsd",
            "GMSD",
            r"\mathrm{GMSD}",
            "",
            False,
            "reconstruction",
            "[0, 0.5]",
            "standard deviation of the gradient magnitude similarity map of the luminance at half size, data range 1 "
            "(piq)",
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
    nats, mean = "nats/image", "mean over evaluation.elbo_draws draws of z from q(z|x), x̂(z) not clamped"
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
            "(-∞, ∞)",
            f"distortion + rate, of p(x|z) = N(x̂(z), I) up to its constant ½ D ln 2π; {mean}",
            DISTRIBUTION,
            headline=True,
            per_image=True,
        ),
        Metric(
            "neg_elbo_bernoulli",
            "negative ELBO (Bernoulli)",
            r"-\mathrm{ELBO}_\mathrm{B}",
            nats,
            False,
            "reconstruction",
            "(-∞, ∞)",
            f"-Σ x ln x̂(z) + (1-x) ln(1-x̂(z)) + rate, x̂ clamped to [1e-7, 1-1e-7]; {mean}",
            BERNOULLI,
            headline=True,
            per_image=True,
        ),
        Metric(
            "neg_elbo_density",
            "negative ELBO (density)",
            r"-\mathrm{ELBO}_p",
            nats,
            False,
            "reconstruction",
            "(-∞, ∞)",
            f"-ln p(x|z) + rate, of the density that the model was trained on, with its constants: N(x̂(z), I) unless "
            f"it has a scale of its own; {mean}",
            "models trained on a Gaussian or Laplace density; none on cross-entropy",
            headline=True,
            per_image=True,
        ),
        Metric(
            "bits_per_dim",
            "bits per dimension",
            r"\mathrm{bpd}",
            "bits/value",
            False,
            "reconstruction",
            "[0, ∞)",
            f"(-ln P(x|z) + rate) / (D ln 2), of the mass of each of 256 levels; {mean}",
            "models trained on a discretized likelihood",
            headline=True,
            per_image=True,
        ),
        Metric(
            "distortion",
            "distortion",
            r"D",
            nats,
            False,
            "reconstruction",
            "[0, ∞)",
            f"½ Σ (x - x̂(z))² over one image; {mean}, or at the code where it is one point",
            per_image=True,
        ),
        Metric(
            "neg_elbo_draw_error",
            "standard error of neg_elbo over draws",
            r"\sigma_{-\mathrm{ELBO}}",
            nats,
            None,
            "reconstruction",
            "[0, ∞)",
            "per image the standard deviation of distortion + rate over the draws / √draws; of the mean over n images "
            "√(Σ of their squares) / n",
            "posteriors that are drawn from, with two or more evaluation.elbo_draws",
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
            f"legacy {prefix.replace('_', '-')}{name.replace('_', ' ')}",
            rf"\mathrm{{{name.replace('_', ' ')}}}^\mathrm{{legacy{' self' if prefix else ''}}}",
            "",
            better.get(name),
            "generation" if prefix else "reconstruction",
            "as the original study printed it",
            f"{formula}; x̂ from a sampled z; "
            + ("64 images generated with seed 999" if prefix else "unweighted mean over batches of 64"),
            "protocol: legacy; VAE, BetaVAE, VQVAE, VAEGAN",
        )
        for prefix in ("", "self_")
        for name, formula in formulas.items()
    ]
