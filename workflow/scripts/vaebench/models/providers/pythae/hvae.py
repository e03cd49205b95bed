"""HVAE (Caterini et al. 2018)."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vaebench.models.posterior import Posterior
from vaebench.models.providers.pythae.hamiltonian import Hamiltonian, HamiltonianModel


class Model(HamiltonianModel):
    """It takes softplus of its encoder's answer as the standard deviation.

    Trained on cross-entropy its decoder gives logits; networks here give images, so that only pretrained ones are.
    """

    def encode(self, x: Tensor) -> Posterior:
        """A Gaussian that leapfrog steps move."""
        output = self.encoder(x)
        return Hamiltonian(output.embedding, _log_variance(output.log_covariance), x, self)

    def loss_function(self, x: Tensor, zK: Tensor, rhoK: Tensor, z0: Tensor, mu: Tensor, log_var: Tensor) -> Tensor:
        """pythae's, with the entropy of the Gaussian that is drawn from.

        pythae takes that of one with the encoder's answer as its log variance. Where its own training is not repeated,
        the loss is the bound that is measured, less squares of the noise whose mean is constant.
        """
        stock: Any = super()
        loss: Tensor = stock.loss_function(x, zK, rhoK, z0, mu, log_var if self.as_stock else _log_variance(log_var))
        return loss

    def decode(self, z: Tensor) -> Tensor:
        """The decoder's answer; of a model trained on cross-entropy it is logits."""
        images = super().decode(z)
        return torch.sigmoid(images) if self.model_config.reconstruction_loss == "bce" else images

    def moved(self, x: Tensor, start: Tensor, noise: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        """The steps of pythae's HVAE, which leaves its tempering out."""
        z, rho = start, momentum / self.beta_zero_sqrt
        for _ in range(self.n_lf):
            half = rho - self.eps_lf / 2 * self._slope(z, x)
            z = z + self.eps_lf * rho
            rho = half - self.eps_lf / 2 * self._slope(z, x)
        energies = 0.5 * (rho.double().square() - momentum.double().square()).sum(1)
        return z, energies + start.shape[1] * torch.log(self.beta_zero_sqrt.double()).to(energies)

    def _log_p_x_given_z(self, recon_x: Tensor, x: Tensor) -> Tensor:
        """pythae's, (B,), but that the cross-entropy, which pythae has of black and white only, takes grey as well."""
        if self.model_config.reconstruction_loss != "bce":
            stock: Any = super()
            found: Tensor = stock._log_p_x_given_z(recon_x, x)
            return found
        logits, pixels = recon_x.reshape(len(x), -1), x.reshape(len(x), -1)
        return -functional.binary_cross_entropy_with_logits(logits, pixels, reduction="none").sum(-1)

    def _slope(self, z: Tensor, x: Tensor) -> Tensor:
        """Gradient of -ln p(x, z) in z."""
        with torch.enable_grad():
            return self._dU_dz(z.detach().requires_grad_(), x).detach()


def _log_variance(answer: Tensor) -> Tensor:
    """ln σ² where the encoder's answer says σ = softplus(answer)."""
    return 2 * torch.log(functional.softplus(answer))
