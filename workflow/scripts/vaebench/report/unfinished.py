"""Tables, figures and report of a study that could not be made in full: what is done, and why the rest is not."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from vaebench.base.errors import UserError
from vaebench.base.failures import full_disk_as_user_error
from vaebench.base.formats import stamped
from vaebench.base.layout import runs_folder, state_folder, training_folder
from vaebench.base.log import last_line
from vaebench.base.plugin_files import PluginError
from vaebench.figures.drawing import draw_all
from vaebench.report.writing import ReportSources, write_report
from vaebench.results.budget import Tuned, budget
from vaebench.results.frame_pages import write_added_tables
from vaebench.results.statistics import StatisticsSettings
from vaebench.results.study import Run, Study
from vaebench.results.tables import Expected, Failure, runs_table, summary

# What each stage of a training leaves in the training's folder.
OUTPUTS = {
    "train": "history.csv",
    "pretrained": "history.csv",
    "sample": "samples.npz",
    "showcase": "showcase.npz",
    "evaluate": "metrics/per_image.parquet",
}
OUTDATED = "its results were made with another configuration, code or data, and not made again yet"


@dataclass(frozen=True)
class Unfinished:
    """How far a study got, and what its tables need to know.

    `to_do` is the first stage that a training still needs, by run and seed (as text), even where older files of that
    stage are there; `suites` are the metrics each training has; `tuned` is what was spent on choosing the settings of
    each run.
    """

    to_do: Mapping[str, Mapping[str, str]]
    suites: Sequence[str]
    statistics: StatisticsSettings
    tuned: Mapping[str, Tuned] = field(default_factory=dict)


def summarise_finished(study: Study, left: Unfinished, sources: ReportSources) -> None:
    """Write tables, figures and report to `unfinished/` beside the study's tables, from the trainings that are done.

    `study` is the planned one; `sources` is what the report shows besides.
    Without one finished training there is nothing to write, and only the reasons are printed; so is what hinders the
    writing, such as the full disk for which the study ended.
    """
    results = study.tables.parent
    planned = [(run, seed) for run in study.runs for seed in run.seeds]
    stages = {(run.name, seed): left.to_do.get(run.name, {}).get(str(seed)) for run, seed in planned}
    finished = [key for key, stage in stages.items() if stage is None]
    failures = [
        failure(run, seed, stage, results / "logs") for run, seed in planned if (stage := stages[run.name, seed])
    ]
    for entry in failures:
        print(f"{entry['run']} seed {entry['seed']} did not finish, stage {entry['stage']}: {entry['reason']}")
    if not finished:
        print("No training has all its metrics yet: there is nothing to tabulate")
        return
    output = results / "unfinished"
    try:
        with full_disk_as_user_error(output):
            _write_finished(study, left, sources, finished, failures)
    except UserError as error:
        print(f"Tables, figures and report of the finished trainings are not complete in {output}: {error}")


def _write_finished(
    study: Study,
    left: Unfinished,
    sources: ReportSources,
    finished: Sequence[tuple[str, int]],
    failures: Sequence[Failure],
) -> None:
    """Write tables, figures and report of the finished trainings."""
    results = study.tables.parent
    output = results / "unfinished"
    tables = output / "tables"
    folders = {(run, seed): training_folder(runs_folder(results), run, seed) for run, seed in finished}
    metrics = [folders[key] / "metrics" for key in finished]
    runs_table([folder / f"{suite}.csv" for folder in metrics for suite in left.suites], tables / "runs.csv")
    per_image = [folder / "per_image.parquet" for folder in metrics]
    models = {run.name: run.model for run in study.runs}
    expected = Expected(list(models), failures, models)
    summary(tables / "runs.csv", per_image, tables, left.statistics, expected)
    budget([folders[key] / "provenance.json" for key in finished], left.tuned, tables)
    with only_finished(folders, failures) as folder:
        shown = study.elsewhere(tables, folder)
        try:
            write_added_tables(shown, tables)
        except PluginError as error:  # a plugin that expects the whole study
            print(error)
        draw_all(shown, output / "figures")
        write_report(shown, replace(sources, figures=output / "figures"), output / "report.html")


def failure(run: Run, seed: int, stage: str, logs: Path) -> Failure:
    """Run, seed, the stage that is left to do, and why: the reason that training recorded, or its log's last line."""
    log = logs / stage / run.name / f"seed{seed}.log"
    reason = run.failures.get(seed, "")
    if run.path(seed, OUTPUTS[stage]).exists():
        reason = OUTDATED
    elif not (state_folder(run.path(seed)) / "failure.json").is_file():
        reason = last_line(log) if log.is_file() else "never started"
    return Failure(run=run.name, seed=seed, stage=stage, reason=reason)


@contextmanager
def only_finished(finished: Mapping[tuple[str, int], Path], failures: Sequence[Failure]) -> Iterator[Path]:
    """A folder of runs with links to finished trainings; of the others it holds only why they are not finished.

    So no figure and no page shows what lies in their folders from before.
    """
    with TemporaryDirectory() as temporary:
        runs = Path(temporary)
        for (run, seed), folder in finished.items():
            (runs / run).mkdir(exist_ok=True)
            training_folder(runs, run, seed).symlink_to(folder.resolve(), target_is_directory=True)
        for entry in failures:
            state = state_folder(training_folder(runs, entry["run"], entry["seed"]))
            state.mkdir(parents=True)
            (state / "failure.json").write_text(json.dumps(stamped("state", {"reason": entry["reason"]})))
        yield runs
