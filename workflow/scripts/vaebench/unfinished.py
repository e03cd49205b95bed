"""The tables, figures and report of a study in which some trainings failed: what finished, and why the rest did not."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from vaebench.budget import budget
from vaebench.figures.drawing import draw_all
from vaebench.log import last_line
from vaebench.report.writing import write_report
from vaebench.study import open_study
from vaebench.tables import runs_table, summary

STAGES = ("train", "pretrained", "sample", "evaluate")


def summarise_finished(
    dataset: str,
    runs: Mapping[str, Mapping],
    seeds: Mapping[str, Sequence[int]],
    results: Path,
    suites: Sequence[str],
    statistics: Mapping,
    tuning_trials: Mapping[str, int | None],
    report: Mapping,
) -> None:
    """Write tables, figures and report to `results`/unfinished from the trainings that have all their metrics.

    `runs` and `seeds` name the planned study as for the figures, `suites` the metrics each training has when it is
    finished, `statistics` is that section of the configuration, `tuning_trials` what it declares for each run; `report`
    holds the further arguments of `write_report`.
    Without one finished training there is nothing to write, and only the reasons are printed.
    """
    planned = [(run, seed) for run in runs for seed in seeds[run]]
    folders = {(run, seed): results / "runs" / run / f"seed{seed}" / "metrics" for run, seed in planned}
    finished = [key for key in planned if all((folders[key] / f"{suite}.csv").is_file() for suite in suites)]
    failures = [failure(results, run, seed) for run, seed in planned if (run, seed) not in finished]
    for entry in failures:
        print(f"{entry['run']} seed {entry['seed']} did not finish, stage {entry['stage']}: {entry['reason']}")
    if not finished:
        print("No training has all its metrics yet: there is nothing to tabulate")
        return
    output = results / "unfinished"
    tables = output / "tables"
    runs_table([folders[key] / f"{suite}.csv" for key in finished for suite in suites], tables / "runs.csv")
    per_image = [folders[key] / "per_image.parquet" for key in finished]
    summary(tables / "runs.csv", per_image, tables, dict(statistics), failures, list(runs))
    budget([folders[key].with_name("provenance.json") for key in finished], tuning_trials, tables)
    study = {"dataset": dataset, "runs": runs, "seeds": seeds, "tables": tables, "folder": results / "runs"}
    draw_all(**study, output=output / "figures")
    write_report(**study, figures=output / "figures", output=output / "report.html", **report)


def failure(results: Path, run: str, seed: int) -> dict:
    """Run, seed, the stage that was not finished, and the reason: the training's own, or its log's last line."""
    folder = results / "runs" / run / f"seed{seed}"
    done = {"train": "history.csv", "pretrained": "history.csv", "sample": "samples.npz", "evaluate": "never"}
    logs = {stage: results / "logs" / stage / run / f"seed{seed}.log" for stage in STAGES}
    stage = next((s for s in STAGES if logs[s].is_file() and not (folder / done[s]).is_file()), None)
    reason = open_study("", {run: {}}, {run: [seed]}, results / "tables", results / "runs").runs[0].failures.get(seed)
    known = (folder / "training_state" / "failure.json").is_file() and reason
    if stage is None:
        return {"run": run, "seed": seed, "stage": "train", "reason": known or "never started"}
    return {"run": run, "seed": seed, "stage": stage, "reason": known or last_line(logs[stage])}
