"""The plan of a study before it starts: its trainings, their GPU hours and the disk they need."""

import argparse
import csv
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaebench.base.disk import Disk
from vaebench.base.errors import UserError
from vaebench.base.formats import read_json
from vaebench.base.layout import SPLITS, runs_folder, training_folder, tuning_folder
from vaebench.config.completion import complete, load_schema
from vaebench.config.runs import expand_runs, seeds_of
from vaebench.config.search_space import TuningSettings
from vaebench.config.sections import images_kept, input_shape, raw_files
from vaebench.config.tuning_entries import tuned_runs
from vaebench.config.yaml_files import read_configfile
from vaebench.models.run_spec import RunSpec

MODEL_BYTES = 500e6  # a resnet model at 64x64, its optimizer, the best epoch and figures' arrays, rounded up
PER_IMAGE_BYTES = 200  # one row of per_image.parquet


@dataclass(frozen=True)
class Training:
    """One training of the study: run, seed and its folder."""

    run: str
    seed: int
    spec: RunSpec
    folder: Path

    @property
    def name(self) -> str:
        """`run/seedN`, as in the results' folder."""
        return f"{self.run}/seed{self.seed}"

    @property
    def epochs(self) -> int:
        """Planned epochs; 0 for a model that is not trained here."""
        return 0 if self.spec.pretrained else self.spec.training.epochs


@dataclass(frozen=True)
class Tuning:
    """The tuning of one run and its folder."""

    run: str
    spec: RunSpec
    settings: TuningSettings
    folder: Path

    @property
    def name(self) -> str:
        """`run/tuning`, beside the names of its trainings."""
        return f"{self.run}/tuning"

    @property
    def epochs(self) -> int:
        """Epochs of all trials, when none ends early."""
        return self.settings.trials * self.settings.epochs

    @property
    def is_done(self) -> bool:
        """Whether the options were chosen."""
        return (self.folder / "choice.json").is_file()


@dataclass(frozen=True)
class Plan:
    """Trainings and tunings of a study, the hours that those not yet done still need, and bytes to be written."""

    trainings: tuple[Training, ...]
    tunings: tuple[Tuning, ...]
    remaining: tuple[Training, ...]
    gpu_hours: float | None
    unknown: tuple[str, ...]
    data_bytes: float
    results_bytes: float


def read_config(files: Iterable[Path], to_run: bool = True) -> dict[str, Any]:
    """The configuration of a study: each file merged over the one before, checked and completed from the schema.

    Raises `UserError` for a file that cannot be read and for every mistake in it. `to_run` is as in `complete`.
    """
    config: dict[str, Any] = {}
    for file in files:
        config = _merge(config, read_configfile(file))
    return complete(config, load_schema(), to_run)


def command_line(program: str, description: str) -> argparse.ArgumentParser:
    """A command that takes the files of a configuration."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("config", nargs="+", type=Path, help="config/config.yaml, then what is merged over it")
    return parser


def config_or_exit(files: Iterable[Path], to_run: bool = True) -> dict[str, Any]:
    """`read_config`, but the process ends with the mistakes where there are some."""
    try:
        return read_config(files, to_run)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None


def trainings(config: Mapping[str, Any], folder: Path = Path()) -> tuple[Training, ...]:
    """Every training of the study, in the order of the configuration; folders in it are relative to `folder`."""
    runs = runs_folder(folder / config["results_dir"] / config["dataset"]["name"])
    return tuple(
        Training(run, seed, spec, training_folder(runs, run, seed))
        for run, spec in expand_runs(config).items()
        for seed in seeds_of(spec, config["seeds"])
    )


def tunings(config: Mapping[str, Any], folder: Path = Path()) -> tuple[Tuning, ...]:
    """Every tuning of the study, likewise."""
    results, runs = folder / config["results_dir"] / config["dataset"]["name"], expand_runs(config)
    return tuple(
        Tuning(run, runs[run], settings, tuning_folder(results, run))
        for run, settings in tuned_runs(config, runs).items()
    )


def make_plan(config: Mapping[str, Any], folder: Path = Path()) -> Plan:
    """Trainings, tunings, GPU hours and disk of the study in `folder`.

    The hours are those of trials that are all made to their end. They rest on the images per second in the history of
    another seed of the same run, else of another run of the same model; where there is none, the run is listed as
    unknown and the hours are None.
    """
    every = trainings(config, folder)
    remaining = tuple(training for training in every if not (training.folder / "history.csv").is_file())
    tuned = tunings(config, folder)
    speeds = _speeds(every)
    images = _shapes(config, folder).get("train", (None,))[0]
    hours = 0.0
    named: list[str] = []
    work: list[Training | Tuning] = [*remaining, *(tuning for tuning in tuned if not tuning.is_done)]
    for training in work:
        speed = speeds.get(training.run) or speeds.get(training.spec.model or "")
        if speed is None or images is None:
            named += [training.run] if training.epochs else []
        else:
            hours += training.epochs * images / speed / 3600
    unknown = tuple(dict.fromkeys(named))
    return Plan(every, tuned, remaining, None if unknown else hours, unknown, *_bytes(config, folder, remaining))


def disks(config: Mapping[str, Any], plan: Plan, folder: Path = Path()) -> list[Disk]:
    """The disks of `data_dir` and `results_dir`: one where both are the same."""
    places = {config["data_dir"]: plan.data_bytes, config["results_dir"]: plan.results_bytes}
    found: dict[int, Disk] = {}
    for place, needed in places.items():
        path = (folder / place).absolute()
        there = next(parent for parent in (path, *path.parents) if parent.exists())
        device = there.stat().st_dev
        if device in found:
            place, needed = f"{found[device].folder} and {place}", needed + found[device].needed
        found[device] = Disk(place, needed, shutil.disk_usage(there).free)
    return list(found.values())


def describe(plan: Plan, disks: Iterable[Disk]) -> list[str]:
    """The plan in a few lines for the person who is about to start it."""
    runs = len({training.run for training in plan.trainings})
    lines = [
        f"runs: {runs}, trainings: {len(plan.trainings)} ({len(plan.remaining)} still to do)",
        *_tunings_in_words(plan.tunings),
        *(
            f"disk of {disk.folder}: {disk.needed / 1e9:.1f} GB still to be written, {disk.free / 1e9:.1f} GB free"
            for disk in disks
        ),
    ]
    if plan.gpu_hours is not None:
        return [*lines, f"GPU hours: about {plan.gpu_hours:.1f}, at the speed measured in this folder"]
    named = ", ".join(plan.unknown[:5]) + (", ..." if len(plan.unknown) > 5 else "")
    return [*lines, f"GPU hours: unknown, since no training of {named} has been timed here yet"]


def _tunings_in_words(tunings: Sequence[Tuning]) -> Iterator[str]:
    if tunings:
        settings, left = tunings[0].settings, sum(not tuning.is_done for tuning in tunings)
        yield (
            f"tuning: {len(tunings)} runs ({left} still to do), each {settings.trials} trials of at most "
            f"{settings.epochs} epochs"
        )


def read_history(path: Path) -> Iterator[tuple[int, str, str, float]]:
    """Epoch, split, term and value of each row of a history.csv."""
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            yield int(row["epoch"]), row["split"], row["term"], float(row["value"])


def _speeds(every: Iterable[Training]) -> dict[str, float]:
    """Mean images per second of the finished trainings, by run and by model."""
    measured: dict[str, list[float]] = {}
    for training in every:
        path = training.folder / "history.csv"
        if path.is_file():
            values = [value for _, split, term, value in read_history(path) if term == "images_per_second"]
            for name in {training.run, training.spec.model or ""} if values else ():
                measured.setdefault(name, []).append(math.fsum(values) / len(values))
    return {name: math.fsum(values) / len(values) for name, values in measured.items()}


def _shapes(config: Mapping[str, Any], folder: Path) -> dict[str, tuple[int, ...]]:
    """Shape of each split's array, from the manifests that exist already."""
    paths = {split: folder / config["data_dir"] / config["dataset"]["name"] / f"{split}_data.json" for split in SPLITS}
    return {split: tuple(read_json("array", path)["shape"]) for split, path in paths.items() if path.is_file()}


def _bytes(config: Mapping[str, Any], folder: Path, remaining: Iterable[Training]) -> tuple[float, float]:
    """Bytes still to be written: of archives and arrays, and of models with their states, samples and metrics."""
    shapes, shape = _shapes(config, folder), input_shape(config)
    image = math.prod(shape or (3, 64, 64))
    total = 0.0
    raw = folder / config["data_dir"] / config["dataset"]["name"] / "raw"
    for file in raw_files(config).values():
        in_place = any(place.kind == "path" and Path(place.where).expanduser().is_dir() for place in file.source)
        if not in_place and not (raw / file.file).exists():
            total += file.bytes or 0
    if len(shapes) < 3:  # the partition of CelebA: 202,599 images; an upper bound for the other data sets here
        total += image * min(202_599, 3 * (images_kept(config) or math.inf))
    tested = shapes.get("test", (20_000,))[0]
    per_training = MODEL_BYTES + config["samples"]["count"] * image + tested * PER_IMAGE_BYTES
    return total, per_training * len(list(remaining))


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `over`, mapping by mapping, as Snakemake merges its --configfile arguments."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
