"""Train one model with one seed in our own loop. It can be killed at any moment and goes on where it was.

pythae's trainers cannot resume, seed after the model is built, wait for the device at every step and mix up gradients.
This loop does none of that; with `gradients: pythae` it repeats their arithmetic number for number, to be compared.
"""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor
from tqdm import tqdm

from vaebench.base.devices import choose_device, random_numbers_kept, sum_in_float64
from vaebench.base.errors import UserError
from vaebench.base.failures import full_disk_said
from vaebench.base.files import remove_left_overs
from vaebench.base.interruption import Interruption
from vaebench.base.npz import open_array, pixels_sha256
from vaebench.base.provenance import environment, write_provenance
from vaebench.config.training_settings import why_not_select
from vaebench.models.building import build_model, has_batch_norm, has_batch_norm_of_single_pixels
from vaebench.models.finiteness import ProbabilityGuard, means_no_numbers, not_finite
from vaebench.models.inference import reconstruct
from vaebench.models.interface import Autoencoder, Moment
from vaebench.models.lookup import info_of
from vaebench.models.run_spec import RunSpec
from vaebench.models.storage import kept_state, restore_model, save_model
from vaebench.training.averaging import averaged, begin_average, update_average
from vaebench.training.checkpoint import Checkpoint, Progress, seed_everything
from vaebench.training.minibatches import Minibatches
from vaebench.training.numerics import numerics, peak_memory_mb, prepare
from vaebench.training.objectives import make_objectives, prepare_step, step, step_as_pythae, step_schedulers
from vaebench.training.precision import choose_precision
from vaebench.training.record import TrainingFiles, memory_advice, training_key, write_history
from vaebench.training.state_folder import held
from vaebench.training.steps import RecordedStep, Step
from vaebench.training.tracking import Tracker, open_tracker

CHECK_EVERY = 64  # steps between two looks at the losses; each look waits for the device
DIVERGED = 1e10  # pythae stops at the same value


def train(spec: RunSpec, seed: int, files: TrainingFiles, code: str, threads: int, tracking: str = "none") -> None:
    """Train the run `spec` with `seed` and write the model, its history and its provenance.

    The state is used again only with the same specification, seed, `code` (a fingerprint) and data. On SIGTERM,
    SIGUSR1 and SIGINT the state is saved and the process ends (`Interrupted`) with 128 + the signal's number; once the
    last epoch is done they are ignored. The last state stays: with it the results are written again without training,
    until `state_folder.forget` removes it. No two processes train with one state folder at a time. Precision
    `auto` is chosen for the device; a state that another device left in fp32 goes on in it. Raises `UserError` on a
    wrong setting, a loss that is not finite or diverges (state/failure.json then names the term and the step), and when
    memory or the disk runs out.
    """
    with full_disk_said(files.state), held(files.state):
        for path in (files.output, files.history, files.provenance):
            remove_left_overs(path)
        training, record = spec.training, spec.as_record()
        device = choose_device(training.device)
        data = {"train": pixels_sha256(files.train), "eval": pixels_sha256(files.eval)}
        checkpoint = Checkpoint(files.state, training_key(spec, seed, code, data))
        precision = choose_precision(spec, device, checkpoint.precisions())
        resolved = replace(spec, training=replace(training, precision=precision))
        with numerics(resolved.training, device, threads), Interruption() as interruption:
            trainer = Trainer(resolved, seed, files, device, checkpoint, interruption)
            attempt = {"resumed_at_epoch": trainer.progress.epoch, "precision": precision}
            attempts = checkpoint.begin_attempt({**environment(str(device)), **attempt})
            with open_tracker(tracking, files.state / "tracking", f"{spec.run}-seed{seed}", record) as tracker:
                trainer.run_or_explain(tracker)
            interruption.finished = True
            best = trainer.best_model()
            save_model(best, record, files.output)
            write_history(trainer.progress.rows, files.history)
            described = {
                "spec": record,
                "seed": seed,
                "code": code,
                "data": data,
                "parameters": sum(parameter.numel() for parameter in best.parameters() if parameter.requires_grad),
                "kept_epoch": trainer.progress.best["epoch"],
                "kept_by": {"metric": training.select, "value": trainer.progress.best["value"]},
                "epochs": trainer.progress.epoch,
                "steps": trainer.progress.steps,
                "images_seen": trainer.progress.images_seen,
                "seconds": trainer.progress.total_seconds,
                "peak_memory_mb": peak_memory_mb(device),
                "threads": threads,
                "precision": ", then ".join(trainer.progress.precisions),
                "environment": environment(str(device)),
                "attempts": attempts,
            }
            write_provenance(files.provenance, described)
            checkpoint.finish()
            print(
                f"{spec.run} seed {seed}: {trainer.progress.epoch} epochs in {trainer.progress.total_seconds:.0f} s "
                f"({described['precision']}), kept epoch {trainer.progress.best['epoch']} ({training.select}); "
                f"model in {files.output}",
                file=sys.stderr,
            )


class Trainer:
    """The state and the loop of one training: the model, what is minimised, and how far it has come.

    The precision in `spec` is one that is computed in, not `auto`.
    """

    def __init__(
        self,
        spec: RunSpec,
        seed: int,
        files: TrainingFiles,
        device: torch.device,
        checkpoint: Checkpoint,
        interruption: Interruption,
    ) -> None:
        self.spec, self.seed, self.device = spec, seed, device
        self.training = spec.training
        self.info = info_of(spec.model_name).of(spec.config)
        self.as_pythae = self.training.gradients == "pythae"
        self.checkpoint, self.interruption = checkpoint, interruption
        self._check_select()
        images, validation = open_array(files.train), open_array(files.eval)
        self.input_shape = images.shape[1:]
        seed_everything(seed)
        model = build_model(spec, self.input_shape)
        model.take_weights(self._weights(files))
        self.model = prepare(model, self.training, device)
        self.guard = ProbabilityGuard(self.model)
        smallest = max(self.info.smallest_batch, 2 if has_batch_norm(self.model) else 1)
        channels_last = self.training.channels_last and not self.as_pythae and device.type == "cuda"
        self.train_set = Minibatches(images, self.training.batch_size, device, self._smallest_step(), channels_last)
        self.eval_set = Minibatches(validation, self.training.eval_batch_size, device, smallest, channels_last)
        self._check_sizes()
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
        self.saved_at = time.monotonic()

    def run(self, tracker: Tracker) -> None:
        """Train until the last epoch, or until the patience is over."""
        epochs = self.training.epochs
        if not self.progress.rows:
            validation = self.validate(0, fixed_noise=True)
            self._check_validation(0, validation)
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
            size = self.training.batch_size
            self.checkpoint.fail({"reason": "out of memory", "batch_size": size, "error": str(error)})
            raise UserError(memory_advice(self.spec, self.device)) from error
        except Exception as error:
            if not (self.progress.steps and means_no_numbers(error)):
                raise
            if "device-side assert" not in str(error):  # after which the GPU gives no numbers back
                self._check_finite(self.progress.epoch + 1)  # an earlier step may have been the first to diverge
            position = self.progress.position + 1
            step = position if position <= len(self.progress.order) else None
            self.fail_diverged("model output", "not finite", self.progress.epoch + 1, step)

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
        for x in self.train_set.load(order[progress.position :]):
            prepare_step(self.objectives, progress.steps + 1, self.warmup)
            progress.records.append(one_step(x))
            progress.position += 1
            progress.steps += 1
            if self.training.ema is not None:
                update_average(progress.average, self.model, self.training.ema.decay, progress.steps)
            progress.images_seen += len(x)
            progress.seconds = before + time.monotonic() - started
            self._look_after(epoch)
        self._check_finite(epoch)
        self.model.end_epoch()
        rates = self._speed(len(order))
        self._record("train", epoch, self._means(progress.records, order) | rates, tracker)
        validation = self.validate(epoch, fixed_noise=not self.as_pythae)
        self._check_validation(epoch, validation)
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
        update = step_as_pythae if self.as_pythae else step

        def one_step(x: Tensor) -> Tensor:
            self.guard.begin()
            moment = Moment(epoch, len(self.train_set), self.progress.steps + 1)
            with torch.autocast(self.device.type, enabled=False):  # networks within cast their weights once a step
                losses = self.model.losses(x, moment)
            update(self.objectives, losses)
            self.progress.terms = list(losses.terms)
            return self.guard.losses(losses.terms)

        return RecordedStep(one_step) if self._can_record() else one_step

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

        Where weights are averaged, it is of the averaged ones. With `fixed_noise` each validation draws the same noise
        and leaves the training's random numbers alone.
        """
        with averaged(self.model, self.progress.average):
            return self._validate(epoch, fixed_noise)

    def _validate(self, epoch: int, fixed_noise: bool) -> dict[str, float]:
        self.model.eval()
        records, squares = [], []
        with random_numbers_kept(self.device) if fixed_noise else nullcontext():
            if fixed_noise:
                torch.manual_seed(self.seed)
            order = self.eval_set.order(shuffle=not fixed_noise)
            for x in self.eval_set.load(order):
                self.guard.begin()
                losses = self._validation_losses(x, epoch)
                records.append(self.guard.losses(losses))
                squares.append(sum_in_float64((reconstruct(self.model, x.detach()) - x.detach()).square()))
        means = dict(zip(losses, self._average(records, order), strict=True))
        return means | {"mse": float(torch.stack(squares).sum()) / self.eval_set.images.size}

    def best_model(self) -> Autoencoder:
        """The model of the kept epoch, on the CPU and as it was built."""
        with torch.random.fork_rng(devices=[]):
            model = build_model(self.spec, self.input_shape)
        restore_model(model, self.progress.best["state"] or self._kept_state())
        return model

    def _start(self) -> Progress:
        return Progress(average=begin_average(self.model) if self.training.ema is not None else [])

    def _kept_state(self) -> dict[str, Any]:
        """What is kept of an epoch: the model as it is validated."""
        with averaged(self.model, self.progress.average):
            return kept_state(self.model)

    def _validation_losses(self, x: Tensor, epoch: int) -> dict[str, Tensor]:
        moment = Moment(epoch, len(self.eval_set), self.progress.steps)
        if self.info.differentiates and self.as_pythae:
            with torch.no_grad(), suppress(RuntimeError):  # pythae tries this first, which takes random numbers
                self.model.losses(x, moment)
        with torch.set_grad_enabled(self.info.differentiates):
            return self.model.losses(x.clone() if self.info.differentiates else x, moment).terms

    def _warm_up_as_pythae(self) -> None:
        """pythae tries one batch in training mode before it seeds: batch norms, EMA codebooks and metrics move."""
        first = self.train_set.order(shuffle=True)[:1]
        for x in self.train_set.load(first):
            self.model.losses(x, Moment())

    def _look_after(self, epoch: int) -> None:
        """Between two steps: look for diverging losses now and then, save when it is time, stop when asked."""
        due = time.monotonic() - self.saved_at > 60 * self.training.checkpoint_minutes
        if due or self.interruption.asked or self.progress.position % CHECK_EVERY == 0:
            self._check_finite(epoch)
        if due or self.interruption.asked:
            self._save()
            self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self.interruption.asked:
            steps = f" and {self.progress.position} steps" if self.progress.position else ""
            done = f"{self.progress.epoch} of {self.training.epochs} epochs{steps}"
            raise self.interruption.end(f"the state is saved, and the training goes on from there ({done})")

    def _save(self) -> None:
        if name := not_finite(self.model.live_state()):
            self.fail_diverged(
                f"weight {name.removeprefix('model_state_dict.')}",
                "not finite",
                self.progress.epoch + bool(self.progress.position),
            )
        self.checkpoint.save(self.model, self.objectives, self.progress)
        self.saved_at = time.monotonic()

    def _check_finite(self, epoch: int) -> None:
        """Raise `UserError` when a loss of this epoch is not a number or beyond all bounds; the last state stays."""
        if not self.progress.records:
            return
        records = torch.stack(self.progress.records).cpu()
        bad = ~(records.abs() < DIVERGED)
        if not bad.any():
            return
        index, column = (int(i) for i in bad.nonzero()[0])
        self.fail_diverged(self.progress.terms[column], float(records[index, column]), epoch, index + 1)

    def _check_validation(self, epoch: int, values: Mapping[str, float]) -> None:
        """Raise `UserError` when a value of the validation is no finite number."""
        bad = [(f"validation {term}", value) for term, value in values.items() if not math.isfinite(value)]
        if bad:
            self.fail_diverged(*bad[0], epoch)

    def fail_diverged(self, term: str, value: float | str, epoch: int, step: int | None = None) -> NoReturn:
        """Record that `term` diverged in an epoch, perhaps in a step of it, and raise `UserError`."""
        self.checkpoint.fail({"reason": "diverged", "term": term, "value": str(value), "epoch": epoch, "step": step})
        name = f"{self.spec.run} seed {self.seed}"
        if not self.progress.steps:
            raise UserError(
                f"{name}: {term} is {value} in the first validation; nothing was trained: look at the networks and the "
                "config of this run (bce needs a decoder whose values lie between 0 and 1)"
            )
        raise UserError(
            f"{name}: {term} is {value} in {f'step {step} of ' if step else ''}epoch {epoch}; "
            "lower training.learning_rate, or use precision fp32. The last good state is kept."
        )

    def _means(self, records: Sequence[Tensor], order: Sequence[Any]) -> dict[str, float]:
        return dict(zip(self.progress.terms, self._average(records, order), strict=True))

    def _average(self, records: Sequence[Tensor], order: Sequence[Any]) -> list[float]:
        """Means over the images; over the batches, whatever their sizes, where pythae is repeated."""
        weights = torch.tensor([1 if self.as_pythae else len(indices) for indices in order], dtype=torch.float64)
        return ((weights[:, None] * torch.stack(list(records)).cpu().double()).sum(0) / weights.sum()).tolist()

    def _speed(self, batches: int) -> dict[str, float]:
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

    def _weights(self, files: TrainingFiles) -> Mapping[str, Path]:
        """The files of the fixed networks that the losses need."""
        if missing := [name for name in self.info.trained_on if name not in files.weights]:
            raise UserError(f"{self.spec.model_name} needs the weights of {missing[0]}, which were not given")
        return files.weights

    def _check_select(self) -> None:
        if reason := why_not_select(self.info, self.training.select):
            raise UserError(f"training.select: {reason}")
        if self.training.select == "last" and self.training.patience is not None:
            raise UserError("training.patience needs a metric to watch; set training.select to one, such as mse")

    def _smallest_step(self) -> int:
        """The fewest images of a step; a model that halves its batches needs four where a layer sees single pixels."""
        batch_norm = has_batch_norm(self.model)
        if self.info.halves_batches and batch_norm and not has_batch_norm_of_single_pixels(self.model):
            return self.info.smallest_batch
        return self.info.smallest_step(batch_norm)

    def _check_sizes(self) -> None:
        for batches, name in ((self.train_set, "training"), (self.eval_set, "validation")):
            if len(batches) < batches.smallest:
                raise UserError(f"{self.spec.model_name} needs at least {batches.smallest} {name} images")
        if self.training.batch_size < self.train_set.smallest:
            raise UserError(f"training.batch_size: {self.spec.model_name} needs at least {self.train_set.smallest}")
        if self.eval_set.images.shape[1:] != self.input_shape:
            raise UserError(
                f"training images are {self.input_shape}, validation images {self.eval_set.images.shape[1:]}"
            )
