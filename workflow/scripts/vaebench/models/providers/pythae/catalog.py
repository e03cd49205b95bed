"""The 25 models of pythae 0.1.2, without importing it or torch.

The values are copied from its classes, and a test compares them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vaebench.models.catalog import (
    ADVERSARIAL,
    COUPLED,
    COUPLED_ADVERSARIAL,
    GRID,
    SPHERE,
    VECTOR,
    ModelInfo,
    why_no_downsampling,
)
from vaebench.models.fields import FRACTION, Range
from vaebench.models.providers.likelihoods.catalog import LIKELIHOODS

VAE_FIELDS = {"latent_dim": 10, "reconstruction_loss": "mse"}
KERNELS = {"kernel_bandwidth": 1.0, "scales": (0.1, 0.2, 0.5, 1.0, 2.0, 5, 10.0)}
# The module beside this one of each model that needs more than `model.PythaeModel`.
SPECIAL = {
    **dict.fromkeys(("AE", "WAE_MMD", "RAE_GP"), "point"),
    **dict.fromkeys(("VAE_LinNF", "VAE_IAF"), "flows"),
    **dict.fromkeys(("MIWAE", "PIWAE"), "miwae"),
    "Adversarial_AE": "adversarial_ae",
    "BetaTCVAE": "beta_tc_vae",
    "FactorVAE": "factor_vae",
    "HVAE": "hvae",
    "MSSSIM_VAE": "msssim",
    "PoincareVAE": "poincare",
    "RAE_L2": "rae_l2",
    "RHVAE": "rhvae",
    "SVAE": "svae",
    "VAEGAN": "vaegan",
    "VAMP": "vamp",
    "VQVAE": "vqvae",
}
# The modules beside this one that only an evaluation uses: the metrics of a model's own, and the original study's.
DIAGNOSTICS = {"VAEGAN": "vaegan_terms"}
IN_ORIGINAL_STUDY = ("VAE", "BetaVAE", "VQVAE", "VAEGAN")


LIKELIHOOD = "likelihood"
DOWNSAMPLING = "downsampling"
OWN_FIELDS = (LIKELIHOOD, DOWNSAMPLING)  # which pythae's configurations do not have
# Model, field and value that a model trained elsewhere may have, and none that is trained here.
ONLY_PRETRAINED = (("HVAE", "reconstruction_loss", "bce"),)


@dataclass(frozen=True)
class BoundInfo(ModelInfo):
    """The entry of a model whose loss is a reconstruction error plus a term that does not depend on the reconstruction.

    Its field `likelihood`, which pythae does not know, names one of `LIKELIHOODS` in place of the error.
    """

    def check(self, name: str, value: object) -> str | None:
        """The checks of every model, and that of the likelihood."""
        if name == LIKELIHOOD:
            return None if value is None else LIKELIHOODS.why_not(value)
        return super().check(name, value)

    def why_not_together(self, config: Mapping[str, Any]) -> str | None:
        """Refuses a likelihood together with the `reconstruction_loss` of another one."""
        error = config.get("reconstruction_loss", "mse")
        if config.get(LIKELIHOOD) is None or error == "mse":
            return None
        return f"{LIKELIHOOD} takes the place of reconstruction_loss; leave {error} out"


@dataclass(frozen=True)
class GridInfo(ModelInfo):
    """The entry of a model whose latents are a grid, which its field `downsampling`, unknown to pythae, chooses."""

    def check(self, name: str, value: object) -> str | None:
        """The checks of every model, and that of the grid."""
        return why_no_downsampling(value) if name == DOWNSAMPLING else super().check(name, value)


def _bound(name: str, fields: Mapping[str, object] | None = None, **settings: Any) -> ModelInfo:
    return BoundInfo(name, fields={**VAE_FIELDS, **(fields or {}), LIKELIHOOD: None}, **settings)


def _vae(name: str, fields: Mapping[str, object] | None = None, **settings: Any) -> ModelInfo:
    return ModelInfo(name, fields={**VAE_FIELDS, **(fields or {})}, **settings)


def _autoencoder(name: str, fields: Mapping[str, object] | None = None, **settings: Any) -> ModelInfo:
    defaults: dict[str, Any] = {"encoder": VECTOR, "posterior": "none", "prior": "none", "sampler": "gaussian_mixture"}
    return ModelInfo(name, fields={"latent_dim": 10, **(fields or {})}, **(defaults | settings))


MODELS: dict[str, ModelInfo] = {
    info.name: info
    for info in (
        _autoencoder("AE", recordable=True, terms=()),
        _bound("VAE", recordable=True),
        _bound("BetaVAE", {"beta": 1.0}, recordable=True),
        _bound("DisentangledBetaVAE", {"beta": 10.0, "C": 50.0, "warmup_epoch": 25}, recordable=True),
        _bound("BetaTCVAE", {"alpha": 1.0, "beta": 1.0, "gamma": 1.0, "use_mss": True}, smallest_batch=2),
        _vae(
            "FactorVAE",
            {"gamma": 2.0},
            trainer=ADVERSARIAL,
            smallest_batch=2,
            halves_batches=True,
            terms=("reconstruction_loss",),
        ),
        _bound(
            "INFOVAE_MMD",
            {"kernel_choice": "imq", "alpha": 0, "lbd": 1e-3} | KERNELS,
            smallest_batch=2,
            terms=("reconstruction_loss", "kl", "mmd"),
        ),
        _autoencoder(
            "WAE_MMD",
            {"kernel_choice": "imq", "reg_weight": 3e-2} | KERNELS | {"reconstruction_loss_scale": 1.0},
            prior="normal",
            smallest_batch=2,
            terms=("reconstruction_loss", "mmd"),
        ),
        _vae("MSSSIM_VAE", {"beta": 1.0, "window_size": 11}),
        _vae("IWAE", {"number_samples": 10}),
        _vae("CIWAE", {"number_samples": 10, "beta": 0.5}, ranges={"beta": FRACTION}, why="it mixes two bounds"),
        _vae("MIWAE", {"number_gradient_estimates": 5, "number_samples": 10}),
        _vae("PIWAE", {"number_gradient_estimates": 5, "number_samples": 10}, trainer=COUPLED),
        _bound("VAMP", {"number_components": 50, "linear_scheduling_steps": 0}, prior="vamp", sampler="vamp"),
        _bound(
            "SVAE",
            encoder=SPHERE,
            posterior="von_mises_fisher",
            prior="uniform_sphere",
            sampler="hypersphere",
            ranges={"latent_dim": Range(2, 32)},
            why="the Bessel functions of its KL underflow in single precision above, as pythae computes them",
        ),
        _bound(
            "PoincareVAE",
            {"prior_distribution": "wrapped_normal", "posterior_distribution": "wrapped_normal", "curvature": 1},
            posterior="wrapped_normal",
            prior="wrapped_normal",
            sampler="poincare",
            needs_float32="its error on digits grew by 15 %, of which other roundings alone explain 10 %",
        ),
        _vae(
            "HVAE",
            {"n_lf": 3, "eps_lf": 1e-3, "beta_zero": 0.3, "learn_eps_lf": False, "learn_beta_zero": False},
            posterior="hamiltonian",
            differentiates=True,
            choices={"reconstruction_loss": ("mse",)},
            why="with bce its decoder must give logits, and networks here give images",
            terms=(),
        ),
        _vae(
            "RHVAE",
            {"n_lf": 3, "eps_lf": 1e-3, "beta_zero": 0.3, "temperature": 1.5, "regularization": 0.01},
            posterior="hamiltonian",
            differentiates=True,
            prior="riemannian",
            sampler="rhvae",
            terms=(),
        ),
        _bound("VAE_LinNF", {"flows": ("Planar", "Planar")}, posterior="flow"),
        _bound(
            "VAE_IAF",
            {"n_made_blocks": 2, "n_hidden_in_made": 3, "hidden_size": 128},
            posterior="flow",
            ranges={"latent_dim": Range(2)},
            why="each latent variable of an autoregressive flow follows from those before it",
        ),
        _autoencoder(
            "RAE_L2",
            {"embedding_weight": 1e-4, "reg_weight": 1e-7},
            trainer=COUPLED,
            decays=("decoder",),
            recordable=True,
            terms=("reconstruction_loss", "embedding"),
        ),
        _autoencoder(
            "RAE_GP",
            {"embedding_weight": 1e-4, "reg_weight": 1e-7},
            differentiates=True,
            terms=("reconstruction_loss", "embedding", "gradient_penalty"),
        ),
        _vae(
            "Adversarial_AE",
            {"adversarial_loss_scale": 0.5, "reconstruction_loss_scale": 1.0, "deterministic_posterior": False},
            trainer=ADVERSARIAL,
            terms=("reconstruction_loss",),
        ),
        _vae(
            "VAEGAN",
            {"adversarial_loss_scale": 0.5, "reconstruction_layer": -1, "equilibrium": 0.68, "margin": 0.4},
            trainer=COUPLED_ADVERSARIAL,
            recordable=True,
            nets=("encoder", "decoder", "discriminator"),
        ),
        GridInfo(
            "VQVAE",
            fields={
                "latent_dim": 10,
                "commitment_loss_factor": 0.25,
                "quantization_loss_factor": 1.0,
                "num_embeddings": 512,
                "use_ema": False,
                "decay": 0.99,
                DOWNSAMPLING: None,
            },
            encoder=GRID,
            posterior="vq",
            prior="codes",
            sampler="pixelcnn",
            meaningless=(),
            recordable=True,
            terms=("reconstruction_loss", "vq"),
        ),
    )
}
