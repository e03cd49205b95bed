import csv
import json

import pytest

from vaebench.cluster import efficiency
from vaebench.cluster.efficiency import by_rule, from_benchmarks, from_sacct, main, text_table, write


def sacct(folder):
    """What sacct prints for a training on a GPU, a group that ran out of time, and a job of somebody else's study."""
    gpu = "billing=4,cpu=4,gres/gpu:a100=1,gres/gpu=1,mem=16000M,node=1"
    return "\n".join(
        [
            f"5|COMPLETED|rule_train_wildcards_vae_0|7200|480|03:10:00|4|16000M||{gpu}|{folder}",
            "5.batch|COMPLETED||7200||00:00:04|4||51200K|cpu=4,mem=16000M|",
            "5.0|COMPLETED||7200||03:10:00|4||4194304K|cpu=4,gres/gpu=1|",
            f"6|TIMEOUT|rule_judge_evaluate_sample|3600|60|1-00:00:01|4|16G||{gpu}|{folder}",
            "6.0|CANCELLED by 0||3600||00:30.500|4||2.5G|cpu=4|",
            "7|COMPLETED|rule_train_wildcards_vae_0|10|60|00:01|1|1G||cpu=1|/elsewhere",
            f"8|COMPLETED||10|60|00:01|1|1G||cpu=1|{folder}",
        ]
    )


def test_sacct_counts_only_this_study(tmp_path):
    usages = from_sacct(sacct(tmp_path), tmp_path)
    assert [usage.job for usage in usages] == ["5", "6"]
    train, judge = usages
    assert (train.rule, train.state, train.hours, train.hours_asked) == ("train", "COMPLETED", 2.0, 8.0)
    assert train.cpus_used == pytest.approx(11400 / 7200)
    assert (train.memory_asked_mb, train.memory_used_mb) == (16000, 4096)
    assert (train.gpus_asked, train.gpu_hours) == (1, 2)
    assert (judge.rule, judge.state) == ("judge_evaluate_sample", "TIMEOUT")
    assert judge.cpus_used == pytest.approx(86401 / 3600)
    assert (judge.memory_asked_mb, judge.memory_used_mb) == (16384, 2560)


def write_benchmark(path, **values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values) + "\n")


def test_benchmark_files_plain_and_extended(tmp_path):
    asked = {"gpu": 1, "mem_mb": 16000, "runtime": 480}
    extended = {"s": 1800.0, "cpu_time": 900.0, "max_rss": 745.5, "threads": 4, "resources": asked}
    write_benchmark(tmp_path / "train" / "vae" / "seed0.jsonl", **extended)
    write_benchmark(tmp_path / "validate.jsonl", s=2.0, cpu_time="NA", max_rss=100.0)
    train, validate = from_benchmarks(tmp_path)
    assert (train.rule, train.job, train.hours) == ("train", "vae/seed0", 0.5)
    assert (train.cpus_used, train.cpus_asked) == (0.5, 4)
    assert (train.memory_used_mb, train.memory_asked_mb, train.gpu_hours) == (745.5, 16000, 0.5)
    assert (validate.rule, validate.job) == ("validate", "validate")
    assert validate.cpus_used is None
    assert validate.gpus_asked is None


def test_summary_takes_the_worst_case_of_each_rule(tmp_path):
    for seed, seconds, memory in ((0, 3600.0, 700.0), (1, 7200.0, 900.0)):
        resources = {"gpu": 1, "mem_mb": 16000, "runtime": 480}
        path = tmp_path / "train" / "vae" / f"seed{seed}.jsonl"
        write_benchmark(path, s=seconds, cpu_time=seconds, max_rss=memory, resources=resources)
    row = by_rule(from_benchmarks(tmp_path))[0]
    assert (row["jobs"], row["failed"], row["hours"], row["longest_hours"]) == (2, 0, 3.0, 2.0)
    assert (row["memory_used_mb"], row["gpu_hours"]) == (900.0, 3.0)
    printed = text_table([row])
    assert printed.splitlines()[0].split()[:2] == ["rule", "jobs"]
    assert "-" in printed.split(), "unknown cpus_asked is a dash"


def test_jobs_table_has_empty_cells_for_what_is_unknown(tmp_path):
    write_benchmark(tmp_path / "validate.jsonl", s=2.0)
    write(from_benchmarks(tmp_path), tmp_path / "efficiency.csv")
    with open(tmp_path / "efficiency.csv") as file:
        row = next(csv.DictReader(file))
    assert (row["rule"], row["cpus_used"], row["gpu_hours"]) == ("validate", "", "")


def test_accounting_is_preferred_and_its_absence_survived(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(efficiency, "_sacct", lambda days: None)
    assert main(["results/demo"]) == 1
    assert "error: no job of this study is known" in capsys.readouterr().out
    write_benchmark(tmp_path / "results" / "demo" / "benchmarks" / "validate.jsonl", s=2.0)
    assert main(["results/demo"]) == 0
    assert "1 jobs" in capsys.readouterr().out
    monkeypatch.setattr(efficiency, "_sacct", lambda days: sacct(tmp_path))
    assert main(["results/demo"]) == 0
    assert "2 jobs" in capsys.readouterr().out
