"""RHVAE (Chadebec et al. 2020): leapfrog steps on a metric that is learned with the model."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # not in its __all__

from vaebench.models.interface import Losses, Moment, Prior
from vaebench.models.posterior import Posterior
from vaebench.models.providers.pythae.hamiltonian import Hamiltonian, HamiltonianModel
from vaebench.models.sampler_options import defaults_of

METRIC_BYTES = 2**28  # of the metric at one time


class Model(HamiltonianModel):
    """Its metric belongs to its state, and so does what an epoch has gathered for the next one."""

    def losses(self, x: Tensor, moment: Moment) -> Losses:
        """pythae's, with its constants made on the device."""
        with torch.device(x.device):
            return super().losses(x, moment)

    def loss_function(
        self,
        recon_x: Tensor,
        x: Tensor,
        z0: Tensor,
        zK: Tensor,
        rhoK: Tensor,
        eps0: Tensor,
        gamma: Tensor,
        mu: Tensor,
        log_var: Tensor,
        G_inv: Tensor,
        G_log_det: Tensor,
    ) -> Tensor:
        """pythae's, to the last bit, but that no distribution is made, which would wait for the device."""
        energy = (torch.transpose(rhoK.unsqueeze(-1), 1, 2) @ G_inv @ rhoK.unsqueeze(-1)).squeeze()
        log_p = self._log_p_xz(recon_x, x, zK) + (-0.5 * energy - 0.5 * G_log_det)
        log_q = self._log_z(eps0) - 0.5 * log_var.sum(dim=1)
        return -(log_p - log_q).mean(dim=0)

    def _log_z(self, z: Tensor) -> Tensor:
        return -0.5 * (self.latent_dim * math.log(2 * math.pi) + z.square().sum(-1))

    def _log_p_x_given_z(self, recon_x: Tensor, x: Tensor) -> Tensor:
        return -self.errors(x, recon_x)

    def encode(self, x: Tensor) -> Posterior:
        """A Gaussian that leapfrog steps move."""
        output = self.encoder(x)
        return Hamiltonian(output.embedding, output.log_covariance, x, self)

    def priors(self) -> Mapping[str, Prior]:
        """The prior by the volume of the metric."""
        return {"rhvae": Prior(self.draw_prior, defaults_of("rhvae"))}

    def draw_prior(self, count: int, options: Mapping[str, object], generator: np.random.Generator) -> Tensor:
        """Hamiltonian Monte Carlo on the learned metric, as pythae does it, from torch's global random numbers."""
        from pythae.samplers import RHVAESampler, RHVAESamplerConfig

        return RHVAESampler(self, RHVAESamplerConfig(**options)).hmc_sampling(count).detach()

    def to(self, *arguments: Any, **options: Any) -> Self:
        """Move the model, its metric and what was gathered for it, which pythae keeps outside its parameters."""
        moved = super().to(*arguments, **options)
        moved.M_tens, moved.centroids_tens = moved.M_tens.to(moved.device), moved.centroids_tens.to(moved.device)
        for queue in (moved.M, moved.centroids):
            queue.extend([queue.popleft().to(moved.device) for _ in range(len(queue))])
        return moved

    def live_state(self) -> dict[str, Any]:
        """The state, with the metric's tensors."""
        return super().live_state() | {"M": self.M_tens, "centroids": self.centroids_tens}

    def resumable_state(self) -> dict[str, Any]:
        """The state, with what this epoch has gathered for the metric."""
        return super().resumable_state() | {"metric_queue": [list(self.M), list(self.centroids)]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the state and the metric's tensors."""
        super().restore(state)
        if "M" not in state:
            return
        device = next(self.parameters()).device
        if len(state["M"]) > 1:  # one random matrix stands for the metric until the first epoch is over
            self.M, self.centroids = deque([state["M"].to(device)]), deque([state["centroids"].to(device)])
            self.update()
        else:
            self.M_tens, self.centroids_tens = state["M"].to(device), state["centroids"].to(device)
        for queue, items in zip((self.M, self.centroids), state.get("metric_queue", ((), ())), strict=True):
            queue.extend(item.to(device) for item in items)

    def moved(self, x: Tensor, start: Tensor, noise: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        """The generalised leapfrog steps of pythae's RHVAE."""
        rows = self._rows_of_metric()
        parts = zip(*(values.split(rows) for values in (x, start, momentum)), strict=True)
        found = [self._some_moved(*part) for part in parts]
        latent, correction = (torch.cat(values) for values in zip(*found, strict=True))
        return latent, correction

    def _some_moved(self, x: Tensor, start: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        """The steps for some images; NaN for those whose path leaves the finite numbers, at which torch stops."""
        try:
            return self._leapfrog(x, start, momentum)
        except (ValueError, LinAlgError):
            if len(start) == 1:
                return torch.full_like(start, torch.nan), torch.full_like(start[:, 0], torch.nan, dtype=torch.float64)
            singles = zip(*(part.split(1) for part in (x, start, momentum)), strict=True)
            latents, corrections = zip(*(self._some_moved(*one) for one in singles), strict=True)
            return torch.cat(latents), torch.cat(corrections)

    def _leapfrog(self, x: Tensor, start: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        """The steps with the metric of the training: latent, correction."""
        with torch.enable_grad():  # the steps differentiate decoder and metric
            z = start.detach().requires_grad_()
            inverse = self.G_inv(z)
            log_volume = -torch.logdet(inverse)
            correction = -0.5 * (momentum.double().square().sum(1) + log_volume.detach().double())
            root = torch.linalg.cholesky(self.G(z))
            rho = (root @ (momentum / self.beta_zero_sqrt).unsqueeze(-1)).squeeze(-1)
            reconstruction, before = self.decoder(z)["reconstruction"], self.beta_zero_sqrt
            for k in range(self.n_lf):
                half = self._leap_step_1(reconstruction, x, z, rho, inverse, log_volume)
                z = self._leap_step_2(reconstruction, x, z, half, inverse, log_volume)
                reconstruction, inverse = self.decoder(z)["reconstruction"], self.G_inv(z)
                log_volume = -torch.logdet(inverse)
                rho = self._leap_step_3(reconstruction, x, z, half, inverse, log_volume)
                after = self._tempering(k + 1, self.n_lf)
                rho, before = before / after * rho, after
        z, rho, inverse = z.detach(), rho.detach().double(), inverse.detach().double()
        energy = torch.einsum("bi,bij,bj->b", rho, inverse, rho)
        return z, correction + 0.5 * (energy + log_volume.detach().double())

    def _rows_of_metric(self) -> int:
        """How many images the metric, a matrix per centroid and image, may take at once: a power of two up to 16."""
        fit = METRIC_BYTES // (4 * self.M_tens.numel())
        return int(2 ** min(4, max(0, fit.bit_length() - 1)))
