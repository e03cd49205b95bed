"""The loop that trains one model with one seed. It can be killed at any moment and goes on where it was.

pythae's trainers cannot resume, seed after the model is built, wait for the device at every step and give some
optimizers the gradients of other losses as well. This loop avoids all four; with `gradients: pythae` it repeats their
arithmetic number for number, to be compared.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from vaebench.base.errors import UserError
from vaebench.base.interruption import Interruption
from vaebench.base.npz import open_array
from vaebench.models.building import build_model
from vaebench.models.finiteness import ProbabilityGuard, means_no_numbers
from vaebench.models.interface import Autoencoder, Moment
from vaebench.models.lookup import info_of
from vaebench.models.state import kept_state, restore_model
from vaebench.training.averaging import averaged, begin_average, update_average
from vaebench.training.checkpoint import Checkpoint, Progress, seed_everything
from vaebench.training.divergence import DivergenceWatch
from vaebench.training.minibatches import Minibatches, mean_losses
from vaebench.training.numerics import peak_memory_mb, prepare
from vaebench.training.objectives import make_objectives, prepare_step, step, step_as_pythae, step_schedulers
from vaebench.training.record import TrainingJob
from vaebench.training.requirements import (
    check_images,
    check_select,
    conditions_for,
    smallest_step,
    smallest_validation_batch,
    weights_for,
)
from vaebench.training.steps import RecordedStep, Step
from vaebench.training.tracking import Tracker
from vaebench.training.validation_losses import Validation

CHECK_EVERY = 64  # steps between two looks at the losses; each look waits for the device


class Trainer:
    """The state and the loop of one training: the model, what is minimised, and how far it has come.

    The precision of `job` is never `auto`: it was chosen before.
    """

    def __init__(
        self, job: TrainingJob, device: torch.device, checkpoint: Checkpoint, interruption: Interruption
    ) -> None:
        spec, seed, files = job.spec, job.seed, job.files
        self.spec, self.seed, self.device = spec, seed, device
        self.training = spec.training
        self.info = info_of(spec.model_name).of(spec.config)
        self.as_pythae = self.training.gradients == "pythae"
        self.checkpoint, self.interruption = checkpoint, interruption
        check_select(self.info, self.training)
        images, validation = open_array(files.train), open_array(files.eval)
        self.input_shape = images.shape[1:]
        seed_everything(seed)
        model = build_model(spec, self.input_shape)
        model.take_weights(weights_for(self.info, files.weights))
        self.model = prepare(model, self.training, device)
        self.guard = ProbabilityGuard(self.model)
        at_least, validated = smallest_step(self.info, self.model), smallest_validation_batch(self.info, self.model)
        channels_last = self.training.channels_last and not self.as_pythae and device.type == "cuda"
        self.train_set = Minibatches(images, self.training.batch_size, device, at_least, channels_last)
        self.eval_set = Minibatches(validation, self.training.eval_batch_size, device, validated, channels_last)
        check_images(self.info, self.train_set, self.eval_set)
        if self.model.labels:
            for split, minibatches in (("train", self.train_set), ("eval", self.eval_set)):
                minibatches.conditions = conditions_for(self.model, files.labels[split], minibatches, device)
        self.validation = Validation(self.model, self.info, self.guard, self.eval_set, seed, self.as_pythae)
        if self.as_pythae:
            self._warm_up_as_pythae()
        seed_everything(seed)
        self.steps_per_epoch = len(self.train_set.order(shuffle=False))
        self.objectives = make_objectives(self.model, self.training, self.steps_per_epoch)
        warmup = self.training.warmup
        self.warmup = warmup.length(self.steps_per_epoch) if warmup else 0
        self.progress = checkpoint.restore(self.model, self.objectives) or self._start()
        if self.training.precision not in self.progress.precisions:
            self.progress.precisions.append(self.training.precision)
        self.watch = DivergenceWatch(f"{spec.run} seed {seed}", self.progress, self.training.precision, checkpoint)
        self.saved_at = time.monotonic()

    def run(self, tracker: Tracker) -> None:
        """Train until the last epoch, or until the patience is over."""
        epochs = self.training.epochs
        if not self.progress.rows:
            validation = self.validate(0, fixed_noise=True)
            self.watch.check_validation(0, validation)
            self._record("eval", 0, validation, tracker)
        with tqdm(total=epochs, initial=self.progress.epoch, unit="epoch", desc=self.spec.run) as bar:
            while not self._is_over():
                self.train_epoch(tracker)
                bar.set_postfix(self._summary())
                bar.update()

    def run_or_explain(self, tracker: Tracker) -> None:
        """`run`; what can be put into words is raised as `UserError`, and recorded in the state folder."""
        try:
            self.run(tracker)
        except (torch.OutOfMemoryError, MemoryError) as error:
            size, smaller = self.training.batch_size, ", or set training.precision to bf16"
            self.checkpoint.fail({"reason": "out of memory", "batch_size": size, "error": str(error)})
            raise UserError(
                f"{self.spec.run}: out of memory on {self.device} with training.batch_size {size} and "
                f"training.eval_batch_size {self.training.eval_batch_size}; lower them"
                f"{'' if self.training.precision == 'bf16' else smaller}"
            ) from error
        except Exception as error:
            if not (self.progress.steps and means_no_numbers(error)):
                raise
            self.watch.explain(error)

    def train_epoch(self, tracker: Tracker) -> None:
        """Train one epoch (or the rest of one), validate, and save the state."""
        progress, epoch = self.progress, self.progress.epoch + 1
        if not progress.order:
            order = self.train_set.order(shuffle=True, mirror=self.training.augmentation.horizontal_flip)
            progress.order = [torch.from_numpy(indices) for indices in order]
        order = [indices.numpy() for indices in progress.order]
        one_step = self.make_step(epoch)
        self.model.train()
        started, before = time.monotonic(), progress.seconds
        for x in self.train_set.load_given(self.model, order[progress.position :]):
            prepare_step(self.objectives, progress.steps + 1, self.warmup)
            progress.records.append(one_step(x))
            progress.position += 1
            progress.steps += 1
            if self.training.ema is not None:
                update_average(progress.average, self.model, self.training.ema.decay, progress.steps)
            progress.images_seen += len(x)
            progress.seconds = before + time.monotonic() - started
            self._check_and_save(epoch)
        self.watch.check_steps(epoch)
        progress.seconds = before + time.monotonic() - started  # the device is done now: recorded steps run behind
        self.model.end_epoch()
        rates = self._speed()
        self._record("train", epoch, self._means(order) | rates, tracker)
        validation = self.validate(epoch, fixed_noise=not self.as_pythae)
        self.watch.check_validation(epoch, validation)
        self._record("eval", epoch, validation, tracker)
        step_schedulers(self.objectives, validation)
        self._keep_if_best(epoch, validation)
        progress.total_seconds += progress.seconds
        progress.epoch, progress.order, progress.position = epoch, [], 0
        progress.records, progress.seconds = [], 0.0
        self._save()
        self.checkpoint.report({"epoch": epoch, "epochs": self.training.epochs, **rates, **self._summary()})
        if not self._is_over():
            self._stop_if_asked()

    def make_step(self, epoch: int) -> Step:
        """A function that trains on one batch of this epoch and gives its losses, (terms,) on the device."""
        recorded = self._can_record()
        update = step_as_pythae if self.as_pythae else partial(step, on_device=recorded)

        def one_step(x: Tensor) -> Tensor:
            self.guard.begin()
            moment = Moment(epoch, len(self.train_set), self.progress.steps + 1)
            with torch.autocast(self.device.type, enabled=False):  # networks within cast their weights once a step
                losses = self.model.losses(x, moment)
            update(self.objectives, losses)
            self.progress.terms = list(losses.terms)
            return self.guard.losses(losses.terms)

        return RecordedStep(one_step) if recorded else one_step

    def _can_record(self) -> bool:
        """Whether steps can be recorded: on a GPU, where neither the model nor an optimizer waits for the device.

        A recording holds the learning rates, so that they must not change within the epoch.
        """
        wanted = self.training.record_steps and not self.training.compile and not self.as_pythae
        fused = all(objective.optimizer.defaults.get("fused") for objective in self.objectives)
        changing = self.progress.steps < self.warmup or any(objective.by_step for objective in self.objectives)
        return wanted and fused and not changing and self.device.type == "cuda" and self.info.recordable

    def validate(self, epoch: int, fixed_noise: bool) -> dict[str, float]:
        """Means over the validation images of every loss term, and of `mse` for deterministic reconstructions.

        Where weights are averaged, the averaged ones are used. With `fixed_noise` each validation draws the same noise
        and leaves the training's random numbers alone.
        """
        with averaged(self.model, self.progress.average):
            return self.validation.means(epoch, self.progress.steps, fixed_noise)

    def best_model(self) -> Autoencoder:
        """The model of the kept epoch, on the CPU and as it was built."""
        with torch.random.fork_rng(devices=[]):
            model = build_model(self.spec, self.input_shape)
        restore_model(model, self.progress.best["state"] or self._kept_state())
        return model

    def _start(self) -> Progress:
        return Progress(average=begin_average(self.model) if self.training.ema is not None else [])

    def _kept_state(self) -> dict[str, Any]:
        """The state that is kept of an epoch: that of the model as it is validated."""
        with averaged(self.model, self.progress.average):
            return kept_state(self.model)

    def _warm_up_as_pythae(self) -> None:
        """pythae tries one batch in training mode before it seeds: batch norms, EMA codebooks and metrics move."""
        first = self.train_set.order(shuffle=True)[:1]
        for x in self.train_set.load_given(self.model, first):
            self.model.losses(x, Moment())

    def _check_and_save(self, epoch: int) -> None:
        """Between two steps: look for diverging losses now and then, save when it is time, stop when asked."""
        due = time.monotonic() - self.saved_at > 60 * self.training.checkpoint_minutes
        if due or self.interruption.asked or self.progress.position % CHECK_EVERY == 0:
            self.watch.check_steps(epoch)
        if due or self.interruption.asked:
            self._save()
            self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self.interruption.asked:
            steps = f" and {self.progress.position} steps" if self.progress.position else ""
            done = f"{self.progress.epoch} of {self.training.epochs} epochs{steps}"
            raise self.interruption.end(f"the state is saved, and the training goes on from there ({done})")

    def _save(self) -> None:
        self.watch.check_weights(self.model)
        self.checkpoint.save(self.model, self.objectives, self.progress)
        self.saved_at = time.monotonic()

    def _means(self, order: Sequence[Any]) -> dict[str, float]:
        means = mean_losses(self.progress.records, order, by_batch=self.as_pythae)
        return dict(zip(self.progress.terms, means, strict=True))

    def _speed(self) -> dict[str, float]:
        rates = {f"learning_rate_{objective.name}": objective.learning_rate for objective in self.objectives}
        if len(rates) == 1:
            rates = {"learning_rate": self.objectives[0].learning_rate}
        return rates | {
            "images_per_second": len(self.train_set) / max(self.progress.seconds, 1e-9),
            "seconds": self.progress.seconds,
            "peak_memory_mb": peak_memory_mb(self.device),
        }

    def _record(self, split: str, epoch: int, values: Mapping[str, float], tracker: Tracker) -> None:
        rows = [{"epoch": epoch, "split": split, "term": term, "value": value} for term, value in values.items()]
        self.progress.rows.extend(rows)
        tracker.log({f"{split}/{term}": value for term, value in values.items()}, epoch)

    def _keep_if_best(self, epoch: int, validation: Mapping[str, float]) -> None:
        value = validation.get(self.training.select)
        best = self.progress.best.get("value")
        if value is None or best is None or value < best:
            state = None if value is None else self._kept_state()
            self.progress.best = {"epoch": epoch, "value": value, "state": state}

    def _is_over(self) -> bool:
        return self.progress.epoch >= self.training.epochs or self._patience_is_over()

    def _patience_is_over(self) -> bool:
        patience, best = self.training.patience, self.progress.best
        return patience is not None and bool(best) and self.progress.epoch - best["epoch"] >= patience

    def _summary(self) -> dict[str, float]:
        last = {row["term"]: row["value"] for row in self.progress.rows if row["split"] == "eval"}
        return {"mse": round(last["mse"], 6), "loss": round(last["loss"], 3)}
