"""A trial: a run trained with a setting on the training images, and valued by the validation images alone."""

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vaebench.base.errors import UserError
from vaebench.base.files import atomic_path
from vaebench.base.formats import read_json, stamped
from vaebench.config.search_space import TuningSettings, with_values
from vaebench.models.run_spec import RunSpec
from vaebench.training.one_training import trainer_at_work
from vaebench.training.record import TrainingFiles, TrainingJob
from vaebench.training.state_folder import FAILURE
from vaebench.training.trainer import Trainer
from vaebench.tuning.proposals import derived_seed
from vaebench.tuning.trials import COMPLETE, FAILED, PRUNED, Outcome, Report, Trials, tuning_key


class Pruned(Exception):
    """A trial is not worth going on with."""


@dataclass(frozen=True)
class TrialMaker:
    """Makes the trials of one run.

    `train` and `eval` are npz files of uint8 images (n, C, H, W), `weights` the files of fixed networks that losses
    need; test images are never read. States are kept in a folder of each trial below `states` until the trial is done,
    so that a killed one goes on. `code` is a fingerprint of the code. `labels` are as in `TrainingFiles`.
    """

    spec: RunSpec
    settings: TuningSettings
    train: Path
    eval: Path
    weights: Mapping[str, Path]
    states: Path
    code: str
    threads: int
    labels: Mapping[str, Path] = field(default_factory=dict)

    def __call__(self, number: int, values: Mapping[str, Any], report: Report) -> Outcome:
        """Train with the `values` of the trial `number`, telling `report` the metric of each epoch.

        A training that diverges or runs out of memory has failed. Raises as `one_training.train` on anything else: a
        request to stop, a full disk, a setting that cannot be.
        """
        folder = self.states / str(number)
        (folder / FAILURE).unlink(missing_ok=True)
        spec = replace(with_values(self.short, values), run=f"{self.spec.run} trial {number}")
        seed = derived_seed(self.settings.seed, "trial", number)
        with trainer_at_work(TrainingJob(spec, seed, self._files(folder), self.code), self.threads) as trainer:
            outcome = self._made(trainer, report)
        shutil.rmtree(folder)
        return outcome

    @property
    def short(self) -> RunSpec:
        """The run, trained for as long as a trial is."""
        return with_values(self.spec, {"training.epochs": self.settings.epochs})

    @property
    def key(self) -> str:
        """A fingerprint of all that decides about the trials, save for their number."""
        training = TrainingJob(self.short, self.settings.seed, self._files(self.states), self.code)
        return tuning_key(self.settings, training.key())

    def _files(self, folder: Path) -> TrainingFiles:
        """The files of one trial, which leaves nothing but its state."""
        results = {name: folder / name for name in ("output", "history", "provenance")}
        return TrainingFiles(self.train, self.eval, **results, state=folder, weights=self.weights, labels=self.labels)

    def _made(self, trainer: Trainer, report: Report) -> Outcome:
        state, reason = COMPLETE, ""
        watch = Watch(self.settings.metric, report)
        try:
            for epoch, value in watch.reported(trainer):
                watch.tell(epoch, value)
            trainer.run_or_explain(watch)
        except Pruned:
            state = PRUNED
        except UserError as error:
            if not (trainer.checkpoint.folder / FAILURE).is_file():  # the setting is not the cause
                raise
            state, reason = FAILED, _reason(trainer.checkpoint.folder / FAILURE, error)
        seconds = trainer.progress.total_seconds + trainer.progress.seconds
        reached = dict(watch.reported(trainer))
        kept = reached[trainer.progress.best["epoch"]] if state == COMPLETE else None
        interruption = trainer.interruption
        stop = interruption.end("the trial is done, and the next job goes on") if interruption.asked else None
        return Outcome(state, kept, seconds, reason, stop)


def tune(maker: TrialMaker, journal: Path, worker: int, workers: int, output: Path) -> None:
    """Make trials until every one is made, or being made by another worker; then write the tuning's key to `output`.

    A `worker` (1 to `workers`) that was killed goes on with its last trial. Raises as `TrialMaker`.
    """
    count = Trials(journal, maker.key, maker.settings).work(worker, workers, maker)
    with atomic_path(output) as temporary:
        temporary.write_text(json.dumps(stamped("tuning", {"key": maker.key})) + "\n")
    print(f"{maker.spec.run}: {count} trials were made here", file=sys.stderr)


class Watch:
    """A tracker that reports the validation's metric after each epoch, and ends the training when it is told to."""

    def __init__(self, metric: str, report: Report) -> None:
        self._metric, self._report = metric, report

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """Report the metric where it is among the `values`; raises `Pruned`."""
        if epoch and (value := values.get(f"eval/{self._metric}")) is not None:
            self.tell(epoch, value)

    def tell(self, epoch: int, value: float) -> None:
        """Report the metric of an epoch; raises `Pruned`."""
        if self._report(epoch, value):
            raise Pruned

    def reported(self, trainer: Trainer) -> list[tuple[int, float]]:
        """Epoch and metric of the epochs that a training has behind it."""
        rows = trainer.progress.rows
        wanted = [row for row in rows if row["split"] == "eval" and row["term"] == self._metric and row["epoch"]]
        return [(row["epoch"], row["value"]) for row in wanted]


def _reason(failure: Path, error: UserError) -> str:
    """Why a training failed, in a few words."""
    found = read_json("state", failure)
    if found["reason"] == "diverged":
        return f"diverged: {found['term']} is {found['value']} in epoch {found['epoch']}"
    return str(found.get("reason") or error)
