"""MIWAE and PIWAE (Rainforth et al. 2018, arXiv 1802.04537): several importance-weighted bounds for each image."""

from torch import Tensor

from vaebench.models.interface import Losses, Moment
from vaebench.models.providers.pythae.model import PythaeModel


class Model(PythaeModel):
    """The mean of `number_gradient_estimates` bounds of `number_samples` draws each.

    pythae lays its draws out as (images, estimates, samples, ...), weighs them along the estimates and takes the mean
    over the samples: it has the two fields' meanings exchanged. Where its own training is not repeated, it is given
    each number in the place of the other.
    """

    n_samples: int
    gradient_n_estimates: int

    def losses(self, x: Tensor, moment: Moment) -> Losses:
        """pythae's, of bounds of as many draws as the configuration says."""
        if not self.as_stock:
            config = self.model_config
            self.n_samples, self.gradient_n_estimates = config.number_gradient_estimates, config.number_samples
        return super().losses(x, moment)
