"""What is measured of a trained model, and on which images.

The Snakefile reads this module, so that nothing heavy is imported here.
"""

from dataclasses import dataclass

TRAINED_ON = "the model was trained on the LPIPS of this network, which is no fair judge of it"  # a note on a value
GIVEN = ", given "  # in the note on a conditional model's bounds, before the names of its labels


@dataclass(frozen=True)
class SetSettings:
    """How sets of images are compared: in which networks' features, with how many neighbours, on how many images.

    prd: whether precision and recall of distributions are measured too, which takes clustering.
    """

    features: tuple[str, ...]
    neighbours: int
    limit: int
    prd: bool = False


@dataclass(frozen=True)
class LikelihoodSettings:
    """Importance samples of an image, and the number of images whose likelihood is bounded."""

    samples: int
    images: int


@dataclass(frozen=True)
class EvaluationSettings:
    """The section `evaluation`, and the device: `auto`, `cuda`, `mps` or `cpu`.

    `split` is the one that is reported, its first `limit` images or all (None). `lpips` names backbones, `dists` is
    whether DISTS is measured, `factors` are columns of the label file. `samples_per_image` posterior draws are
    reconstructed where it is not 0, and bounds are means over `elbo_draws`. No value depends on `batch_size`.
    """

    split: str
    batch_size: int
    limit: int | None
    suites: tuple[str, ...]
    protocol: str
    lpips: tuple[str, ...]
    factors: tuple[str, ...]
    samples_per_image: int
    elbo_draws: int
    distribution: SetSettings
    likelihood: LikelihoodSettings
    device: str = "auto"
    dists: bool = False
