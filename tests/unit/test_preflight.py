import json
from dataclasses import replace
from pathlib import Path

import pytest

from vaebench.base.disk import Disk
from vaebench.base.errors import UserError
from vaebench.base.plugin_files import use_plugins
from vaebench.cluster import preflight, study_check
from vaebench.cluster.machine import Facts, Gpu, gather
from vaebench.cluster.preflight import Needs, check, check_job, has_kernels
from vaebench.config.plan import read_config

A100 = Gpu("NVIDIA A100-SXM4-80GB", (8, 0), 81920)
P100 = Gpu("Tesla P100-PCIE-16GB", (6, 0), 16384)
KERNELS = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
HEALTHY = Facts(
    python=(3, 12),
    torch="2.11.0+cu130",
    cuda="13.0",
    kernels=KERNELS,
    driver="580.82.07",
    gpus=(A100,),
    given="0",
    slurm_job="7",
)
NO_GPU = replace(HEALTHY, gpus=(), kernels=())


def only(facts, needs=Needs()):  # noqa: B008
    findings = check(facts, needs)
    assert len(findings) == 1, findings
    assert "\n" not in str(findings[0])
    return findings[0]


def test_a_healthy_machine_has_no_findings():
    assert check(HEALTHY, Needs("cuda", 4000, (Disk("data", 1e9, 1e12),))) == []


@pytest.mark.parametrize("python", [(3, 10), (3, 15), (2, 7)])
def test_wrong_python(python):
    finding = only(replace(HEALTHY, python=python))
    assert finding.fatal
    assert "3.11 to 3.14" in finding.message


def test_missing_torch_is_the_only_finding():
    assert "make install" in only(Facts(python=(3, 12), torch=None)).message


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (replace(NO_GPU, cuda=None), "CPU build"),
        (replace(NO_GPU, driver=None), "no NVIDIA driver"),
        (replace(NO_GPU, driver="525.60.13"), "needs 580.65.06 or newer"),
        (replace(NO_GPU, cuda="12.8", driver="470.82.01"), "needs 525.60.13 or newer"),
        (NO_GPU, "CUDA_VISIBLE_DEVICES 0"),
    ],
)
def test_why_there_is_no_gpu_though_one_was_given(facts, words):
    finding = only(facts)
    assert finding.fatal
    assert words in finding.message
    assert ": " in finding.message, "says what to do"


def test_a_new_enough_driver_is_not_blamed():
    assert "too old" not in only(replace(NO_GPU, cuda="12.8", driver="535.104.05")).message


def test_hidden_gpus():
    finding = only(replace(NO_GPU, given=""), Needs("cuda"))
    assert "CUDA_VISIBLE_DEVICES is empty" in finding.message


def test_auto_may_use_the_cpu_where_nobody_gave_a_gpu():
    assert check(Facts(python=(3, 11), torch="2.15.0+cpu"), Needs("auto")) == []
    idle_driver = only(replace(NO_GPU, given=None), Needs("auto"))
    assert not idle_driver.fatal
    assert "the CPU will be used" in idle_driver.message


def test_cpu_asks_for_nothing():
    assert check(replace(NO_GPU, driver=None), Needs("cpu")) == []


def test_the_original_study_s_p100():
    finding = only(replace(HEALTHY, gpus=(P100,)))
    assert finding.fatal
    assert "no kernels for Tesla P100-PCIE-16GB (sm_60" in finding.message
    assert "gpu_model" in finding.message
    assert "make install CUDA=12" in finding.message


def test_the_lock_for_an_old_driver_is_named_where_it_would_do():
    found = {driver: only(replace(NO_GPU, driver=driver)).message for driver in ("535.104.05", "470.82.01")}
    assert "install requirements-cuda12.lock with `make install CUDA=12`" in found["535.104.05"]
    assert "CUDA=12" not in found["470.82.01"]
    assert "CUDA=12" not in only(replace(NO_GPU, cuda="12.6", driver="470.82.01")).message


@pytest.mark.parametrize(
    ("capability", "kernels", "expected"),
    [
        ((8, 0), ("sm_80",), True),
        ((8, 9), ("sm_80", "sm_86"), True),  # machine code of a lower minor version runs
        ((8, 0), ("sm_86",), False),  # a higher one does not
        ((9, 0), ("sm_80",), False),  # nor another major version
        ((9, 0), ("sm_80", "compute_80"), True),  # unless it can be compiled there
        ((6, 0), KERNELS, False),
        ((12, 1), KERNELS, True),
        ((9, 0), ("sm_90a",), True),
        ((8, 0), (), False),
    ],
)
def test_kernels(capability, kernels, expected):
    assert has_kernels(capability, kernels) is expected


def test_too_little_gpu_memory():
    finding = only(HEALTHY, Needs("cuda", memory_mb=90000))
    assert finding.fatal
    assert "has 81920 MB" in finding.message
    assert "batch_size" in finding.message


def test_no_space_for_the_planned_files():
    disks = (Disk("/scratch/me", 15.2e9, 2e9), Disk("results", 1e9, 2e9))
    finding = only(HEALTHY, Needs("cuda", disks=disks))
    assert finding.fatal
    assert "2.0 GB are free for /scratch/me, the study still needs about 15.2 GB there" in finding.message


def test_missing_weights_are_a_warning_each():
    findings = check(HEALTHY, Needs("cuda", missing_weights=("data/weights/vgg16.pt", "data/weights/alexnet.pt")))
    assert [finding.fatal for finding in findings] == [False, False]
    assert str(findings[0]).startswith("warning: data/weights/vgg16.pt is missing")


def test_several_findings_come_together():
    facts = replace(NO_GPU, python=(3, 9), driver=None)
    assert len(check(facts, Needs("cuda", disks=(Disk("results", 1e9, 0.0),)))) == 3


def test_a_job_stops_with_what_was_found(monkeypatch, capsys):
    monkeypatch.setattr(preflight, "gather", lambda: replace(NO_GPU, driver=None))
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pytest.raises(UserError, match="no NVIDIA driver"):
        check_job("auto")
    assert "SLURM job 42, CUDA_VISIBLE_DEVICES 1" in capsys.readouterr().err


def test_a_job_s_memory_is_estimated_from_its_model(monkeypatch, tmp_path):
    monkeypatch.setattr(preflight, "gather", lambda: replace(HEALTHY, gpus=(replace(A100, memory_mb=5000),)))
    monkeypatch.setattr(preflight, "_training_memory_mb", lambda spec, data: 6000.0)
    with pytest.raises(UserError, match="needs about 6000 MB"):
        check_job("cuda", {"model": "VAE"}, tmp_path / "train_data.npz")
    check_job("cuda")


def test_facts_of_this_machine():
    assert gather().torch is not None


@pytest.mark.parametrize("works", [True, False])
def test_make_check_tries_a_metric_of_a_plugin(works, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from vaebench.base.plugins import metric\n\n\n"
        "@metric('gap', label='gap', formula='the largest difference', higher_is_better=False)\n"
        f"def gap(x, y):\n    return (x - y).abs().flatten(1).{'amax' if works else 'amux'}(1)\n"
    )
    (tmp_path / "mine.yaml").write_text(f"plugins: [{tmp_path}/mine.py]\nevaluation: {{suites: [reconstruction]}}\n")
    project = Path(__file__).parents[2]
    config = read_config([project / "config/config.yaml", project / "config/mnist.yaml", tmp_path / "mine.yaml"])
    findings = list(study_check.check_networks(config))
    use_plugins(())
    assert len(findings) == (0 if works else 1)
    assert works or "mine.py, line 6: the metric 'gap' failed: AttributeError" in str(findings[0])


def test_make_check_prints_the_plan_and_fails_on_an_error(monkeypatch, tmp_path, capsys):
    project = Path(__file__).parents[2]
    configs = [str(project / name) for name in ("config/config.yaml", "config/mnist.yaml")]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(study_check, "gather", lambda: HEALTHY)
    assert study_check.main(configs) == 0
    printed = capsys.readouterr().out
    assert "trainings: " in printed
    assert "GPU hours: unknown" in printed
    assert "data/weights/vgg16.pt is missing" in printed
    larger = tmp_path / "larger.yaml"
    larger.write_text(json.dumps({"samples": {"count": 10**12}}))
    assert study_check.main([*configs, str(larger)]) == 1
    assert "GB are free for data and results, the study still needs about" in capsys.readouterr().out
    gone = tmp_path / "gone.yaml"
    labels = {"file": "l.csv", "source": [{"path": "l.csv"}]}
    images = {"source": [{"path": "/nowhere/images.zip"}]}
    gone.write_text(json.dumps({"dataset": {"images": images, "labels": labels}, "evaluation": {"factors": ["Age"]}}))
    (tmp_path / "l.csv").write_text("image,Smiling\n1.png,1\n")
    assert study_check.main([*configs, str(gone)]) == 1
    printed = capsys.readouterr().out
    assert "error: dataset.images.source: there is no /nowhere/images.zip; correct the path\n" in printed
    assert "error: evaluation.factors: unknown label 'Age'; allowed: Smiling (l.csv)\n" in printed
    (tmp_path / "l.csv").write_text("Smiling\n")
    assert study_check.main([*configs, str(gone)]) == 1
    assert "error: l.csv: not a label file" in capsys.readouterr().out
    broken = tmp_path / "broken.yaml"
    broken.write_text(json.dumps({"seed": [1]}))
    with pytest.raises(SystemExit, match=r"did you mean seeds or tuning\.seed or samples\.seed\?"):
        study_check.main([*configs, str(broken)])
