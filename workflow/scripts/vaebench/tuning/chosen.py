"""The end of a tuning: the best setting, and a record of all trials."""

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from vaebench.base.errors import UserError
from vaebench.base.files import atomic_path
from vaebench.base.formats import read_json, stamped
from vaebench.tuning.trials import COMPLETE, FAILED, NAMES, PRUNED, Trials


@dataclass(frozen=True)
class TuningFiles:
    """What a tuning leaves: the chosen values alone, on which trainings depend; its record; a table of its trials."""

    choice: Path
    record: Path
    table: Path


def choose(trials: Trials, run: str, files: TuningFiles) -> None:
    """Write the values of the best complete trial (the first of equal ones) and a record of all trials.

    Raises `UserError` while trials are left to be made, and when none was completed.
    """
    settings, made = trials.settings, trials.all()
    best = best_of(made, settings.trials, run)
    counts = Counter(NAMES[trial.state] for trial in made)
    record = {
        "run": run,
        "trials": len(made),
        **{state: counts[state] for state in (COMPLETE, PRUNED, FAILED)},
        "epochs": settings.epochs,
        "epochs_made": sum(len(trial.intermediate_values) for trial in made),
        "seconds": sum(trial.user_attrs["seconds"] for trial in made),
        "metric": settings.metric,
        "best": {"trial": best.number, "value": best.value, "values": _sorted(best.params)},
        "search": _sorted(settings.search),
        "sampler": settings.sampler,
        "pruner": settings.pruner,
        "seed": settings.seed,
        "workers": len({trial.user_attrs["worker"] for trial in made}),
    }
    with atomic_path(files.table) as temporary, open(temporary, "w", newline="") as table:
        _write_table(table, made, list(_sorted(settings.search)))
    _write(files.record, record)
    _write(files.choice, {"values": _sorted(best.params)})
    told = ", ".join(f"{path} {value}" for path, value in _sorted(best.params).items())
    print(f"{run}: trial {best.number} of {len(made)} has the lowest {settings.metric}, {best.value:g}: {told}")


def key_of(workers: Sequence[Path]) -> str:
    """The key that the notes of all workers have; `UserError` where they have different ones."""
    keys = {read_json("tuning", path)["key"] for path in workers}
    if len(keys) > 1:
        raise UserError(
            f"the workers of {workers[0].parent} had different data or code; run `snakemake --cores all --forcerun "
            "tune`"
        )
    return str(keys.pop())


def best_of(made: list[FrozenTrial], wanted: int, run: str) -> FrozenTrial:
    """The complete trial with the lowest value; `UserError` as `choose`."""
    finished = [trial for trial in made if trial.state.is_finished()]
    if len(finished) < wanted:
        raise UserError(
            f"{run}: {len(finished)} of {wanted} trials are done; the choice is made when all are (where the "
            "journal was removed: `snakemake --cores all --forcerun tune`)"
        )
    complete = [trial for trial in finished if trial.state == TrialState.COMPLETE]
    if not complete:
        reasons = [trial.user_attrs["reason"] for trial in finished if trial.state == TrialState.FAIL]
        raise UserError(
            f"{run}: all {wanted} trials failed; the first: {reasons[0]}. Change tuning.search, or the entry"
        )
    return min(complete, key=lambda trial: (trial.value, trial.number))


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(stamped("tuning", content), indent=2) + "\n")


def _write_table(file: Any, made: list[FrozenTrial], paths: list[str]) -> None:
    """A row per trial: number, what became of it, the metric's value, epochs, seconds, worker, setting, reason."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["trial", "state", "value", "epochs", "seconds", "worker", *paths, "reason"])
    for trial in made:
        value = "" if trial.value is None else repr(trial.value)
        told = trial.user_attrs
        numbers = [len(trial.intermediate_values), round(told["seconds"], 3), told["worker"]]
        setting = [trial.params[path] for path in paths]
        writer.writerow([trial.number, NAMES[trial.state], value, *numbers, *setting, told["reason"]])


def _sorted(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted(mapping.items()))
