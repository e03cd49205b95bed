"""The losses of a model on the validation images, after each epoch."""

from contextlib import nullcontext, suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from vaebench.base.devices import random_numbers_kept, sum_in_float64
from vaebench.models.catalog import ModelInfo
from vaebench.models.finiteness import ProbabilityGuard
from vaebench.models.inference import reconstruct
from vaebench.models.interface import Autoencoder, Moment
from vaebench.training.minibatches import Minibatches, mean_losses


@dataclass(frozen=True)
class Validation:
    """The validation of one training: its model, the images, and the seed of the fixed noise.

    `as_pythae` repeats what pythae's trainers do before and while they validate.
    """

    model: Autoencoder
    info: ModelInfo
    guard: ProbabilityGuard
    images: Minibatches
    seed: int
    as_pythae: bool

    def means(self, epoch: int, steps: int, fixed_noise: bool) -> dict[str, float]:
        """Means over the images of every loss term, and of `mse` for deterministic reconstructions.

        `epoch` epochs and `steps` steps are done. With `fixed_noise` each validation draws the same noise and leaves
        the training's random numbers alone.
        """
        self.model.eval()
        records, squares = [], []
        with random_numbers_kept(self.images.device) if fixed_noise else nullcontext():
            if fixed_noise:
                torch.manual_seed(self.seed)
            order = self.images.order(shuffle=not fixed_noise)
            for x in self.images.load_given(self.model, order):
                self.guard.begin()
                losses = self._losses(x, Moment(epoch, len(self.images), steps))
                records.append(self.guard.losses(losses))
                squares.append(sum_in_float64((reconstruct(self.model, x.detach()) - x.detach()).square()))
        means = dict(zip(losses, mean_losses(records, order, by_batch=self.as_pythae), strict=True))
        return means | {"mse": float(torch.stack(squares).sum()) / self.images.images.size}

    def _losses(self, x: Tensor, moment: Moment) -> dict[str, Tensor]:
        if self.info.differentiates and self.as_pythae:
            with torch.no_grad(), suppress(RuntimeError):  # pythae tries this first, which takes random numbers
                self.model.losses(x, moment)
        with torch.set_grad_enabled(self.info.differentiates):
            return self.model.losses(x.clone() if self.info.differentiates else x, moment).terms
