"""A training's state folder: finished work that is not accepted yet, damaged files, two processes, left-overs."""

import csv
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from processes import in_a_process
from training_cases import make_spec, outputs, run, write_data

import vaebench.training.trainer as training
from vaebench.base.durable import durable_path
from vaebench.base.errors import UserError
from vaebench.base.sealed import Damaged, load_sealed, save_sealed
from vaebench.models.state import load_weights
from vaebench.training.state_folder import forget, held

FORK = multiprocessing.get_context("fork")
SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
TIMING = {"images_per_second", "seconds", "peak_memory_mb"}
SPEC = make_spec("VAE", epochs=3)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The result of a training that was left alone."""
    folder = tmp_path_factory.mktemp("whole")
    run(SPEC, data, folder)
    return result(folder)


@pytest.fixture(scope="module")
def stopped(data, tmp_path_factory):
    """A training that was stopped in its third epoch: its two states are of two epochs, and of two and a step."""
    folder = tmp_path_factory.mktemp("stopped")
    assert in_a_process(train_until, data, folder, "_check_and_save", 2) == 128 + signal.SIGTERM
    return folder


def train_until(data, folder, method, epochs, *numbers):
    """Train, and send this process signals before the method is called with so many epochs done."""
    real = getattr(training.Trainer, method)

    def kill_and_call(trainer, *arguments, **options):
        if trainer.progress.epoch == epochs:
            for number in numbers or (signal.SIGTERM,):
                os.kill(os.getpid(), number)
        return real(trainer, *arguments, **options)

    setattr(training.Trainer, method, kill_and_call)
    run(SPEC, data, folder)


def result(folder):
    paths = outputs(folder)
    with open(paths["history"]) as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file) if row["term"] not in TIMING]
    weights = load_weights(paths["output"] / "model.pt")["model_state_dict"]
    return {name: value.tolist() for name, value in weights.items()}, rows


def attempts(folder):
    return [each["resumed_at_epoch"] for each in json.loads((folder / "provenance.json").read_text())["attempts"]]


def copy(folder, target):
    shutil.copytree(folder, target, dirs_exist_ok=True)
    return outputs(target)["state"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_signals_are_ignored_once_the_last_epoch_is_done(number, data, whole, tmp_path):
    """Also a second Ctrl-C, which elsewhere does not wait for the state to be saved."""
    assert in_a_process(train_until, data, tmp_path, "best_model", 3, number, number) == 0
    assert result(tmp_path) == whole


def test_a_signal_in_the_last_validation_finds_the_training_done(data, whole, tmp_path):
    assert in_a_process(train_until, data, tmp_path, "_keep_if_best", 2) == 0
    assert result(tmp_path) == whole


def test_a_finished_job_is_not_ended_by_a_signal(tmp_path):
    """While the interpreter tidies up, which takes seconds after work on a GPU."""
    program = (
        "import atexit, os, signal\n"
        "from vaebench.base.log import job\n"
        "for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):\n"
        "    atexit.register(os.kill, os.getpid(), number)\n"
        "with job('a.log'):\n    print('done')\n"
    )
    process = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(SCRIPTS)})
    assert process.returncode == 0


def test_a_finished_training_whose_results_are_lost_is_written_again(data, whole, tmp_path, monkeypatch):
    """Snakemake deletes what a job made that it did not record, and starts the job again."""
    run(SPEC, data, tmp_path)
    shutil.rmtree(tmp_path / "final_model")
    for name in ("history.csv", "provenance.json"):
        (tmp_path / name).unlink()
    monkeypatch.setattr(training.Trainer, "train_epoch", None)
    run(SPEC, data, tmp_path)
    assert result(tmp_path) == whole
    assert attempts(tmp_path) == [0, 3]
    state = outputs(tmp_path)["state"]
    assert sorted(path.name for path in state.iterdir()) == ["attempts.json", "best-3.pt", "lock", "state.pt"]
    forget(state)
    assert not state.exists()


def without_a_key(path):
    state = torch.load(path, weights_only=True)
    del state["model"]
    torch.save(state, path)


def with_a_key_less(path):
    state = torch.load(path, weights_only=True)
    del state["model"]
    save_sealed(state, path)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "cut short": lambda path: os.truncate(path, path.stat().st_size - 1),
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "a few bytes": lambda path: os.truncate(path, 7),
    "empty": lambda path: os.truncate(path, 0),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "one bit": flipped,
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "a key missing": without_a_key,
    "a key missing, sealed": with_a_key_less,
    "text": lambda path: path.write_text("<html>502 Bad Gateway</html>\n" * 9),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_after_a_damaged_state_it_goes_on_from_the_one_before(damage, data, stopped, whole, tmp_path, capfd):
    state = copy(stopped, tmp_path)
    DAMAGES[damage](state / "state.pt")
    run(SPEC, data, tmp_path)
    said = capfd.readouterr().err
    assert "state.pt is damaged and removed: " in said
    assert "goes on from the state before (2 epochs and 0 steps)" in said
    assert result(tmp_path) == whole
    assert attempts(tmp_path) == [0, 2]


@pytest.mark.parametrize("damage", ["zeroed", "one bit"])
def test_after_two_damaged_states_it_starts_anew(damage, data, stopped, whole, tmp_path, capfd):
    state = copy(stopped, tmp_path)
    for name in ("state.pt", "previous.pt"):
        DAMAGES[damage](state / name)
    run(SPEC, data, tmp_path)
    assert "There is no other state: the training starts anew." in capfd.readouterr().err
    assert result(tmp_path) == whole
    assert attempts(tmp_path) == [0, 0]


def test_the_two_states_do_not_take_the_place_of_a_good_one_when_one_is_damaged(data, stopped, whole, tmp_path):
    """A damaged state that were moved aside as the former one would leave none when the next save fails."""
    state = copy(stopped, tmp_path)
    DAMAGES["one bit"](state / "state.pt")
    assert in_a_process(train_until, data, tmp_path, "_check_and_save", 2) == 128 + signal.SIGTERM
    for name in ("state.pt", "previous.pt"):
        assert load_sealed(state / name)["progress"]["epoch"] == 2


@pytest.mark.parametrize("damage", ["one bit", "empty", "text", "gone"])
def test_damaged_weights_of_the_best_epoch_are_never_the_result(damage, data, stopped, whole, tmp_path, capfd):
    """Both states may need the same file of them: then only the start is left."""
    state = copy(stopped, tmp_path)
    (best,) = state.glob("best-*.pt")
    if damage == "gone":
        best.unlink()
    else:
        DAMAGES[damage](best)
    run(SPEC, data, tmp_path)
    assert best.name in capfd.readouterr().err
    assert result(tmp_path) == whole


def test_a_kill_between_the_renames_of_a_save_loses_nothing_but_that_save(data, stopped, whole, tmp_path):
    state = copy(stopped, tmp_path)
    (state / "state.pt").unlink()
    run(SPEC, data, tmp_path)
    assert result(tmp_path) == whole
    assert attempts(tmp_path) == [0, 2]


def test_a_state_that_the_system_does_not_give_is_one_line_and_stays(data, stopped, tmp_path, monkeypatch):
    state = copy(stopped, tmp_path)

    def broken(*arguments, **options):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("vaebench.base.sealed._check_seal", broken)
    with pytest.raises(UserError, match=r"state\.pt cannot be read: Input/output error"):
        run(SPEC, data, tmp_path)
    assert (state / "state.pt").is_file()


@pytest.mark.parametrize("name", ["lock", "attempts.json", "failure.json", "progress.json", "previous.pt", "state.pt"])
def test_a_folder_in_the_place_of_a_file_is_one_line(name, data, stopped, tmp_path):
    state = copy(stopped, tmp_path)
    (state / name).unlink(missing_ok=True)
    (state / name / "within").mkdir(parents=True)
    with pytest.raises(UserError, match=rf"{name}(:| cannot be read:) Is a directory"):
        run(SPEC, data, tmp_path)


@pytest.mark.parametrize(
    "content",
    ["", "[", "[]", "{}", "null", "\0" * 400, '{"attempts": 3, "key": "k", "sha256": "0"}', "one digit"],
    ids=str,
)
def test_a_damaged_list_of_attempts_is_said_and_begun_anew(content, data, stopped, whole, tmp_path, capfd):
    path = copy(stopped, tmp_path) / "attempts.json"
    path.write_text(
        path.read_text().replace('"resumed_at_epoch": 0', '"resumed_at_epoch": 1') if content == "flip" else content
    )
    run(SPEC, data, tmp_path)
    assert "attempts.json is damaged: of the earlier attempts nothing is known." in capfd.readouterr().err
    assert attempts(tmp_path) == [2]
    assert result(tmp_path) == whole


def test_sealed_files_are_what_torch_reads(tmp_path):
    save_sealed({"a": torch.arange(5), "b": [1.5, None]}, tmp_path / "a.pt")
    plain = torch.load(tmp_path / "a.pt", weights_only=True)
    sealed = load_sealed(tmp_path / "a.pt")
    assert torch.equal(plain["a"], sealed["a"])
    assert plain["b"] == sealed["b"] == [1.5, None]
    content = (tmp_path / "a.pt").read_bytes()
    for position in range(0, len(content), 97):  # no flipped bit goes unnoticed, wherever it is
        (tmp_path / "b.pt").write_bytes(content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :])
        with pytest.raises(Damaged):
            load_sealed(tmp_path / "b.pt")


def test_what_replaces_another_file_is_on_the_disk_before(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: [done.append(f"{new} replaced"), replace(old, new)])
    with durable_path(tmp_path / "a.json") as temporary:
        temporary.write_text("{}")
    assert done == [str(temporary), f"{tmp_path / 'a.json'} replaced", str(tmp_path)]


def hold(folder, ready):
    with held(folder):
        ready.set()
        time.sleep(60)


@pytest.fixture
def holder(tmp_path):
    """Another process that has the folder."""
    ready = FORK.Event()
    process = FORK.Process(target=hold, args=(tmp_path / "state", ready))
    process.start()
    assert ready.wait(30)
    yield process
    process.kill()
    process.join()


def test_who_holds_a_state_folder_is_said_and_the_lock_dies_with_him(holder, tmp_path):
    who = rf"process {holder.pid} on {os.uname().nodename}, since 20\d\d-"
    with pytest.raises(UserError, match=rf"state is in use by {who}.*start again"), held(tmp_path / "state", 0):
        pass
    forget(tmp_path / "state")
    assert (tmp_path / "state/lock").exists()
    holder.kill()
    holder.join()
    with held(tmp_path / "state", 0):
        assert f"process {os.getpid()} on" in (tmp_path / "state/lock").read_text()
    forget(tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_a_job_of_slurm_does_not_wait_with_its_gpu(holder, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr("vaebench.training.state_folder.PATIENCE_ON_A_CLUSTER", 0.1)
    monkeypatch.setattr("vaebench.training.state_folder.LOOK_AGAIN", 0.05)
    with pytest.raises(UserError, match="in use by process"), held(tmp_path / "state"):
        pass
    assert "waiting until that ends" in capfd.readouterr().err


def test_where_there_are_no_locks_it_is_said(tmp_path, monkeypatch, capfd):
    def refuse(*arguments):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with held(tmp_path / "state"):
        assert "cannot be locked (No locks available)" in capfd.readouterr().err


def test_the_second_of_two_trainings_waits_and_finds_the_work_done(data, whole, tmp_path):
    processes = [FORK.Process(target=run, args=(SPEC, data, tmp_path)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert result(tmp_path) == whole
    assert attempts(tmp_path) == [0, 3]


def test_what_killed_processes_left_is_removed_by_the_next_start(data, tmp_path):
    state = outputs(tmp_path)["state"]
    state.mkdir()
    (tmp_path / ".final_model.k1ll3d").mkdir()
    (tmp_path / ".final_model.k1ll3d/model.pt").write_text("half")
    for name in (".history.123.csv", ".provenance.123.json", "training_state/.state.123.pt"):
        (tmp_path / name).write_text("half")
    (tmp_path / ".per_image.123.parquet").write_text("of another job, which may be at work")
    run(SPEC, data, tmp_path)
    assert {path.name for path in tmp_path.rglob(".*")} == {".per_image.123.parquet"}


def train_with_files_limited(data, folder, size, said):
    """Train where no file may get larger: the writers fail as on a full disk, EFBIG in the place of ENOSPC."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        run(SPEC, data, folder)
    except UserError as error:
        said.put(str(error))


@pytest.mark.parametrize("size", [0, 1000, 100_000, 700_000])
def test_a_full_disk_is_one_line_and_costs_no_state(size, data, stopped, whole, tmp_path):
    state, said = copy(stopped, tmp_path), FORK.Queue()
    assert in_a_process(train_with_files_limited, data, tmp_path, size, said) == 0
    words = said.get(timeout=9)
    assert words.startswith("no space left on the disk (free: ")
    assert f"GB in {state})" in words
    assert "\n" not in words
    assert not list(tmp_path.rglob(".*"))
    for name in ("state.pt", "previous.pt"):
        assert load_sealed(state / name)["progress"]["epoch"] == 2
    run(SPEC, data, tmp_path)
    assert result(tmp_path) == whole


def test_images_that_are_cut_short_meanwhile_are_an_error_not_noise(tmp_path, monkeypatch):
    data = write_data(tmp_path)
    real = training.Trainer.train_epoch

    def cut_and_train(trainer, tracker):
        os.truncate(data["train_data"], 20_000)
        real(trainer, tracker)

    monkeypatch.setattr(training.Trainer, "train_epoch", cut_and_train)
    with pytest.raises(
        UserError, match=r"train_data\.npz cannot be read: \d+ of 1024 bytes at \d+: the file is shorter"
    ):
        run(SPEC, data, tmp_path)
    assert not outputs(tmp_path)["output"].exists()
