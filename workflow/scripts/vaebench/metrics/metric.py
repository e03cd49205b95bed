"""The description of a metric, and one value of it."""

import math
from dataclasses import dataclass

ALL = "all models"
GAUSSIAN = "Gaussian posteriors"
BERNOULLI = "models trained on cross-entropy"
DISTRIBUTION = "models with a posterior or a code prior"
VQ = "VQ models"
CODEBOOK = "VQ models with a codebook of vectors"
VAEGAN = "VAEGAN"
FITTED = "samplers that fit a density to latents"
LABELS = "data sets with labels"
FACTORS = "data sets with discrete factors"
CONDITIONAL = "conditional models"

SUITES = ("reconstruction", "generation", "latent", "likelihood")
GROUPS = 10  # of a jackknife, at most; never of fewer than two images


@dataclass(frozen=True)
class Metric:
    """One metric: what a row of runs.csv with this name means.

    name: the key in runs.csv; label: for axes and headings; symbol: LaTeX, without dollar signs; unit: empty when it
    has none; higher_is_better: None when neither direction is better; suite: the file it is written to; range: the
    values it can take; formula: plain text, exact; applies_to: the models or data it is defined for; headline: shown
    in comparison.csv; per_image: a column of per_image.parquet; function: for a metric between an image and its
    reconstruction, the function of metrics/reconstruction.py that computes it; features: the network whose features it
    is computed on, empty for none; long_only: in runs.csv but in no table of a row per run, since it can be won by
    collapse, or compares samplers of one model alone; grouped: whether its standard error is a jackknife's, which
    leaves out one group of images at a time.
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
    function: str = ""
    features: str = ""
    long_only: bool = False
    grouped: bool = False

    def freedom(self, n: int) -> int:
        """Degrees of freedom of its standard error over n images or samples, at least 1: one less than are averaged."""
        return max((min(GROUPS, n // 2) if self.grouped else n) - 1, 1)


@dataclass(frozen=True)
class Value:
    """One measured value of a metric.

    n: on how many images or samples; std_error: its standard error for this one trained model, over those images or
    samples, NaN where it is not known; note: what qualifies it, or why it is absent.
    """

    value: float
    n: int
    std_error: float = math.nan
    note: str = ""
