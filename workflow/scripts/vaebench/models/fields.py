"""What the fields of pythae's model configurations may hold, whichever model has them."""

from dataclasses import dataclass

DISTRIBUTIONS = ("wrapped_normal", "riemannian_normal")


@dataclass(frozen=True)
class Range:
    """The allowed values of a number: from `low` to `high`, both included unless `open_low` or `open_high` says so."""

    low: float = float("-inf")
    high: float = float("inf")
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = self.low < value if self.open_low else self.low <= value
        return above and (value < self.high if self.open_high else value <= self.high)

    def __str__(self) -> str:
        low = f"more than {self.low:g}" if self.open_low else f"at least {self.low:g}"
        high = f"less than {self.high:g}" if self.open_high else f"at most {self.high:g}"
        return low if self.high == float("inf") else f"{low} and {high}"


POSITIVE, NOT_NEGATIVE, COUNT, FRACTION = Range(0, open_low=True), Range(0), Range(1), Range(0, 1)
DECAY = Range(0, 1, open_high=True)  # of a moving average: with 1 nothing is ever taken up

# Every field that must be one of a few words, and every number's range, whichever model has it.
CHOICES = {
    "reconstruction_loss": ("mse", "bce"),
    "kernel_choice": ("imq", "rbf"),
    "prior_distribution": DISTRIBUTIONS,
    "posterior_distribution": DISTRIBUTIONS,
    "flows": ("Planar", "Radial"),
}
RANGES = {
    "latent_dim": COUNT,
    "adversarial_loss_scale": FRACTION,
    "beta_zero": POSITIVE,
    "commitment_loss_factor": NOT_NEGATIVE,
    "curvature": POSITIVE,
    "decay": DECAY,
    "embedding_weight": NOT_NEGATIVE,
    "eps_lf": POSITIVE,
    "equilibrium": POSITIVE,
    "hidden_size": COUNT,
    "kernel_bandwidth": POSITIVE,
    "linear_scheduling_steps": NOT_NEGATIVE,
    "margin": NOT_NEGATIVE,
    "n_hidden_in_made": COUNT,
    "n_lf": COUNT,
    "n_made_blocks": COUNT,
    "num_embeddings": COUNT,
    "number_components": COUNT,
    "number_gradient_estimates": COUNT,
    "number_samples": COUNT,
    "quantization_loss_factor": NOT_NEGATIVE,
    "reconstruction_loss_scale": NOT_NEGATIVE,
    "reg_weight": NOT_NEGATIVE,
    "regularization": POSITIVE,
    "scales": POSITIVE,
    "temperature": POSITIVE,
    "warmup_epoch": NOT_NEGATIVE,
    "window_size": COUNT,
}

# The numbers that must be whole, and the fields that may be null.
WHOLE = frozenset(name for name, allowed in RANGES.items() if allowed is COUNT) | {
    *("linear_scheduling_steps", "reconstruction_layer", "warmup_epoch"),
}
OPTIONAL = ("scales",)
