"""Ends a training whose numbers are no longer finite, and says what went wrong first, and where."""

import math
from collections.abc import Mapping
from typing import NoReturn

import torch

from vaebench.base.errors import UserError
from vaebench.models.finiteness import not_finite
from vaebench.models.interface import Autoencoder
from vaebench.training.checkpoint import Checkpoint, Progress

DIVERGED = 1e10  # pythae stops at the same value


class DivergenceWatch:
    """Looks for numbers that are not finite, or beyond all bounds, in the training that is called `name`.

    `progress` is that of the training, `precision` the one it computes in. Each check raises `UserError` for what it
    finds and records it in the state folder (failure.json); the last state stays as it is.
    """

    def __init__(self, name: str, progress: Progress, precision: str, checkpoint: Checkpoint) -> None:
        self.name, self.progress, self.precision, self.checkpoint = name, progress, precision, checkpoint

    def check_steps(self, epoch: int) -> None:
        """The losses of the steps of this epoch so far; waits for the device."""
        if not self.progress.records:
            return
        records = torch.stack(self.progress.records).cpu()
        bad = ~(records.abs() < DIVERGED)
        if not bad.any():
            return
        index, column = (int(i) for i in bad.nonzero()[0])
        self.fail(self.progress.terms[column], float(records[index, column]), epoch, index + 1)

    def check_validation(self, epoch: int, values: Mapping[str, float]) -> None:
        """The values of the validation after this epoch."""
        bad = [(f"validation {term}", value) for term, value in values.items() if not math.isfinite(value)]
        if bad:
            self.fail(*bad[0], epoch)

    def check_weights(self, model: Autoencoder) -> None:
        """The weights and buffers of the model; waits for the device."""
        if name := not_finite(model.live_state()):
            weight = f"weight {name.removeprefix('model_state_dict.')}"
            self.fail(weight, "not finite", self.progress.epoch + bool(self.progress.position))

    def explain(self, error: Exception) -> NoReturn:
        """Put an exception that numbers without bounds led to (`means_no_numbers`) into words."""
        epoch, step = self.progress.epoch + 1, self.progress.position + 1
        if "device-side assert" not in str(error):  # after which the GPU gives no numbers back
            self.check_steps(epoch)  # an earlier step may have been the first to diverge
        self.fail("model output", "not finite", epoch, step if step <= len(self.progress.order) else None)

    def fail(self, term: str, value: float | str, epoch: int, step: int | None = None) -> NoReturn:
        """Record that `term` diverged in an epoch, perhaps in a step of it, and raise `UserError`."""
        self.checkpoint.fail({"reason": "diverged", "term": term, "value": str(value), "epoch": epoch, "step": step})
        if not self.progress.steps:
            raise UserError(
                f"{self.name}: {term} is {value} in the first validation; nothing was trained: look at the networks "
                "and the config of this run (bce needs a decoder whose values lie between 0 and 1)"
            )
        where = f"{f'step {step} of ' if step else ''}epoch {epoch}"
        exact = "" if self.precision == "fp32" else ", or set training.precision to fp32"
        raise UserError(
            f"{self.name}: {term} is {value} in {where}; lower training.learning_rate{exact}. "
            "The last good state is kept."
        )
