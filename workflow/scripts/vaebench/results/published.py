"""The study held against the literature: each published value beside ours, or why it is not compared."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vaebench.base.files import atomic_path
from vaebench.base.formats import read_json
from vaebench.metrics.registry import describe
from vaebench.models.lookup import MODELS
from vaebench.results.protocol import (
    Counts,
    PublishedValue,
    StudyProtocol,
    differing_filter,
    mismatches,
    not_stated,
)
from vaebench.results.published_pages import write_published_pages
from vaebench.results.study import Interval, Run, Study

COLUMNS = (
    *("source", "where", "row", "column", "metric", "run", "model", "sampler", "ours", "ci_low", "ci_high", "n_seeds"),
    *("theirs", "difference", "not_compared", "differs", "not_stated", "citation"),
)
NOT_KNOWN = "not known"  # how a pretrained model was trained
Row = dict[str, object]


@dataclass(frozen=True)
class Measurement:
    """What the study measured on: its protocol, and the images of each split."""

    protocol: StudyProtocol
    images: Mapping[str, int]


def published(
    study: Study, values: Sequence[PublishedValue], protocol: StudyProtocol, manifests: Sequence[Path]
) -> None:
    """Write published.csv, .md and .tex into the study's tables; `manifests` are the JSON files beside its arrays."""
    counted = [read_json("array", Path(path)) for path in manifests]
    images = {manifest["split"]: int(manifest["shape"][0]) for manifest in counted}
    frame = published_table(study, values, Measurement(protocol, images))
    with atomic_path(study.tables / "published.csv") as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")
    write_published_pages(frame, study.tables)
    compared = int(frame["difference"].notna().sum())
    print(f"Held {compared} values against {len(values)} published ones: {study.tables / 'published.csv'}")


def published_table(study: Study, values: Sequence[PublishedValue], measured: Measurement) -> pd.DataFrame:
    """The columns `COLUMNS`: a row for each published value and run of ours that is the same model.

    A value that no run can be compared with has one row, with the reason in `not_compared`.
    """
    rows = []
    for value in values:
        runs = [run for run in study.runs if value.row in _rows_of(run, value, values)]
        drawn = _with_sampler(runs, value)
        rows += [_row(value, study, run, label, measured) for run, label in drawn] or [_alone(value, runs)]
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)


def _row(value: PublishedValue, study: Study, run: Run, sampler: str, measured: Measurement) -> Row:
    """One value beside that of one run by one of its samplers: compared, or the reason why it is not."""
    ours = study.interval_by(run, sampler, value.metric)
    reasons = list(mismatches(value.protocol, measured.protocol, _counts(study, run, value, measured), value.metric))
    if ours is None:
        reasons.append(_why_missing(study, run, value.metric))
    row = _facts(value) | {"run": run.name, "model": run.model, "sampler": _sampler_words(run, sampler)}
    row["differs"] = "; ".join([*differing_filter(value.protocol, measured.protocol), *_differences(run, value)])
    row["not_stated"] = ", ".join(not_stated(value.protocol, value.metric))
    if reasons or ours is None:
        return row | {"not_compared": "; ".join(reasons)}
    return row | _numbers(ours, value.value)


def _alone(value: PublishedValue, runs: Sequence[Run]) -> Row:
    """The row of a value that no run of ours can be compared with."""
    if runs and value.sampler is not None:
        reason = f"no run draws its images with {_named(value.sampler.name, value.sampler.options)} as theirs"
    elif value.models:
        reason = f"no run is this model ({' or '.join(value.models)})"
    else:
        reason = "there is no such model here"
    return _facts(value) | {"not_compared": reason, "not_stated": ", ".join(not_stated(value.protocol, value.metric))}


def _facts(value: PublishedValue) -> Row:
    names = ("source", "where", "row", "column", "metric", "citation")
    return {name: getattr(value, name) for name in names} | {"theirs": value.value}


def _numbers(ours: Interval, theirs: float) -> Row:
    ends = {"ci_low": ours.low, "ci_high": ours.high, "n_seeds": ours.seeds}
    return {"ours": ours.mean, **ends, "difference": ours.mean - theirs}


def _rows_of(run: Run, value: PublishedValue, values: Sequence[PublishedValue]) -> list[str]:
    """The rows of the value's table that suit a run and, among these, ask for most of its fields.

    Rows that ask for equally many differ in the sampler.
    """
    table = [other for other in values if (other.source, other.where) == (value.source, value.where)]
    suited = {other.row: len(other.models[run.model]) for other in table if _suits(run, other.models)}
    return [row for row, asked in suited.items() if asked == max(suited.values())]


def _suits(run: Run, models: Mapping[str, Mapping[str, Any]]) -> bool:
    if run.model not in models:
        return False
    return all(_equal(_setting(run, f"config.{name}"), wanted) for name, wanted in models[run.model].items())


def _with_sampler(runs: Sequence[Run], value: PublishedValue) -> list[tuple[Run, str]]:
    """The runs that have a sampler like the value's, with that sampler; with their first if the source names none."""
    wanted = value.sampler
    if wanted is None:
        return [(run, run.samplers[0]) for run in runs]
    drawn = [(run, label, run.drawn_by(label)) for run in runs for label in run.samplers]
    return [
        (run, label)
        for run, label, sampler in drawn
        if sampler.get("name") == wanted.name
        and all(_equal(sampler.get("options", {}).get(name), option) for name, option in wanted.options.items())
    ]


def _counts(study: Study, run: Run, value: PublishedValue, measured: Measurement) -> Counts:
    found = study.values
    rows = found[(found["run"] == run.name) & (found["metric"] == value.metric)] if "metric" in found else found
    n = int(rows["n"].max()) if len(rows) and rows["n"].notna().any() else None
    return Counts(measured.images, n)


def _why_missing(study: Study, run: Run, metric: str) -> str:
    """Why a run has no value of a metric: the note on it, or what it would take."""
    if notes := study.notes(run.name, metric):
        return notes
    entry = describe(metric)
    if entry.features == "inception":
        return "not measured: it needs the official Inception file (weights.inception)"
    if entry.features:
        return f"not measured: it needs {entry.features} among evaluation.distribution.features"
    return f"not measured: {entry.label} is of the suite {entry.suite}, for {entry.applies_to}"


def _differences(run: Run, value: PublishedValue) -> Iterator[str]:
    """The settings in which a run is not as the source's model, and the source's notes."""
    for key, theirs in value.settings.items():
        ours = _setting(run, key)
        if not _equal(ours, theirs):
            yield f"{key.partition('.')[2]} {_text(ours)}, theirs {_text(theirs)}"
    yield from (note.removesuffix(".") for note in value.notes)


def _setting(run: Run, key: str) -> object:
    """A setting that a run was made with, by its dotted key; a field that is left out has the model's default."""
    section, _, name = key.partition(".")
    if section == "training" and run.spec.get("pretrained"):
        return NOT_KNOWN
    given: Mapping[str, Any] = run.made_with.get(section) or {}
    if section == "config" and name not in given and run.model in MODELS:
        return MODELS[run.model].fields.get(name)
    return given.get(name)


def _equal(ours: object, theirs: object) -> bool:
    """Whether a setting is as wanted; of a mapping only the wanted keys are looked at, lists are as tuples."""
    if isinstance(theirs, Mapping):
        return isinstance(ours, Mapping) and all(_equal(ours.get(key), value) for key, value in theirs.items())
    if isinstance(theirs, list | tuple):
        return isinstance(ours, list | tuple) and list(ours) == list(theirs)
    if isinstance(theirs, bool) or isinstance(ours, bool) or not isinstance(theirs, int | float):
        return ours == theirs
    return isinstance(ours, int | float) and abs(ours - theirs) <= 1e-9 * max(abs(ours), abs(theirs))


def _sampler_words(run: Run, sampler: str) -> str:
    recorded = run.drawn_by(sampler)
    return _named(recorded["name"], recorded.get("options", {})) if recorded else ""


def _named(name: str, options: Mapping[str, Any]) -> str:
    told = ", ".join(f"{option} {value}" for option, value in options.items())
    return f"{name} ({told})" if told else name


def _text(value: object) -> str:
    """A setting as YAML writes it in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_text(part)}" for key, part in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) else str(value)
