"""Tables, figures and report of a study that could not be made in full: what is done, and why the rest is not."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from vaebench.base.log import last_line
from vaebench.figures.drawing import draw_all
from vaebench.report.writing import write_report
from vaebench.results.budget import budget
from vaebench.results.study import open_study
from vaebench.results.tables import runs_table, summary

# What each stage of a training leaves in the training's folder.
OUTPUTS = {
    "train": "history.csv",
    "pretrained": "history.csv",
    "sample": "samples.npz",
    "showcase": "showcase.npz",
    "evaluate": "metrics/per_image.parquet",
}
OUTDATED = "its results were made with another configuration, code or data, and not made again yet"


def summarise_finished(
    dataset: str,
    runs: Mapping[str, Mapping],
    seeds: Mapping[str, Sequence[int]],
    to_do: Mapping[str, Mapping[str, str]],
    results: Path,
    suites: Sequence[str],
    statistics: Mapping,
    tuning_trials: Mapping[str, int | None],
    report: Mapping,
) -> None:
    """Write tables, figures and report to `results`/unfinished from the trainings for which nothing is left to do.

    `runs` and `seeds` name the planned study as for the figures; `to_do` is the first stage that is left of a training,
    by run and seed (as text), whether its files are there from before or not; `suites` the metrics each training has,
    `statistics` is that section of the configuration, `tuning_trials` what it declares for each run; `report` holds the
    further arguments of `write_report`.
    Without one finished training there is nothing to write, and only the reasons are printed.
    """
    planned = [(run, seed) for run in runs for seed in seeds[run]]
    stages = {(run, seed): to_do.get(run, {}).get(str(seed)) for run, seed in planned}
    finished = [key for key in planned if stages[key] is None]
    failures = [failure(results, run, seed, stages[run, seed]) for run, seed in planned if stages[run, seed]]
    for entry in failures:
        print(f"{entry['run']} seed {entry['seed']} did not finish, stage {entry['stage']}: {entry['reason']}")
    if not finished:
        print("No training has all its metrics yet: there is nothing to tabulate")
        return
    output = results / "unfinished"
    tables = output / "tables"
    folders = {(run, seed): results / "runs" / run / f"seed{seed}" for run, seed in finished}
    metrics = [folders[key] / "metrics" for key in finished]
    runs_table([folder / f"{suite}.csv" for folder in metrics for suite in suites], tables / "runs.csv")
    per_image = [folder / "per_image.parquet" for folder in metrics]
    summary(tables / "runs.csv", per_image, tables, dict(statistics), failures, list(runs))
    budget([folders[key] / "provenance.json" for key in finished], tuning_trials, tables)
    with only_finished(folders, failures) as folder:
        study = {"dataset": dataset, "runs": runs, "seeds": seeds, "tables": tables, "folder": folder}
        draw_all(**study, output=output / "figures")
        write_report(**study, figures=output / "figures", output=output / "report.html", **report)


def failure(results: Path, run: str, seed: int, stage: str) -> dict:
    """Run, seed, the stage that is left to do, and why it was not done: the training's own word, or its log's last."""
    folder, log = results / "runs" / run / f"seed{seed}", results / "logs" / stage / run / f"seed{seed}.log"
    reason = open_study("", {run: {}}, {run: [seed]}, results / "tables", results / "runs").runs[0].failures.get(seed)
    if (folder / OUTPUTS[stage]).exists():
        reason = OUTDATED
    elif not (folder / "training_state" / "failure.json").is_file():
        reason = last_line(log) if log.is_file() else "never started"
    return {"run": run, "seed": seed, "stage": stage, "reason": reason}


@contextmanager
def only_finished(finished: Mapping[tuple[str, int], Path], failures: Sequence[Mapping]) -> Iterator[Path]:
    """A folder of runs with links to the finished trainings, and of the others nothing but why they are not finished.

    So no figure and no page shows what lies in their folders from before.
    """
    with TemporaryDirectory() as temporary:
        runs = Path(temporary)
        for (run, seed), folder in finished.items():
            (runs / run).mkdir(exist_ok=True)
            (runs / run / f"seed{seed}").symlink_to(folder.resolve(), target_is_directory=True)
        for entry in failures:
            state = runs / entry["run"] / f"seed{entry['seed']}" / "training_state"
            state.mkdir(parents=True)
            (state / "failure.json").write_text(json.dumps({"reason": entry["reason"]}))
        yield runs
