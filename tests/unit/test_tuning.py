"""A tuning: exactly so many trials whoever makes them, none lost by a kill, the best one chosen."""

import csv
import json
import math
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from optuna.trial import create_trial
from training_cases import digits, make_spec, write_data

from vaebench.base.errors import UserError
from vaebench.cluster.status import Job, status_of_tuning
from vaebench.config.plan import Tuning
from vaebench.config.search_space import Choices, Span, TuningSettings, range_of, with_values
from vaebench.tuning import journal as journals
from vaebench.tuning.chosen import TuningFiles, choose, key_of
from vaebench.tuning.journal import open_journal, remove_half_line
from vaebench.tuning.proposals import RANDOM_AT_FIRST, distributions, propose
from vaebench.tuning.trained_trials import TrialMaker, tune
from vaebench.tuning.trials import COMPLETE, FAILED, PRUNED, Outcome, Trials

SETTINGS = TuningSettings(
    trials=8,
    epochs=4,
    metric="mse",
    search={"training.learning_rate": [1e-5, 1e-1, "log"], "config.beta": [1, 9]},
    sampler="tpe",
    pruner="none",
    seed=0,
)


def distance(values):
    """A study whose best setting is known: learning rate 1e-3 and beta 3."""
    return (math.log10(values["training.learning_rate"]) + 3) ** 2 + abs(values["config.beta"] - 3) / 4


def valued(number, values, report):
    """A trial without a training."""
    for epoch in range(1, 5):
        if report(epoch, distance(values) / epoch):
            return Outcome(PRUNED, None, 1.0)
    return Outcome(COMPLETE, distance(values) / 4, 2.0)


def opened(folder, settings=SETTINGS, key="key"):
    return Trials(folder / "journal.log", key, settings)


def files(folder):
    return TuningFiles(folder / "choice.json", folder / "tuning.json", folder / "trials.csv")


def settings_of(trials):
    return [trial.params for trial in trials.all()]


def in_a_process(function, *arguments):
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([1, 9], Span(1, 9)),
        ([1.0e-4, 1.0e-2, "log"], Span(1e-4, 1e-2, log=True)),
        ({"choices": ["Adam", 2, None, True]}, Choices(("Adam", 2, None, True))),
    ],
)
def test_search_spaces_are_read(given, expected):
    assert range_of(given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "3 is no search space; write"),
        ([1], "is no search space"),
        (["1e-4", 1.0], "the bound '1e-4' is no number; write 1.0e-4"),
        ([True, 2], "the bound True is no number"),
        ([2, 1], "the lower bound 2 must be below the upper one, 1"),
        ([1, 1], "must be below"),
        ([0, 1, "log"], "on a log scale the lower bound must be above 0"),
        ([1, 2, "linear"], "'linear' after the bounds is not known"),
        ({"choices": [1]}, "two or more"),
        ({"choices": [1, 2], "low": 3}, "is no search space"),
        ({"choices": [[1], [2]]}, r"[1] cannot be a choice"),
        ({"choices": ["a", "a"]}, "a choice is there twice"),
    ],
)
def test_what_is_no_search_space_is_said(given, message):
    with pytest.raises(UserError) as caught:
        range_of(given)
    assert message in str(caught.value)


def test_options_are_put_where_they_belong():
    spec = make_spec("VAEGAN", optimizer={"name": "Adam", "options": {}})
    values = {
        "training.learning_rate": 0.5,
        "training.optimizer.options.weight_decay": 0.25,
        "training.components.decoder.learning_rate": 0.125,
        "training.scheduler.name": "CosineAnnealingLR",
        "config.latent_dim": 7,
    }
    changed = with_values(spec, values)
    assert (changed.training.learning_rate, changed.config["latent_dim"]) == (0.5, 7)
    assert changed.training.optimizer.options == {"weight_decay": 0.25}
    assert changed.training.of("decoder").learning_rate == 0.125
    assert changed.training.scheduler.name == "CosineAnnealingLR"
    assert with_values(spec, {}) == spec
    with pytest.raises(UserError, match="latent_dim has no options of its own"):
        with_values(spec, {"config.latent_dim.x": 1})


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_one_worker_is_deterministic_and_finds_what_is_known(sampler, tmp_path):
    settings = replace(SETTINGS, sampler=sampler, trials=12)
    found = []
    for name in ("one", "other"):
        trials = opened(tmp_path / name, settings)
        assert trials.work(1, 1, valued) == 12
        found.append(settings_of(trials))
        choose(trials, "vae", files(tmp_path / name))
    assert found[0] == found[1]
    assert all(isinstance(values["config.beta"], int) for values in found[0])
    assert len({values["training.learning_rate"] for values in found[0]}) == 12
    record = json.loads((tmp_path / "one/tuning.json").read_text())
    best = min(found[0], key=distance)
    assert record["best"]["values"] == best == json.loads((tmp_path / "one/choice.json").read_text())["values"]
    assert record["best"]["value"] == distance(best) / 4
    assert (record["trials"], record["complete"], record["epochs_made"], record["seconds"]) == (12, 12, 48, 24)


def proposed(settings):
    """The settings of a tuning without a journal."""
    before, spaces = [], distributions(settings.search)
    for _ in range(settings.trials):
        values = propose(settings, before, 1)
        before.append(create_trial(params=values, distributions=spaces, value=distance(values)))
    return [trial.params for trial in before]


def test_the_sampler_learns():
    """TPE's last trials lie closer to the best setting than its first, random ones, over several seeds."""
    values = [[distance(found) for found in proposed(replace(SETTINGS, seed=seed, trials=24))] for seed in range(3)]
    assert np.mean([found[-8:] for found in values]) < np.mean([found[:RANDOM_AT_FIRST] for found in values])


def test_another_seed_tries_other_settings(tmp_path):
    for seed in (0, 1):
        opened(tmp_path / str(seed), replace(SETTINGS, seed=seed)).work(1, 1, valued)
    assert settings_of(opened(tmp_path / "0")) != settings_of(opened(tmp_path / "1"))


def killed_at(number, epoch, how):
    """`valued`, but ends in the middle of a trial."""

    def make(now, values, report):
        def reporting(e, value):
            if (now, e) == (number, epoch):
                how()
            return report(e, value)

        return valued(now, values, reporting)

    return make


def die():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(("number", "epoch"), [(0, 1), (3, 3), (7, 4)])
def test_a_killed_worker_loses_no_finished_trial(number, epoch, tmp_path):
    expected = opened(tmp_path / "whole")
    expected.work(1, 1, valued)
    process = in_a_process(lambda: opened(tmp_path / "killed").work(1, 1, killed_at(number, epoch, die)))
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    trials = opened(tmp_path / "killed")
    assert [trial.state.is_finished() for trial in trials.all()] == [True] * number + [False]
    before = [(trial.number, trial.datetime_complete) for trial in trials.all()[:number]]
    assert trials.work(1, 1, valued) == 8 - number
    assert [(trial.number, trial.datetime_complete) for trial in trials.all()[:number]] == before
    assert settings_of(trials) == settings_of(expected)
    assert [trial.value for trial in trials.all()] == [trial.value for trial in expected.all()]


def work_beside_others(folder, worker, workers):
    """Work, the first trial not before another worker has begun one, however late it is started."""

    def make(number, values, report):
        while len({trial.user_attrs.get("worker") for trial in opened(folder).all()}) < 2:
            time.sleep(0.02)
        return valued(number, values, report)

    opened(folder).work(worker, workers, make)


def test_workers_side_by_side_make_exactly_the_trials(tmp_path):
    processes = [in_a_process(work_beside_others, tmp_path, worker, 3) for worker in (1, 2, 3)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    trials = opened(tmp_path)
    assert [trial.number for trial in trials.all()] == list(range(8))
    assert all(trial.state.is_finished() for trial in trials.all())
    made = [trial.user_attrs["worker"] for trial in trials.all()]
    assert len(set(made)) > 1, "several workers took part"
    assert len({trial.params["training.learning_rate"] for trial in trials.all()}) == 8
    choose(trials, "vae", files(tmp_path))
    with open(tmp_path / "trials.csv") as file:
        assert [int(row["worker"]) for row in csv.DictReader(file)] == made


def test_a_trial_of_a_worker_that_there_is_no_more_is_taken_over(tmp_path):
    process = in_a_process(lambda: opened(tmp_path).work(3, 3, killed_at(1, 2, die)))
    process.join(60)
    opened(tmp_path).work(2, 3, valued)
    states = [trial.state.is_finished() for trial in opened(tmp_path).all()]
    assert states == [True, False, *[True] * 6], "worker 3 may be at it"
    assert opened(tmp_path).work(1, 1, valued) == 1
    assert all(trial.state.is_finished() for trial in opened(tmp_path).all())


def test_what_two_began_at_a_time_is_not_one_trial_too_many(tmp_path, monkeypatch):
    """Both see seven trials and begin another: the one with number 8 is for the day when more are wanted."""
    first, second = opened(tmp_path), opened(tmp_path)
    seven = opened(tmp_path, replace(SETTINGS, trials=7))
    seven.work(1, 2, valued)
    seen = second.all()
    assert len(seen) == 7
    monkeypatch.setattr(second, "all", lambda: seen)
    first.work(1, 2, valued)
    assert second._next(2, 2) is None
    assert len(first.all()) == 8
    more = opened(tmp_path, replace(SETTINGS, trials=10))
    assert [trial.state.is_finished() for trial in more.all()] == [True] * 8 + [False]
    more.work(2, 2, valued)
    assert [trial.state.is_finished() for trial in more.all()] == [True] * 10


def test_more_trials_add_and_fewer_take_the_first(tmp_path):
    opened(tmp_path).work(1, 1, valued)
    more = opened(tmp_path, replace(SETTINGS, trials=12))
    assert more.work(1, 1, valued) == 4
    assert settings_of(more)[:8] == settings_of(opened(tmp_path))
    assert len(opened(tmp_path, replace(SETTINGS, trials=3)).all()) == 3


def test_other_searches_do_not_mix_and_come_back(tmp_path):
    first = opened(tmp_path, key="one")
    first.work(1, 1, valued)
    other = opened(tmp_path, key="two")
    assert other.all() == []
    other.work(1, 1, valued)
    assert opened(tmp_path, key="one").work(1, 1, valued) == 0
    assert len(opened(tmp_path, key="one").all()) == 8


def test_failed_trials_count_and_are_not_chosen(tmp_path):
    """The best value of all would be that of a trial that failed."""

    def make(number, values, report):
        if number in (0, 5):
            return Outcome(FAILED, None, 0.5, "diverged: loss is nan in epoch 1")
        return Outcome(COMPLETE, 10.0 - number, 1.0)

    trials = opened(tmp_path)
    assert trials.work(1, 1, make) == 8
    choose(trials, "vae", files(tmp_path))
    record = json.loads((tmp_path / "tuning.json").read_text())
    assert (record["trials"], record["complete"], record["failed"], record["pruned"]) == (8, 6, 2, 0)
    assert record["best"]["trial"] == 7
    with open(tmp_path / "trials.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows].count("failed") == 2
    assert rows[5]["reason"] == "diverged: loss is nan in epoch 1"
    assert rows[5]["value"] == ""


def test_equal_values_take_the_first_trial(tmp_path):
    trials = opened(tmp_path)
    trials.work(1, 1, lambda number, values, report: Outcome(COMPLETE, float(number < 2), 1.0))
    choose(trials, "vae", files(tmp_path))
    assert json.loads((tmp_path / "tuning.json").read_text())["best"]["trial"] == 2


def test_no_choice_without_all_trials_or_a_complete_one(tmp_path):
    trials = opened(tmp_path)
    with pytest.raises(UserError, match="vae: 0 of 8 trials are done"):
        choose(trials, "vae", files(tmp_path))
    trials.work(1, 1, lambda *_: Outcome(FAILED, None, 1.0, "out of memory"))
    with pytest.raises(UserError, match=r"all 8 trials failed; the first: out of memory\. Change tuning\.search"):
        choose(trials, "vae", files(tmp_path))
    assert not (tmp_path / "choice.json").exists()


def test_a_choice_is_written_in_the_same_bytes(tmp_path):
    for name in ("one", "other"):
        trials = opened(tmp_path / name)
        trials.work(1, 1, valued)
        choose(trials, "vae", files(tmp_path / name))
    assert (tmp_path / "one/choice.json").read_bytes() == (tmp_path / "other/choice.json").read_bytes()


def test_the_median_rule_ends_bad_trials_in_all_entries_alike(tmp_path):
    """Of values 0, 1, 2, ... by trial, those above the median of the complete ones end at the second epoch."""

    def make(number, values, report):
        for epoch in range(1, 5):
            if report(epoch, float(number)):
                assert epoch == 2
                return Outcome(PRUNED, None, 1.0)
        return Outcome(COMPLETE, float(number), 1.0)

    trials = opened(tmp_path, replace(SETTINGS, pruner="median"))
    trials.work(1, 1, make)
    choose(trials, "vae", files(tmp_path))
    record = json.loads((tmp_path / "tuning.json").read_text())
    assert (record["complete"], record["pruned"], record["best"]["trial"]) == (4, 4, 0)


def damaged(journal, cut):
    content = journal.read_bytes()
    journal.write_bytes(content[:-cut])
    return content


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_a_half_written_last_line_survives(cut, tmp_path):
    trials = opened(tmp_path, replace(SETTINGS, trials=4))
    trials.work(1, 1, valued)
    damaged(tmp_path / "journal.log", cut)
    again = opened(tmp_path)
    assert [trial.state.is_finished() for trial in again.all()] == [True] * 3 + [False]
    again.work(1, 1, valued)
    assert all(trial.state.is_finished() for trial in again.all())
    assert [json.loads(line) for line in (tmp_path / "journal.log").read_text().splitlines()]
    assert len(opened(tmp_path).all()) == 8


def test_half_lines_longer_than_a_block_and_nothing_but_one_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "BLOCK", 4)
    path = tmp_path / "journal.log"
    for content, left in ((b"", b""), (b"abcdefghij", b""), (b"a\nbcdefghij", b"a\n"), (b"a\nb\n", b"a\nb\n")):
        path.write_bytes(content)
        remove_half_line(path)
        assert path.read_bytes() == left


def test_a_damaged_line_is_named(tmp_path):
    opened(tmp_path).work(1, 1, valued)
    path = tmp_path / "journal.log"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4][5:]
    path.write_bytes(b"".join(lines))
    with pytest.raises(UserError, match=r"journal\.log is damaged in line 5 .*delete it"):
        open_journal(path)


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, monkeypatch):
    trials = opened(tmp_path)
    (tmp_path / "journal.log.lock").touch()
    clock = SimpleNamespace(monotonic=lambda: 200 * time.perf_counter(), sleep=time.sleep)
    monkeypatch.setattr("optuna.storages.journal._file.time", clock)
    began = time.monotonic()
    trials.work(1, 1, lambda *_: Outcome(COMPLETE, 1.0, 1.0))
    assert time.monotonic() - began > journals.PATIENCE / 200
    assert not (tmp_path / "journal.log.lock").exists()


def test_workers_of_other_data_do_not_choose_together(tmp_path):
    for worker, key in ((1, "a"), (2, "b")):
        (tmp_path / f"worker{worker}.json").write_text(json.dumps({"format_version": 1, "key": key}))
    assert key_of([tmp_path / "worker1.json"]) == "a"
    with pytest.raises(UserError, match="had different data or code"):
        key_of([tmp_path / "worker1.json", tmp_path / "worker2.json"])


def test_where_a_tuning_stands(tmp_path):
    tuning, log = Tuning("vae", None, SETTINGS, tmp_path), tmp_path / "worker1.log"

    def state(*jobs, now=None):
        found = status_of_tuning(tuning, jobs, [log, tmp_path / "worker2.log"], now)
        assert found.name == "vae/tuning"
        return found.state, found.note

    assert state() == ("pending", "")
    opened(tmp_path, replace(SETTINGS, trials=3)).work(1, 1, valued)
    log.write_text("trial 4\n")
    assert state() == ("running", "without a scheduler, 3 of 8 trials")
    assert state(Job("7", "PENDING"), Job("9", "RUNNING")) == ("running", "job 9, 3 of 8 trials")
    assert state(Job("7", "PENDING")) == ("queued", "job 7, 3 of 8 trials")
    assert state(now=time.time() + 1000) == ("failed", f"3 of 8 trials; trial 4; see {log}")
    log.write_text("Error: out of luck\n")
    assert state() == ("failed", f"3 of 8 trials; Error: out of luck; see {log}")
    (tmp_path / "choice.json").touch()
    assert state() == ("chosen", "")


REAL = replace(SETTINGS, trials=3, epochs=2, search={"training.learning_rate": {"choices": [1e-12, 1e-2]}}, seed=1)


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path)


def maker(folder, data, settings=REAL, spec=None, **more):
    spec = spec or make_spec("VAE", epochs=9)
    places = {"train": data["train_data"], "eval": data["eval_data"], "states": folder / "trials"}
    return TrialMaker(spec, settings, **places, weights={}, code="code", threads=1, **more)


def tuned(folder, data, settings=REAL, spec=None):
    """Tune a real training to its end; the choice."""
    made = maker(folder, data, settings, spec)
    tune(made, folder / "journal.log", 1, 1, folder / "worker1.json")
    trials = Trials(folder / "journal.log", key_of([folder / "worker1.json"]), settings)
    choose(trials, "vae", files(folder))
    return json.loads((folder / "choice.json").read_text())["values"]


def test_a_learning_rate_that_does_not_learn_cannot_win(data, tmp_path):
    assert tuned(tmp_path, data) == {"training.learning_rate": 1e-2}
    record = json.loads((tmp_path / "tuning.json").read_text())
    assert (record["trials"], record["epochs"], record["epochs_made"]) == (3, 2, 6)
    assert not list((tmp_path / "trials").iterdir())


def test_test_images_are_never_seen(data, tmp_path):
    """Images beside the others that would change any choice that looked at them."""
    before = tuned(tmp_path / "without", data)
    np.savez(tmp_path / "test_data.npz", data=255 - digits(20, 500))
    assert tuned(tmp_path / "with", data) == before
    first, second = ((tmp_path / name / "trials.csv").read_text().splitlines() for name in ("without", "with"))
    values = [[line.split(",")[2] for line in lines[1:]] for lines in (first, second)]
    assert values[0] == values[1]
    fields = {name for name in TrialMaker.__dataclass_fields__ if "test" in name}
    assert not fields


def test_other_images_code_or_settings_are_another_tuning(data, tmp_path):
    own = maker(tmp_path, data)
    same = maker(tmp_path, data, replace(REAL, trials=50), make_spec("VAE", epochs=30, device="auto"))
    assert same.key == own.key, "neither the number of trials nor how long the run itself is trained"
    others = [
        maker(tmp_path, data, replace(REAL, search={"training.learning_rate": [1e-4, 1e-2]})),
        maker(tmp_path, data, replace(REAL, metric="loss")),
        maker(tmp_path, data, replace(REAL, epochs=3)),
        maker(tmp_path, data, replace(REAL, seed=2)),
        maker(tmp_path, data, spec=make_spec("VAE", epochs=9, batch_size=8)),
        replace(own, code="other"),
        replace(own, eval=data["train_data"]),
    ]
    assert len({own.key, *(other.key for other in others)}) == 8


def tune_and_die(folder, data, signal_number):
    """Tune, and be sent a signal in the second trial's second epoch."""
    import vaebench.training.trainer as training

    look_after = training.Trainer._check_and_save

    def look_and_kill(trainer, epoch):
        if trainer.spec.run.endswith("trial 1") and (epoch, trainer.progress.position) == (2, 1):
            os.kill(os.getpid(), signal_number)
        look_after(trainer, epoch)

    training.Trainer._check_and_save = look_and_kill
    tuned(folder, data)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_killed_within_a_training_ends_as_if_left_alone(number, data, tmp_path):
    tuned(tmp_path / "whole", data)
    process = in_a_process(tune_and_die, tmp_path / "killed", data, number)
    process.join(60)
    assert process.exitcode == (-number if number == signal.SIGKILL else 128 + number)
    assert (tmp_path / "killed/trials/1/state.pt").is_file()
    tuned(tmp_path / "killed", data)
    rows = []
    for name in ("whole", "killed"):
        with open(tmp_path / name / "trials.csv") as file:
            rows.append([{key: row[key] for key in row if key != "seconds"} for row in csv.DictReader(file)])
    assert rows[0] == rows[1]


def test_a_training_that_diverges_is_a_failed_trial(data, tmp_path):
    search = {"training.learning_rate": {"choices": [1e-2, 1e30]}}
    settings = replace(REAL, search=search, trials=4)
    spec = make_spec("VAE", optimizer={"name": "SGD", "options": {}})
    assert tuned(tmp_path, data, settings, spec) == {"training.learning_rate": 1e-2}
    with open(tmp_path / "trials.csv") as file:
        failed = [row for row in csv.DictReader(file) if row["state"] == "failed"]
    assert failed
    assert all(row["training.learning_rate"] == "1e+30" and row["reason"].startswith("diverged") for row in failed)


def test_what_is_not_of_the_setting_ends_the_worker(data, tmp_path):
    """Too few images: no trial is blamed for it."""
    np.savez(data["train_data"], data=digits(1))
    with pytest.raises(UserError, match="needs at least"):
        tuned(tmp_path, data, spec=make_spec("VAE"))
    trials = Trials(tmp_path / "journal.log", maker(tmp_path, data).key, REAL)
    assert not any(trial.state.is_finished() for trial in trials.all())
