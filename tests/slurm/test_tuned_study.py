"""A tuning by two workers on a real SLURM, one of which is killed, against the same study in peace on this machine."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial
from workplace import CONFIGS, Workplace, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]
TUNED = (*CONFIGS, "tests/slurm/tuned.yaml")
BUDGET = "results/mnist/tables/budget.csv"
HOURS = ["hours", "tuning_hours"]  # how fast it went is not a result


@dataclass
class Tunings:
    """The study on the cluster and on this machine; by the number of the worker, the jobs that made trials side by
    side; of worker 2, whose job was killed, the trial that it was at then.
    """

    cluster: Workplace
    local: Workplace
    beside: dict[int, int] = field(default_factory=dict)
    unfinished: FrozenTrial | None = None


def folder(place: Workplace) -> Path:
    return place.folder / "results" / "mnist" / "tuning" / "tuned"


def trials(place: Workplace) -> list[FrozenTrial]:
    """What Optuna itself reads in the journal."""
    if not (folder(place) / "journal.log").is_file():
        return []
    storage = JournalStorage(JournalFileBackend(str(folder(place) / "journal.log")))
    return [trial for study in storage.get_all_studies() for trial in storage.get_all_trials(study._study_id)]


def at_work(place: Workplace) -> dict[int, FrozenTrial]:
    """By the number of the worker, the trial that it is at."""
    return {trial.user_attrs["worker"]: trial for trial in trials(place) if not trial.state.is_finished()}


def jobs_at_work(place: Workplace) -> dict[int, int]:
    """By the number of the worker, its job that runs."""
    running = [job for job in place.jobs("rule_tune") if job["state"] == "RUNNING"]
    return {int(job["comment"].rsplit("_", 1)[1]): job["id"] for job in running}


@pytest.fixture(scope="module")
def tunings(prepared, cluster, tmp_path_factory):
    root = tmp_path_factory.mktemp("tunings")
    both = Tunings(prepared.copy(root / "cluster"), prepared.copy(root / "local"))
    held = both.cluster.folder / "held"
    held.touch()
    here = both.local.start("--", BUDGET, on_cluster=False, configs=TUNED)
    there = both.cluster.start("--", BUDGET, configs=TUNED)
    try:
        wait_until("a trial of each worker", lambda: at_work(both.cluster).keys() == {1, 2}, seconds=240)
        both.beside = jobs_at_work(both.cluster)
        held.unlink()
        both.unfinished = wait_until("two epochs of it", lambda: begun_by_the_second(both.cluster), seconds=60)
        cluster.run("scancel", str(both.beside[2]))
        for place, process in ((both.cluster, there), (both.local, here)):
            status, output = place.finish(process, seconds=300)
            assert status == 0, output
    finally:
        both.cluster.kill(there)
        both.local.kill(here)
    return both


def begun_by_the_second(place: Workplace) -> FrozenTrial | None:
    """The trial of worker 2, once it has made two epochs of it."""
    trial = at_work(place).get(2)
    return trial if trial and len(trial.intermediate_values) >= 2 else None


def test_two_jobs_made_trials_at_a_time_and_the_one_that_was_killed_was_sent_again(tunings):
    assert tunings.beside.keys() == {1, 2}
    jobs = {job["id"]: job for job in tunings.cluster.jobs("rule_tune")}
    *beside, again = sorted(jobs)
    assert beside == sorted(tunings.beside.values())
    killed = jobs[tunings.beside[2]]
    assert killed["state"] in ("CANCELLED", "FAILED")
    assert (jobs[again]["comment"], jobs[again]["state"]) == (killed["comment"], "COMPLETED")


def test_no_trial_is_lost_or_made_twice(tunings):
    """Each is begun and ended by one line of the journal, and each of its epochs is reported by one."""
    made = trials(tunings.cluster)
    assert [trial.number for trial in made] == [0, 1, 2, 3]
    assert {trial.state.name for trial in made} == {"COMPLETE"}
    assert {trial.user_attrs["worker"] for trial in made} == {1, 2}
    lines = [json.loads(line) for line in (folder(tunings.cluster) / "journal.log").read_text().splitlines()]
    reported = [(line["trial_id"], line["step"]) for line in lines if "intermediate_value" in line]
    assert sorted(reported) == [(number, epoch) for number in range(4) for epoch in range(1, 7)]
    assert sorted(line["trial_id"] for line in lines if "datetime_complete" in line) == [0, 1, 2, 3]


def test_the_killed_trial_went_on_where_it_was(tunings):
    before = tunings.unfinished
    after = trials(tunings.cluster)[before.number]
    assert after.user_attrs["worker"] == 2
    assert after.datetime_start == before.datetime_start
    assert before.intermediate_values.items() <= after.intermediate_values.items()


def test_trials_and_choice_are_those_of_this_machine(tunings):
    places = (tunings.cluster, tunings.local)
    tables = [pd.read_csv(folder(place) / "trials.csv").drop(columns=["seconds", "worker"]) for place in places]
    assert tables[0]["training.learning_rate"].nunique() == 3
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    choices = [(folder(place) / "choice.json").read_text() for place in places]
    assert choices[0] == choices[1]
    best = tables[0].loc[tables[0]["value"].idxmin(), "training.learning_rate"]
    assert json.loads(choices[0])["values"] == {"training.learning_rate": best}


def test_the_choice_is_in_provenance_and_budget_and_is_trained(tunings):
    chosen = json.loads((folder(tunings.cluster) / "choice.json").read_text())["values"]["training.learning_rate"]
    run_folders = [place.run_folder("tuned") for place in (tunings.cluster, tunings.local)]
    for run_folder in run_folders:
        provenance = json.loads((run_folder / "provenance.json").read_text())
        assert provenance["tuned"] == {"training.learning_rate": chosen}
        assert provenance["spec"]["training"]["learning_rate"] == chosen
    histories = [pd.read_csv(run_folder / "history.csv").query("term == 'loss'") for run_folder in run_folders]
    pd.testing.assert_frame_equal(*(history.reset_index(drop=True) for history in histories), check_exact=True)
    budgets = [pd.read_csv(place.folder / BUDGET).drop(columns=HOURS) for place in (tunings.cluster, tunings.local)]
    pd.testing.assert_frame_equal(*budgets, check_exact=True)
    (row,) = budgets[0].to_dict("records")
    assert (row["tuning_trials"], row["tuning_epochs"], row["learning_rate"]) == (4, 6, chosen)
