"""What each run was given: networks, steps, images, learning rate, hours and trials, and where the runs differ.

This is read from the provenance of the trainings and from the records of the tunings; trials that were made elsewhere
are known from the configuration alone.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import pandas as pd

from vaebench.base.files import atomic_path
from vaebench.base.formats import read_json
from vaebench.models.lookup import MODELS
from vaebench.models.run_spec import NetworkValue, network_of
from vaebench.results.study import records
from vaebench.results.table_pages import Page, bold, escape, latex_page, markdown_page

TITLE = "Budget of every run"
LEGEND = (
    "Of one training, the mean over seeds: trained parameters, steps (updates of the weights), images seen (an image "
    "counts each time), and hours on the device named. Tuning trials are those that were made, else what the "
    "configuration declares; of a trial, the most epochs it had; of all of them, the hours. Bold: not what most runs "
    "have."
)
UNKNOWN = "–"
NO_TRAINING = "no training has finished"
TRAINED_ELSEWHERE = "trained elsewhere: what it was given is not known"


Row = dict[str, Any]  # one run's columns
Provenance = Mapping[str, Any]  # a training's provenance.json, as `training.one_training` writes it


@dataclass(frozen=True)
class Aspect:
    """One column of the table: its heading, its value from a training's provenance, and how a number is written.

    `compared`: a run that has another value than most runs is marked; the time taken is not chosen.
    """

    heading: str
    read: Callable[[Provenance], object]
    format: str = "g"
    compared: bool = True


ASPECTS = {
    "networks": Aspect("Networks", lambda training: _networks(training["spec"]["nets"])),
    "parameters": Aspect("Parameters", lambda training: training["parameters"], ",.0f"),
    "optimizer": Aspect("Optimizer", lambda training: _by_component(training, "optimizer", _constructed)),
    "learning_rate": Aspect("Learning rate", lambda training: _by_component(training, "learning_rate", float)),
    "scheduler": Aspect("Schedule", lambda training: _schedule(training)),
    "batch_size": Aspect("Batch size", lambda training: training["spec"]["training"]["batch_size"]),
    "epochs": Aspect("Epochs", lambda training: training["epochs"]),
    "steps": Aspect("Steps", lambda training: training["steps"], ",.0f"),
    "images_seen": Aspect("Images seen", lambda training: training["images_seen"], ",.0f"),
    "epoch_kept": Aspect("Epoch kept", lambda training: _kept(training["spec"]["training"])),
    "augmentation": Aspect("Augmentation", lambda training: _augmentation(training["spec"]["training"])),
    "precision": Aspect("Precision", lambda training: training["precision"]),
    "tuning_trials": Aspect("Tuning trials", lambda _: None),
    "tuning_epochs": Aspect("Epochs a trial", lambda _: None),
    "device": Aspect("Device", lambda training: _device(training)),
    "hours": Aspect("Hours", lambda training: training["seconds"] / 3600, ".3g", compared=False),
    "tuning_hours": Aspect("Tuning hours", lambda _: None, ".3g", compared=False),
}
COLUMNS = ("run", "model", "n_seeds", *ASPECTS, "differs", "note")


@dataclass(frozen=True)
class Tuned:
    """What was spent on choosing a run's settings: how many were tried, for how many epochs each, in how many hours.

    What is not known is None.
    """

    trials: int | None = None
    epochs: int | None = None
    hours: float | None = None


def tuning_costs(declared: Mapping[str, int | None], records: Sequence[Path]) -> dict[str, Tuned]:
    """What was spent on each run of `declared`: what the record of its tuning says, else the declared trials."""
    tuned = {run: Tuned(trials) for run, trials in declared.items()}
    for record in (read_json("tuning", path) for path in records if path.is_file()):
        tuned[record["run"]] = Tuned(record["trials"], record["epochs"], record["seconds"] / 3600)
    return tuned


def budget(provenances: Sequence[Path], tuned: Mapping[str, Tuned], folder: Path) -> None:
    """Write budget.csv, .md and .tex to `folder`: a row per planned run, in the order of `tuned`.

    `provenances` are the files that the trainings wrote.
    """
    trainings = [read_json("training", Path(path)) for path in provenances]
    frame = budget_table(trainings, tuned)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "budget.csv") as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")
    header, rows = cells(frame)
    marked = [[bold(text, "markdown") if differs else text for text, differs in row] for row in rows]
    markdown_page(folder / "budget.md", Page(TITLE, header, marked, LEGEND, _notes(frame)))
    marked = [[bold(escape(text), "latex") if differs else escape(text) for text, differs in row] for row in rows]
    latex_page(folder / "budget.tex", Page(TITLE, header, marked, LEGEND, _notes(frame)), words=2)
    print(f"Compared the budget of {len(frame)} runs: {folder / 'budget.csv'}")


def budget_table(trainings: Sequence[Provenance], tuned: Mapping[str, Tuned]) -> pd.DataFrame:
    """The columns `COLUMNS` for every run of `tuned`; `differs` names those where it is not like most runs."""
    rows: list[Row] = []
    for run, spent in tuned.items():
        own = [training for training in trainings if training["spec"]["run"] == run]
        rows.append({"run": run, **_row(own, spent)})
    for name, aspect in ASPECTS.items():
        if aspect.compared:
            _mark(rows, name)
    for row in rows:
        row["differs"] = ", ".join(row["differs"])
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)


def cells(frame: pd.DataFrame) -> tuple[list[str], list[list[tuple[str, bool]]]]:
    """Header and rows of the table for people: each cell as text, and whether it is to be marked."""
    rows = []
    for row in records(frame):
        differing = _names(row["differs"])
        shown = [(_text(row[name], aspect.format), name in differing) for name, aspect in ASPECTS.items()]
        rows.append([(str(row["run"]), False), (_text(row["model"], ""), False), *shown])
    return ["Run", "Model", *(aspect.heading for aspect in ASPECTS.values())], rows


def in_words(frame: pd.DataFrame) -> list[str]:
    """What all runs share, and what each of the others differs in, as sentences."""
    trained = frame[frame["epochs"].notna()]
    if trained.empty:
        return []
    differing = [_names(value) for value in trained["differs"]]
    every = {name for names in differing for name in names}
    shared = [name for name, aspect in ASPECTS.items() if aspect.compared and name not in every]
    values = {name: _text(trained.iloc[0][name], ASPECTS[name].format) for name in shared}
    told = [f"{ASPECTS[name].heading.lower()} {value}" for name, value in values.items() if value != UNKNOWN]
    every_run = "all runs" if len(trained) == len(frame) else "all runs that were trained here"
    sentences = [f"Equal for {every_run}: {'; '.join(told)}."] if told else []
    for run, names in zip(trained["run"], differing, strict=True):
        if names:
            sentences.append(f"{run} differs in {', '.join(ASPECTS[name].heading.lower() for name in names)}.")
    return sentences


def _names(differs: object) -> list[str]:
    """The columns that a cell of `differs` names, also when it was read from a CSV file."""
    return differs.split(", ") if isinstance(differs, str) and differs else []


def _row(trainings: Sequence[Provenance], tuned: Tuned) -> Row:
    """One run's columns: what its trainings were given, means where seeds differ in numbers, with a note of it."""
    if not trainings:
        return {"n_seeds": 0, "differs": [], "note": NO_TRAINING}
    spec = trainings[0]["spec"]
    row: Row = {"model": spec["model"], "n_seeds": len(trainings), "differs": []}
    if "epochs" not in trainings[0]:
        known = {name: ASPECTS[name].read(trainings[0]) for name in ("networks", "parameters")}
        return row | known | {"note": TRAINED_ELSEWHERE}
    varying = []
    for name, aspect in ASPECTS.items():
        values = [aspect.read(training) for training in trainings]
        row[name] = _mean(values)
        if aspect.compared and len(set(values)) > 1:
            varying.append(f"{aspect.heading.lower()} {', '.join(_text(value, aspect.format) for value in values)}")
    row |= {"tuning_trials": tuned.trials, "tuning_epochs": tuned.epochs, "tuning_hours": tuned.hours}
    return row | {"note": f"seeds differ: {'; '.join(varying)}" if varying else ""}


def _mark(rows: list[Row], name: str) -> None:
    """Note `name` in `differs` of each run whose value is not the most frequent one, or the first of several such."""
    known = [row for row in rows if "epochs" in row]
    if known:
        usual = Counter(row[name] for row in known).most_common(1)[0][0]
        for row in known:
            if row[name] != usual:
                row["differs"].append(name)


def _mean(values: Sequence[object]) -> object:
    """The one value of all seeds; else the mean of numbers, or all texts."""
    if len(set(values)) == 1:
        return values[0]
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) == len(values):
        return sum(numbers) / len(numbers)
    return "; ".join(dict.fromkeys(map(str, values)))


def _networks(nets: Mapping[str, NetworkValue | None]) -> object:
    """The family that all networks belong to, or each one's, with the options given."""
    named = {role: network_of(value) for role, value in nets.items() if value is not None}
    return _joined({role: _constructed(vars(network)) for role, network in named.items()})


def _by_component(training: Provenance, key: str, tell: Callable[[Any], object]) -> object:
    """A setting of the model's optimizer, or of each of its optimizers where they differ."""
    settings = training["spec"]["training"]
    model = MODELS.get(training["spec"]["model"])  # None for one of a plugin, which is not in use here
    components = model.of(training["spec"]["config"]).components if model else ()
    components = components or ("model", *settings["components"])
    return _joined({name: tell({**settings, **settings["components"].get(name, {})}[key]) for name in components})


def _joined(values: Mapping[str, object]) -> object:
    """The value that all have, or `name value` for each."""
    different = list(dict.fromkeys(values.values()))
    if len(different) < 2:
        return different[0] if different else ""
    names = {value: " and ".join(name for name in values if values[name] == value) for value in different}
    return ", ".join(f"{names[value]} {value}" for value in different)


def _constructed(chosen: Mapping[str, Any] | None) -> str:
    """A network, optimizer or scheduler as its call is written, StepLR(step_size=10); no scheduler is constant."""
    if chosen is None:
        return "constant"
    options = ", ".join(f"{name}={value}" for name, value in chosen.get("options", {}).items())
    called = f"{chosen['name']}({options})" if options else str(chosen["name"])
    return f"{called} by step" if chosen.get("interval") == "step" else called


def _schedule(training: Provenance) -> str:
    """The schedule of each optimizer, and the warm-up of all."""
    schedules = str(_by_component(training, "scheduler", _constructed))
    warmup = training["spec"]["training"].get("warmup")
    told = [f"{length:g} {unit}" for unit, length in (warmup or {}).items() if length is not None]
    return f"{schedules}, warm-up of {told[0]}" if told else schedules


def _kept(settings: Mapping[str, Any]) -> str:
    """Which epoch is kept, and whether its weights are averages."""
    epoch = "last" if settings["select"] == "last" else f"lowest {settings['select']}"
    average = settings.get("ema")
    return f"{epoch}, average of decay {average['decay']:g}" if average else epoch


def _augmentation(settings: Mapping[str, Any]) -> str:
    flips = settings.get("augmentation", {}).get("horizontal_flip")
    return "horizontal flips" if flips else "none"


def _device(training: Provenance) -> str:
    device, threads = training["environment"]["device"], training["threads"]
    if device["type"] == "cuda":
        return str(device["name"])
    return f"{device['name']}, {threads} thread{'s' if threads > 1 else ''}"


def _text(value: object, form: str) -> str:
    """A cell for people; a dash where there is nothing."""
    if value is None or (isinstance(value, Real) and math.isnan(value)) or value == "":
        return UNKNOWN
    return format(value, form) if isinstance(value, Real) else f"{value}"


def _notes(frame: pd.DataFrame) -> list[str]:
    return [f"{row['run']}: {row['note']}." for row in records(frame) if row["note"]]
