"""Findings of the literature that a sound pipeline repeats on any images, and what each says of the studies
config/findings.yaml (photographs of clothes) and config/findings_faces.yaml (synthetic faces)."""

from itertools import pairwise

from vaebench.results.claims import Claim, Finding, Term

CLOTHES, FACES = "findings_fashion", "findings_faces"  # the studies, by the names of their data sets
PRIOR, GAUSSIAN, MIXTURE = "normal", "fitted_gaussian", "gaussian_mixture"
CODES = 240  # of either codebook
NEARLY_ALL = 0.9  # of the codes


def _above(study: str, metric: str, higher: str, lower: str, words: str = "") -> Claim:
    """That a metric is higher for one run, `run` or `run by sampler`, than for another."""
    terms = tuple(Term(weight, *_drawn(run, metric)) for weight, run in ((1.0, higher), (-1.0, lower)))
    return Claim(study, words or f"`{metric}`: {higher} less {lower}", terms)


def _drawn(run: str, metric: str) -> tuple[str, str, str]:
    name, _, sampler = run.partition(" by ")
    return name, metric, sampler


def _more(study: str, metric: str, one: tuple[str, str, str], other: tuple[str, str, str]) -> Claim:
    """That a metric falls further from one sampler to another for one run than for another: run, sampler, sampler."""
    terms = []
    for weight, (run, before, after) in ((1.0, one), (-1.0, other)):
        terms += [Term(weight, run, metric, before), Term(-weight, run, metric, after)]
    return Claim(
        study, f"`{metric}`: what the mixture gains for {one[0]} less what it gains for {other[0]}", tuple(terms)
    )


def _share(study: str, run: str, threshold: float) -> Claim:
    words = f"`codes_used` of {run}, as a share of {CODES}, less {threshold:g}"
    return Claim(study, words, (Term(1 / CODES, run, "codes_used"),), threshold)


def _fewer(study: str, more: str, fewer: str) -> Claim:
    terms = (Term(1 / CODES, more, "codes_used"), Term(-1 / CODES, fewer, "codes_used"))
    return Claim(study, f"`codes_used`, as a share of {CODES}: {more} less {fewer}", terms)


_BETAS = ("vae", "beta_vae-beta4", "beta_vae-beta16")
_STEPS = tuple(pairwise(_BETAS))

FINDINGS = (
    Finding(
        "A mixture fitted to the latents lowers the Fréchet distance, against the prior for a VAE, against one "
        "Gaussian for an AE",
        "Ghosh et al. 2020; Chadebec & Allassonnière 2022",
        (
            _above(CLOTHES, "fd_vgg16", f"vae by {PRIOR}", f"vae by {MIXTURE}"),
            _above(CLOTHES, "fd_vgg16", f"ae by {GAUSSIAN}", f"ae by {MIXTURE}"),
            _above(FACES, "fd_alexnet", f"vae by {PRIOR}", f"vae by {MIXTURE}"),
        ),
    ),
    Finding(
        "The mixture gains more for an AE than for a VAE",
        "Ghosh et al. 2020",
        (_more(CLOTHES, "fd_vgg16", ("ae", GAUSSIAN, MIXTURE), ("vae", PRIOR, MIXTURE)),),
    ),
    Finding(
        "The KL falls with β",
        "Higgins et al. 2017",
        tuple(_above(CLOTHES, "kl", low, high) for low, high in _STEPS),
    ),
    Finding(
        "The distortion rises with β",
        "Higgins et al. 2017",
        tuple(_above(CLOTHES, "distortion", high, low) for low, high in _STEPS),
    ),
    Finding(
        "With a higher β more units are inactive",
        "Higgins et al. 2017; Burda et al. 2016",
        tuple(_above(CLOTHES, "active_units", low, high) for low, high in _STEPS),
    ),
    Finding(
        "The importance-weighted bound rises with the number of samples",
        "Burda et al. 2016",
        (
            Claim(
                CLOTHES,
                "vae: `log_likelihood_gaussian`, of 50 samples, less the bound of one, which is -`neg_elbo_density`",
                (Term(1.0, "vae", "log_likelihood_gaussian"), Term(1.0, "vae", "neg_elbo_density")),
            ),
        ),
    ),
    Finding(
        "Training on the importance-weighted bound uses more units than training on the ELBO",
        "Burda et al. 2016",
        (_above(CLOTHES, "active_units", "iwae", "vae"),),
    ),
    Finding(
        "A VampPrior gives a higher likelihood than the standard normal prior, here by the bounds",
        "Tomczak & Welling 2018",
        (_above(CLOTHES, "neg_elbo", "vae", "vamp"),),
    ),
    Finding(
        "A richer posterior (an inverse autoregressive flow) raises the bound",
        "Rezende & Mohamed 2015; Kingma et al. 2016",
        (_above(CLOTHES, "neg_elbo", "vae", "vae_iaf"),),
    ),
    Finding(
        "A calibrated variance of the decoder gives sharper images and a lower Fréchet distance than variance 1",
        "Rybkin et al. 2021",
        (
            _above(CLOTHES, "lpips_vgg", "vae", "sigma_vae"),
            _above(CLOTHES, "fd_vgg16", f"vae by {PRIOR}", f"sigma_vae by {PRIOR}"),
            _above(FACES, "lpips_alex", "vae", "sigma_vae"),
            _above(FACES, "fd_alexnet", f"vae by {PRIOR}", f"sigma_vae by {PRIOR}"),
        ),
    ),
    Finding(
        "FSQ uses nearly all codes without an auxiliary loss, VQ whose codebook follows gradients does not",
        "Mentzer et al. 2024",
        (
            _share(CLOTHES, "fsq", NEARLY_ALL),
            _fewer(CLOTHES, "fsq", "vq"),
        ),
    ),
    Finding(
        "Perceptual and adversarial losses lower LPIPS and the Fréchet distance, at a higher pixel error",
        "Larsen et al. 2016; Esser et al. 2021",
        (
            _above(FACES, "lpips_alex", "fsq", "fsq_gan"),
            _above(FACES, "rfd_alexnet", "fsq", "fsq_gan"),
            _above(FACES, "mse", "fsq_gan", "fsq"),
        ),
    ),
)
