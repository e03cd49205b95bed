"""Autoencoders whose code is a point, beside those of pythae, without importing torch."""

from vaebench.models.catalog import ADVERSARIAL, VECTOR, ModelInfo
from vaebench.models.fields import COUNT, NOT_NEGATIVE

# The module beside this one that builds each.
MODULES = {"RAE": "regularized", "RAE_SN": "regularized", "WAE_GAN": "wae_gan"}
RAE_FIELDS = {"latent_dim": 64, "reconstruction_loss": "mse", "embedding_weight": 1e-4}


def _model(name: str, fields: dict[str, object], sampler: str, terms: tuple[str, ...], trainer: str) -> ModelInfo:
    return ModelInfo(
        name,
        fields=fields,
        trainer=trainer,
        encoder=VECTOR,
        posterior="none",
        prior="normal" if sampler == "normal" else "none",
        sampler=sampler,
        ranges={"embedding_weight": NOT_NEGATIVE, "reg_weight": NOT_NEGATIVE, "hidden": COUNT, "layers": COUNT},
        terms=terms,
        exact_only=trainer == ADVERSARIAL,
    )


MODELS: dict[str, ModelInfo] = {
    info.name: info
    for info in (
        _model("RAE", RAE_FIELDS, "gaussian_mixture", ("reconstruction_loss", "embedding"), "single"),
        _model("RAE_SN", RAE_FIELDS, "gaussian_mixture", ("reconstruction_loss", "embedding"), "single"),
        _model(
            "WAE_GAN",
            {"latent_dim": 64, "reconstruction_loss": "mse", "reg_weight": 10.0, "hidden": 512, "layers": 4},
            "normal",
            ("reconstruction_loss",),
            ADVERSARIAL,
        ),
    )
}
