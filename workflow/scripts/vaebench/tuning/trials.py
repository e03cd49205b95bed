"""The trials of one tuning, as several workers make them side by side.

A trial is a line of the journal from its beginning on, with its setting and the number of its worker, so that no trial
is forgotten. Only the trials numbered below `trials` count, even where the journal holds more: exactly that many are
made.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from vaebench.base.values import as_dict
from vaebench.config.search_space import TuningSettings
from vaebench.tuning.journal import open_journal
from vaebench.tuning.proposals import distributions, propose, pruner_of

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"
STATES = {COMPLETE: TrialState.COMPLETE, PRUNED: TrialState.PRUNED, FAILED: TrialState.FAIL}
NAMES = {state: name for name, state in STATES.items()}

Report = Callable[[int, float], bool]


@dataclass(frozen=True)
class Outcome:
    """The end of a trial: `state` is complete, pruned or failed; `value` is the metric of a complete one.

    `seconds` were spent on it in all its attempts. `reason` says why it failed. `stop` is raised once the outcome is
    written, where the process was asked to stop meanwhile.
    """

    state: str
    value: float | None
    seconds: float
    reason: str = ""
    stop: SystemExit | None = None


# What makes a trial: its number, its setting and where it reports to; the answer of a report is whether to end early.
Make = Callable[[int, Mapping[str, Any], Report], Outcome]


def tuning_key(settings: TuningSettings, training: str) -> str:
    """A fingerprint of what decides about the trials, save for their number: with another one all are made anew.

    `training` is that of the run's training.
    """
    kept = {key: value for key, value in as_dict(settings).items() if key != "trials"}
    return hashlib.sha256(json.dumps([kept, training], sort_keys=True).encode()).hexdigest()


class Trials:
    """The trials under one key in a journal; those under other keys stay there, in case they are wanted again."""

    def __init__(self, journal: Path, key: str, settings: TuningSettings) -> None:
        self.settings = settings
        self._storage = open_journal(journal)
        self._study = optuna.create_study(
            storage=self._storage,
            study_name=key,
            direction=StudyDirection.MINIMIZE,
            pruner=pruner_of(settings),
            load_if_exists=True,
        )
        self._id = self._storage.get_study_id_from_name(key)

    def all(self) -> list[FrozenTrial]:
        """The trials that were begun, by number; no more than are to be made."""
        return self._storage.get_all_trials(self._id)[: self.settings.trials]

    def work(self, worker: int, workers: int, make: Make) -> int:
        """Make trials until none is left for this worker, one of 1 to `workers`; returns how many it made.

        It first finishes trials that a worker of its number began, or a worker whose number no longer exists.
        """
        count = 0
        while (trial := self._next(worker, workers)) is not None:
            outcome = make(trial.number, trial.params, self._reports(trial))
            self._end(trial, outcome)
            if outcome.stop is not None:
                raise outcome.stop
            count += 1
        return count

    def _next(self, worker: int, workers: int) -> FrozenTrial | None:
        """A trial of this worker's that is not finished, or a new one; None when there is none."""
        trials = self.all()
        for trial in trials:
            owner = (trial.user_attrs["worker"] - 1) % workers + 1
            if owner == worker and not trial.state.is_finished():
                return trial
        if len(trials) >= self.settings.trials:
            return None
        setting = propose(self.settings, trials, worker)
        template = create_trial(
            state=TrialState.RUNNING,
            params=setting,
            distributions=distributions(self.settings.search),
            user_attrs={"worker": worker},
        )
        begun = self._storage.get_trial(self._storage.create_new_trial(self._id, template))
        return begun if begun.number < self.settings.trials else None  # another worker began the last one

    def _reports(self, trial: FrozenTrial) -> Report:
        """A function that a trial calls with each epoch, from 1, and its metric; it says whether to end early."""
        known, identifier = set(trial.intermediate_values), self._identifier(trial)

        def report(epoch: int, value: float) -> bool:
            if epoch not in known:
                self._storage.set_trial_intermediate_value(identifier, epoch, value)
            last = epoch >= self.settings.epochs
            return not last and self._study.pruner.prune(self._study, self._storage.get_trial(identifier))

        return report

    def _end(self, trial: FrozenTrial, outcome: Outcome) -> None:
        identifier = self._identifier(trial)
        for name, value in (("seconds", outcome.seconds), ("reason", outcome.reason)):
            self._storage.set_trial_user_attr(identifier, name, value)
        values = None if outcome.value is None else [outcome.value]
        self._storage.set_trial_state_values(identifier, STATES[outcome.state], values)

    def _identifier(self, trial: FrozenTrial) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, trial.number)
