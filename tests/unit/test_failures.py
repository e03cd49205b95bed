"""Failures are caused for real where that is possible: by limits of the system. SLURM's words are those it printed."""

import errno
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from vaebench.base.failures import DISK_FULL, Ending, memory_kills, reason_of_end, reason_of_error

SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"
JOB = """
import resource, sys
sys.path.insert(0, {scripts!r})
from vaebench.base.log import job
{imports}
resource.setrlimit(resource.{limit}, ({value}, {value}))
with job({log!r}):
    print("at work")
    {work}
"""
TRACEBACK = ["Traceback (most recent call last):", '  File "train.py", line 3, in <module>', "KeyError: 'mu'"]


def run_limited(folder, limit, value, work, log="log/a.log"):
    """Run a job in a folder under a limit of the system; its exit status and its log."""
    names = [name for name in ("numpy", "torch", "pyarrow.parquet") if name in work]
    imports = f"import {', '.join(names)}" if names else ""
    source = JOB.format(scripts=str(SCRIPTS), imports=imports, limit=limit, value=value, work=work, log=log)
    process = subprocess.run([sys.executable, "-c", source], cwd=folder, capture_output=True, text=True, timeout=120)
    return process.returncode, (folder / log).read_text().splitlines()


@pytest.mark.parametrize(
    "write",
    [
        "numpy.save('a.npy', numpy.zeros(10**6))",
        "numpy.savez('a.npz', a=numpy.zeros(10**6))",
        "numpy.zeros(10**6).tofile('a.bin')",
        "torch.save(torch.zeros(10**6), 'a.pt')",
        "pyarrow.parquet.write_table(pyarrow.table({'a': numpy.random.rand(10**6)}), 'a.parquet')",
        "open('a.csv', 'w').write('x' * 10**7)",
    ],
)
def test_a_write_that_the_disk_refuses_is_a_full_disk(tmp_path, write):
    """A limit on the size of files makes the writers fail as a full disk does: EFBIG in the place of ENOSPC."""
    status, log = run_limited(tmp_path, "RLIMIT_FSIZE", 10**5, write)
    assert status == 1
    assert log[-1].startswith("Error: no space left on the disk (free: ")
    assert "the same command goes on where it stopped" in log[-1]
    assert not any("Traceback" in line for line in log)


def test_a_disk_that_takes_not_even_the_log_is_told_by_the_exit_status(tmp_path):
    status, log = run_limited(tmp_path, "RLIMIT_FSIZE", 0, "open('a', 'w').write('x' * 10**7)")
    assert (status, log) == (DISK_FULL, [])
    assert reason_of_end(Ending(status=status)).startswith("Error: no space left on the disk")


@pytest.fixture
def other_disk(tmp_path):
    """A folder on another disk than the working folder and that of temporary files."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev in {tmp_path.stat().st_dev, Path("/tmp").stat().st_dev}:
        pytest.skip("there is one disk only")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.mark.parametrize("work", ["file.write('x' * 10**7)", "raise OSError(28, 'No space left on device')"])
def test_a_full_disk_is_that_of_the_file_that_was_written(tmp_path, other_disk, work):
    """`data_dir` may lie on another disk than the logs, which have room."""
    write = (
        "from vaebench.base.files import atomic_path\n"
        f"    with atomic_path('{other_disk}/new/raw/a.txt') as path, open(path, 'w') as file:\n        {work}"
    )
    _, log = run_limited(tmp_path, "RLIMIT_FSIZE", 10**5, write)
    assert f"GB in {other_disk}" in log[-1]


def test_a_full_disk_is_that_of_the_results_wherever_the_command_runs(tmp_path, other_disk):
    """`results_dir` may lie on another disk, with its logs: what is free beside the Snakefile says nothing of it."""
    log = other_disk / "logs/a.log"
    _, lines = run_limited(tmp_path, "RLIMIT_FSIZE", 10**5, "open('a.csv', 'w').write('x' * 10**7)", str(log))
    said = lines[-1]
    assert f" GB in {log.parent}, " in said
    assert f" GB in {tmp_path}" in said
    assert f" GB in {log.parent}, " in reason_of_end(Ending(status=DISK_FULL, folders=[log.parent]))


def test_a_disk_is_told_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (tmp_path / "logs").mkdir()
    said = reason_of_end(Ending(status=DISK_FULL, folders=[tmp_path / "logs", tmp_path]))
    assert said.count(" GB in ") == 1
    assert f" GB in {tmp_path / 'logs'})" in said


@pytest.mark.parametrize("allocate", ["numpy.ones(10**10)", "torch.ones(10**10)", "bytearray(4 * 10**10)"])
def test_an_allocation_that_the_system_refuses_is_memory(tmp_path, allocate):
    status, log = run_limited(tmp_path, "RLIMIT_AS", 20 * 10**9, allocate)
    assert status == 1
    assert log[-1].startswith("Error: out of memory (")
    assert "lower batch sizes or threads" in log[-1]


def test_other_exceptions_are_none_of_both():
    assert reason_of_error(OSError(errno.EACCES, "Permission denied")) is None
    assert reason_of_error(ValueError("3 requested, 4 found")) is None


def test_the_cause_of_an_exception_counts():
    error = RuntimeError("could not save")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert reason_of_error(error).startswith("no space left on the disk")


def test_the_job_s_own_last_line_comes_before_everything_else():
    own = "Error: vae seed 0: loss is nan in step 2 of epoch 1"
    assert reason_of_end(Ending(1, ["at work", own], "SLURM status is: 'OUT_OF_MEMORY'", free_bytes=0)) == own


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Ending(128 + signal.SIGKILL), "killed, most often since memory ran out: let fewer jobs run at once"),
        (Ending(128 + signal.SIGKILL, memory_kills=1), "killed by the kernel since memory ran out: let fewer jobs"),
        (
            Ending(128 + signal.SIGKILL, on_cluster=True, memory_mb=16000),
            "(it asked for 16000 MB): a retry asks for twice as much by itself, else raise mem_mb",
        ),
        (Ending(1, free_bytes=1e6), "no space left on the disk"),
        (Ending(128 + signal.SIGBUS), "the disk or /dev/shm is full"),
        (Ending(128 + signal.SIGSEGV), "crashed in compiled code (SIGSEGV)"),
        (
            Ending(128 + signal.SIGABRT, ["at work", "LLVM ERROR: out of memory"]),
            "out of memory (LLVM ERROR: out of memory)",
        ),
        (
            Ending(
                128 + signal.SIGABRT, ["terminate called after throwing an instance of 'std::bad_alloc'", "what(): ..."]
            ),
            "out of memory (terminate called",
        ),
        (
            Ending(1, ["OpenBLAS error: Memory allocation still failed after 10 retries, giving up."]),
            "out of memory (Open",
        ),
        (Ending(1, TRACEBACK), "KeyError: 'mu' (not expected: please report it with its log)"),
    ],
)
def test_what_an_exit_status_and_a_log_tell(ending, expected):
    reason = reason_of_end(ending)
    assert reason.startswith("Error: ")
    assert expected in reason


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("SLURM-job '7' failed, SLURM status is: 'OUT_OF_MEMORY'. ", "more memory than the 16000 MB it asked for"),
        ("slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.0.", "mem_mb of its rule in profiles/slurm"),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=7.0.", "mem_mb of its rule in profiles/slurm"),
        ("slurmstepd: error: Exceeded job memory limit", "mem_mb of its rule in profiles/slurm"),
        ("SLURM-job '7' failed, SLURM status is: 'TIMEOUT'. ", "its time limit of 480 minutes was reached"),
        (
            "slurmstepd: error: *** STEP 7.0 ON node1 CANCELLED AT 2026-11-26T13:20:00 DUE TO TIME LIMIT ***",
            "raise runtime of its rule in profiles/slurm/config.yaml",
        ),
        ("SLURM-job '7' failed due to a node failure, SLURM status is: 'NODE_FAIL'. ", "its node failed"),
        ("slurmstepd: error: *** JOB 7 ON node1 CANCELLED AT 2026-11-26T13:20:00 DUE TO PREEMPTION ***", "priority"),
        ("SLURM-job '7' failed, SLURM status is: 'CANCELLED'. ", "it was cancelled"),
        (
            "SLURM sbatch failed. The error message was 'sbatch: error: invalid partition specified: gpus\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified'.\n"
            "    sbatch call:\n        sbatch -p gpus",
            "SLURM did not take the job: sbatch: error: invalid partition specified: gpus sbatch: error: Batch job",
        ),
        (
            "Job submission failed with exception: Invalid GPU model format: a100-80gb.For further error details see",
            "SLURM did not take the job: Invalid GPU model format: a100-80gb.",
        ),
    ],
)
def test_what_slurm_says(said, expected):
    reason = reason_of_end(Ending(None, ["vae:  33%|###   | 2/6"], said, True, memory_mb=16000, minutes=480))
    assert reason.startswith("Error: ")
    assert expected in reason


def test_a_saved_training_is_stopped_and_slurm_s_reason_is_added():
    saved = "Stopped: asked to end (SIGTERM); the state is saved, and the training goes on from there (3 of 50 epochs)"
    assert reason_of_end(Ending(143, ["at work", saved])) == saved
    reason = reason_of_end(Ending(None, [saved], "SLURM status is: 'TIMEOUT'", minutes=480))
    assert reason.startswith(f"{saved}. SLURM's reason: its time limit of 480 minutes was reached")


def test_what_the_inner_snakemake_wrote_into_slurm_s_log_is_found():
    said = "SLURM status is: 'FAILED'.\nfailed    Training vae\nError: killed, most often\nsrun: error: n1"
    assert reason_of_end(Ending(None, ["at work"], said, True)) == "Error: killed, most often"


def test_nothing_is_invented():
    assert reason_of_end(Ending(1, ["at work"])) == ""
    assert reason_of_end(Ending(None, [], "SLURM status is: 'FAILED'. ", True)) == ""


def test_the_kernel_s_kills_are_counted():
    counted = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    assert memory_kills() == int(counted["oom_kill"])
