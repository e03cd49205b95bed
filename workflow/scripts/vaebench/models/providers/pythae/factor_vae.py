"""FactorVAE (Kim & Mnih 2018, arXiv 1802.05983): a discriminator tells draws from draws with mixed dimensions."""

import torch
from torch import Tensor
from torch.nn import functional

from vaebench.models.interface import Losses, Moment
from vaebench.models.providers.pythae.model import PythaeModel


class Model(PythaeModel):
    """A Gaussian posterior."""

    def losses(self, x: Tensor, moment: Moment) -> Losses:
        """pythae's, with its permutations made on the device."""
        with torch.device(x.device):
            return super().losses(x, moment)

    def loss_function(
        self, recon_x: Tensor, x: Tensor, mu: Tensor, log_var: Tensor, z: Tensor, z_bis_permuted: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """pythae's, to the last bit, but that its labels are made on the device: nothing in a step waits for it."""
        errors = self.errors(x, recon_x)
        kl = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp(), dim=-1)
        scores, scores_of_mixed = self.discriminator(z), self.discriminator(z_bis_permuted)
        correlation = (scores[:, 0] - scores[:, 1]).mean()
        of_draws, of_mixed = (
            functional.cross_entropy(given, torch.full((len(given),), label, device=given.device))
            for label, given in enumerate((scores, scores_of_mixed))
        )
        autoencoder = errors + kl + self.gamma * correlation
        return errors.mean(0), autoencoder.mean(0), 0.5 * (of_draws + of_mixed)
