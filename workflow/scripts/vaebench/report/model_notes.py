"""What docs/models.md says of each model beside what its catalog knows: its paper, its objective, its traps."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """Notes on one model: its paper, objective, what to know, p(x|z) if not chosen by `reconstruction_loss`."""

    paper: str
    objective: str
    trap: str = ""
    likelihood: str = ""


SQUARED = "none: squared error"
EITHER_ERROR = "none: squared error or cross-entropy"
ANY_ERROR = "none: squared or absolute error; or Bernoulli"
BOUND = "error + KL"
NO_PRIOR = "no prior and no rate: samples come from a density fitted to the latents"
SAMPLED_KL = "its KL is an estimate and can be negative"
NO_BOUND = "its loss is a surrogate for the gradient and no bound; compare `neg_elbo` and `log_likelihood_*`"
EXCHANGED = (
    "; pythae, and so `gradients: pythae`, takes `number_gradient_estimates` for the draws of a bound and "
    "`number_samples` for the bounds"
)
DEEP = "the codes of a position cost `depth` times as much as one level's: compare at equal rates"

NOTES: Mapping[str, Note] = {
    "AE": Note("Hinton & Salakhutdinov 2006", "error", NO_PRIOR, SQUARED),
    "VAE": Note(
        "Kingma & Welling 2014, arXiv 1312.6114", BOUND, "with variance 1 a face is coded in some 20 nats: a blur"
    ),
    "BetaVAE": Note("Higgins et al. 2017", "error + β KL", "the validation loss of two betas cannot be compared"),
    "DisentangledBetaVAE": Note(
        "Burgess et al. 2018, arXiv 1804.03599",
        "error + β abs(KL - C t)",
        "its aim moves during `warmup_epoch`: no epoch can be selected by loss",
    ),
    "BetaTCVAE": Note(
        "Chen et al. 2018, arXiv 1802.04942",
        "error + α MI + β TC + γ KL of each dimension",
        "its terms are estimated within a batch and depend on its size; the stratified weights are those of the "
        "authors' code, which give a draw's own posterior 1/(B - 1) where the paper has 1/N: of 20,000 known "
        "posteriors in 8 dimensions and batches of 64, whose MI is 9.7 nats and TC 3.2, it makes 4.2 and 8.2, and the "
        "paper's weights 9.9 and 3.8 (`use_mss: false`: 14.1 and 77.6)",
    ),
    "FactorVAE": Note(
        "Kim & Mnih 2018, arXiv 1802.05983",
        "error + KL + γ TC, by a discriminator",
        "each step uses half of the batch for either part",
    ),
    "INFOVAE_MMD": Note(
        "Zhao et al. 2017, arXiv 1706.02262",
        "error + (1 - α) KL + (α + λ - 1) MMD",
        "the default `lbd` of 1e-3 takes nearly nothing of the MMD",
    ),
    "WAE_MMD": Note(
        "Tolstikhin et al. 2018, arXiv 1711.01558",
        "error + λ MMD",
        "the default `reg_weight` of 0.03 leaves the latents far from the prior; published studies take 10 to 100",
        SQUARED,
    ),
    "MSSSIM_VAE": Note(
        "Snell et al. 2017, arXiv 1511.06409",
        "(1 - MS-SSIM) + β KL",
        "its error is at most 1 an image: with `beta` above 1e-2 the latents collapse; it is pythae's and not the "
        "paper's: its factors are means over the whole batch, moved from [-1, 1] to [0, 1], and of n scales that of "
        "the coarsest is multiplied in n - 1 times",
        "none: MS-SSIM",
    ),
    "IWAE": Note("Burda et al. 2016, arXiv 1509.00519", "bound of `number_samples` draws", NO_BOUND),
    "CIWAE": Note("Rainforth et al. 2018, arXiv 1802.04537", "mixture of IWAE's bound and the ELBO", NO_BOUND),
    "MIWAE": Note(
        "Rainforth et al. 2018, arXiv 1802.04537",
        "mean of `number_gradient_estimates` of IWAE's bounds",
        NO_BOUND + EXCHANGED,
    ),
    "PIWAE": Note(
        "Rainforth et al. 2018, arXiv 1802.04537",
        "MIWAE's for the encoder, IWAE's of all draws for the decoder",
        NO_BOUND + EXCHANGED,
    ),
    "VAMP": Note(
        "Tomczak & Welling 2018, arXiv 1705.07120",
        BOUND + ", prior a mixture of posteriors",
        SAMPLED_KL
        + "; its pseudo-inputs begin alike: after one epoch it draws one image for all; with batch norm in the "
        "encoder, and `gradients: pythae`, its bound holds in training only (findings.md)",
    ),
    "SVAE": Note(
        "Davidson et al. 2018, arXiv 1804.00891",
        BOUND + " on the sphere",
        "`latent_dim` 2 to 32: its Bessel functions underflow above; learns little in a first epoch",
    ),
    "PoincareVAE": Note(
        "Mathieu et al. 2019, arXiv 1901.06033",
        BOUND + " in hyperbolic space",
        "a mean that the encoder puts outside the ball is put back onto it, which pythae does not: its KL then falls "
        "to hundreds of nats below zero, and ends as NaN, with `gradients: pythae` and in models that pythae opens; at "
        "a learning rate of 1e-2 the spread still overflows; learns slowly, and bfloat16 hurts it",
    ),
    "HVAE": Note(
        "Caterini et al. 2018, arXiv 1805.11328",
        "bound in the space of latents and momenta",
        "a step calls the decoder 2 `n_lf` + 2 times; its rate is that of the extended space; pythae, and so "
        "`gradients: pythae`, has another Gaussian's entropy in its loss",
        "Gaussian, variance 1",
    ),
    "RHVAE": Note(
        "Chadebec et al. 2020, arXiv 2010.11518",
        "HVAE's, with a learned metric",
        "known to diverge; its loss is pythae's and no bound: it lacks ½ ln det G at the start, the metric's part in "
        "the density of the first momentum, which `rate` has; its sampler walks by gradients of a metric with a term "
        "for each training image",
    ),
    "VAE_LinNF": Note(
        "Rezende & Mohamed 2015, arXiv 1505.05770",
        BOUND + " of a flow",
        SAMPLED_KL + "; a planar flow often has no inverse, and then no rate: `flows: [Radial, Radial]` has one",
    ),
    "VAE_IAF": Note("Kingma et al. 2016, arXiv 1606.04934", BOUND + " of a flow", SAMPLED_KL),
    "RAE_L2": Note(
        "Ghosh et al. 2020, arXiv 1903.12436", "error + ½ ‖z‖² + the decoder's weight decay", NO_PRIOR, SQUARED
    ),
    "RAE_GP": Note(
        "Ghosh et al. 2020, arXiv 1903.12436",
        "error + ½ ‖z‖² + gradient penalty, which pythae takes with respect to the image",
        NO_PRIOR
        + "; with batch norm the penalty of a training batch is also that of each image's influence on the others, "
        "which takes most of it away: on digits 280 where the images alone have 1,220; validation, and so "
        "`select: loss`, has that of each image alone, 1,320 with the running statistics",
        SQUARED,
    ),
    "Adversarial_AE": Note(
        "Makhzani et al. 2015, arXiv 1511.05644",
        "error + adversary of the latents",
        "an adversary's loss says nothing of quality: select by `mse` or keep the last epoch",
    ),
    "VAEGAN": Note(
        "Larsen et al. 2016, arXiv 1512.09300",
        "error of a discriminator's features + KL + adversary",
        "pythae's `reconstruction_layer` of -1 is the probability itself; its pixel error is high",
        "none: error of features",
    ),
    "VQVAE": Note(
        "van den Oord et al. 2017, arXiv 1711.00937",
        "error + codebook and commitment",
        "the codebook begins where no vector is; a flat encoder's latent is one vector",
        SQUARED,
    ),
    "RAE": Note("Ghosh et al. 2020, arXiv 1903.12436", "error + ½ ‖z‖²", NO_PRIOR, EITHER_ERROR),
    "RAE_SN": Note(
        "Ghosh et al. 2020, arXiv 1903.12436",
        "error + ½ ‖z‖²; the decoder's layers have spectral norm 1",
        "batch norm behind a layer takes its bound away: choose a decoder without it for a Lipschitz bound",
        EITHER_ERROR,
    ),
    "WAE_GAN": Note(
        "Tolstikhin et al. 2018, arXiv 1711.01558",
        "error - λ ln D(z), D an adversary of the latents",
        "the published `reg_weight` is 10 on digits and 1 on faces",
        EITHER_ERROR,
    ),
    "LikelihoodVAE": Note(
        "Rybkin et al. 2021, arXiv 2006.13202",
        "-ln p(x given z) + β KL",
        "posteriors of hundreds of nats do not fill the normal prior: fit a mixture to sample from",
        "chosen by `likelihood`",
    ),
    "QuantizedAE: vq": Note(
        "van den Oord et al. 2017, arXiv 1711.00937",
        "error + commitment; the codebook follows averages",
        "codes fall out of use with `restart_below: 0`, which counts vectors a batch and so depends on its size",
        ANY_ERROR,
    ),
    "QuantizedAE: residual_vq": Note(
        "Zeghidour et al. 2021, arXiv 2107.03312", "error + commitment of each level", DEEP, ANY_ERROR
    ),
    "QuantizedAE: fsq": Note("Mentzer et al. 2024, arXiv 2309.15505", "error", "levels of 2 are not taken", ANY_ERROR),
    "QuantizedAE: lfq": Note(
        "Yu et al. 2024, arXiv 2310.05737",
        "error + entropies of the codes",
        "with `commitment: 0` its codes fall out of use; its memory grows with the number of codes",
        ANY_ERROR,
    ),
    "QuantizedAE: bsq": Note(
        "Zhao et al. 2024, arXiv 2406.07548", "error + entropies of the codes", "as lfq", ANY_ERROR
    ),
    "QuantizedAE: simvq": Note(
        "Zhu et al. 2024, arXiv 2411.02038", "error + codebook and commitment, through a linear map", "", ANY_ERROR
    ),
    "HRQVAE": Note(
        "Hosking et al. 2022, arXiv 2203.03463",
        "error + KL of the codes from uniform + norm loss",
        "`temperature_decay` is in epochs: set it to a third of yours. " + DEEP[0].upper() + DEEP[1:],
        ANY_ERROR,
    ),
}
