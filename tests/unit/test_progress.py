import json

import pytest

from vaebench.cluster.progress import (
    Running,
    duration_in_words,
    earlier_seconds,
    read_progress,
    seconds_to_go,
    time_left,
)
from vaebench.training.checkpoint import Checkpoint


def test_the_time_left_is_the_work_left_divided_by_the_workers():
    left = time_left({"train": 3, "report": 1}, [Running("train", 40.0)], {"train": [90, 110], "report": [20]}, 2)
    assert left.seconds == (3 * 100 + 20 + (100 - 40)) / 2
    assert str(left) == "about 3 min left"


def test_a_single_job_is_not_shared_by_the_workers():
    assert time_left({}, [Running("report", 5.0)], {"report": [20]}, 8).seconds == 15


def test_a_training_s_own_count_comes_before_the_mean_and_joins_it():
    left = time_left({"train": 1}, [Running("train", 30.0, 170.0)], {}, 1)
    assert left.seconds == 170 + 200
    assert not left.rough


def test_a_job_that_takes_longer_than_the_mean_does_not_make_time():
    assert time_left({"train": 1}, [Running("train", 300.0)], {"train": [100]}, 1).seconds == 100


def test_a_rule_that_was_never_timed_counts_as_the_median_and_makes_the_estimate_rough():
    left = time_left({"train": 1, "evaluate": 2}, [], {"train": [100, 140], "data": [1]}, 1)
    assert left.seconds == 120 + 2 * 100
    assert str(left) == "roughly 5 min left"


def test_nothing_timed_nothing_said():
    assert time_left({"train": 1}, [Running("train", 3.0)], {}, 1) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (9000, "2.5 h"), (200000, "2.3 days")],
)
def test_words(seconds, words):
    assert duration_in_words(seconds) == words


def test_a_training_s_progress(tmp_path):
    assert read_progress(tmp_path) is None
    assert seconds_to_go(None) is None
    state = tmp_path / "training_state/progress.json"
    state.parent.mkdir()
    state.write_text("{")  # cut short
    assert read_progress(tmp_path) is None
    Checkpoint(state.parent, "key").report({"epoch": 3, "epochs": 10, "seconds": 6.0})
    assert seconds_to_go(read_progress(tmp_path)) == 42


def test_earlier_times_come_from_the_benchmarks_and_damaged_ones_are_no_obstacle(tmp_path):
    for seed, seconds in enumerate((10.0, 14.0)):
        path = tmp_path / f"train/vae/seed{seed}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"s": seconds}) + "\n")
    assert earlier_seconds(tmp_path) == {"train": pytest.approx([10.0, 14.0])}
    (tmp_path / "report.jsonl").write_text('{"s": ')
    assert earlier_seconds(tmp_path) == {}
    assert earlier_seconds(tmp_path / "nowhere") == {}
