"""What the terminal shows of Snakemake's records; tests/workflow/test_terminal.py has real runs."""

import io
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from processes import wait_for
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.tests import MockOutputSettings, TestLogHandlerBase
from snakemake_logger_plugin_vaebench import LogHandler

from vaebench.training.checkpoint import Checkpoint

KILLED = (
    'RuleException:\nCalledProcessError in file "/here/workflow/rules/train.smk", line 36:\n'
    "Command 'set -euo pipefail;  python train.py' returned non-zero exit status 137."
)


class TestInterface(TestLogHandlerBase):
    """The interface's own tests of a plugin: every event that Snakemake has, with the fields it documents."""

    __test__ = True

    def get_log_handler_cls(self):
        return LogHandler

    def get_log_handler_settings(self):
        return None

    def _create_handler(self):
        handler = super()._create_handler()
        handler.stream = io.StringIO()
        handler.handleError = reraise
        return handler


def reraise(record):
    raise


class Terminal:
    """A handler and what it wrote, fed with records as Snakemake 9.27 makes them."""

    def __init__(self, tmp_path):
        self.folder = tmp_path
        self.handler = LogHandler(MockOutputSettings(), None)
        self.handler.stream = io.StringIO()
        self.handler.handleError = reraise
        self.handler.learn(tmp_path / "benchmarks", lambda: {"all"})

    def say(self, event=None, msg=None, thread=1, **fields):
        """Send a record, and give the lines that were written for it, without their time."""
        before = self.handler.stream.tell()
        record = logging.makeLogRecord({"msg": msg, "event": event, "thread": thread, **fields})
        self.handler.emit(record)
        self.record = record
        self.handler.stream.seek(before)
        return [line[14:] if line[:3] in DAYS else line for line in self.handler.stream.read().splitlines()]

    def start(self, jobid, rule, message=None, local=False, **resources):
        folder = self.folder / f"results/runs/{jobid}"
        return self.say(
            LogEvent.JOB_INFO,
            jobid=jobid,
            rule_name=rule,
            rule_msg=message,
            log=[str(self.log(jobid))],
            output=[str(folder / "final_model")] if rule != "all" else [],
            resources=resources,
            local=local,
        )

    def finish(self, jobid, done, total):
        self.say(LogEvent.JOB_FINISHED, job_id=jobid)
        return self.say(LogEvent.PROGRESS, done=done, total=total)

    def fail(self, jobid, rule, said=None, indent=False, more_logs=(), **aux):
        return self.say(
            LogEvent.JOB_ERROR,
            jobid=jobid,
            rule_name=rule,
            rule_msg=said,
            log=[str(self.log(jobid)), *more_logs],
            indent=indent,
            aux=aux,
        )

    def log(self, jobid, text=None):
        """The log of a job; with a text, what the job writes to it."""
        path = self.folder / f"logs/{jobid}.log"
        if text is not None:
            path.parent.mkdir(exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_text(text)
        return path

    def progress(self, jobid, epoch, epochs, seconds):
        """What a training writes after each epoch."""
        state = Checkpoint(self.folder / f"results/runs/{jobid}/training_state", "key")
        state.report({"epoch": epoch, "epochs": epochs, "seconds": seconds})


DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@pytest.fixture
def terminal(tmp_path):
    return Terminal(tmp_path)


def test_a_run_in_peace(terminal):
    assert terminal.say(msg="Building DAG of jobs...") == []
    assert terminal.say(msg="Using shell: /usr/bin/bash") == []
    stats = {"train": 2, "all": 1, "total": 3}
    assert terminal.say(LogEvent.RUN_INFO, msg="Job stats: ...", stats=stats) == ["plan      2 steps: 2 train"]
    assert terminal.say(msg="Select jobs to execute...") == []
    assert terminal.start(1, "train", "Training vae, seed 0; progress in a.log") == [
        "started   Training vae, seed 0; progress in a.log"
    ]
    assert terminal.finish(1, 1, 3) == ["1 of 2    Training vae, seed 0: done in 0 s; about 0 s left"]
    assert terminal.start(2, "train", "Training vae, seed 1") == ["started   Training vae, seed 1"]
    assert terminal.finish(2, 2, 3) == ["2 of 2    Training vae, seed 1: done in 0 s"]
    assert terminal.start(0, "all", "Everything is there") == []
    assert terminal.finish(0, 3, 3) == []
    assert terminal.say(msg="Complete log(s): /here/a.log") == ["Complete log(s): /here/a.log"]


def test_the_time_left_comes_from_the_epochs_of_the_trainings_at_work(terminal):
    terminal.say(LogEvent.RUN_INFO, msg="", stats={"prepare": 1, "train": 3, "total": 4})
    terminal.start(1, "prepare", "Preparing")
    assert terminal.finish(1, 1, 4) == ["1 of 4    Preparing: done in 0 s"], "no training has been timed"
    terminal.start(2, "train", "Training a")
    terminal.start(3, "train", "Training b")
    terminal.progress(2, epoch=1, epochs=11, seconds=60)
    terminal.progress(3, epoch=1, epochs=11, seconds=60)
    terminal.handler._jobs.working[2].began -= 60
    terminal.handler._jobs.working[3].began -= 60
    assert terminal.handler._jobs.time_left() == "about 16 min left"  # (600 + 600 + 660) s, two at a time


def test_earlier_runs_give_an_estimate_from_the_first_step_on(terminal):
    path = terminal.folder / "benchmarks/train/a/seed0.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"s": 600.0}\n')
    terminal.handler.learn(terminal.folder / "benchmarks", set)
    terminal.say(LogEvent.RUN_INFO, msg="", stats={"prepare": 1, "train": 3, "total": 4})
    terminal.start(1, "prepare", "Preparing")
    assert terminal.finish(1, 1, 4)[0].endswith("about 30 min left")


def test_jobs_that_need_not_run_after_a_checkpoint_are_not_waited_for(terminal):
    """Planned are 1 + 4 + 2, and after the first Snakemake counts 1 + 3 in all."""
    terminal.say(LogEvent.RUN_INFO, msg="", stats={"prepare": 1, "train": 4, "report": 2, "total": 7})
    terminal.handler._jobs.earlier = {"train": [100.0], "report": [100.0]}
    terminal.start(1, "prepare", "Preparing")
    assert terminal.finish(1, 1, 4) == ["1 of 4    Preparing: done in 0 s; about 5 min left"]


def test_a_killed_job_says_why_in_its_last_line_and_in_its_log(terminal):
    terminal.start(1, "train", "Training vae, seed 0")
    terminal.log(1, "at work\nvae:   0%|  | 0/9\rvae:  11%|# | 1/9\rvae:  22%|##| 2/9")
    assert terminal.say(LogEvent.ERROR, KILLED, exception="RuleException") == []
    lines = terminal.fail(1, "train")
    assert lines[0] == "failed    Training vae, seed 0, after 0 s"
    assert lines[1:4] == [f"  the end of {terminal.log(1)}:", "    at work", "    vae:  22%|##| 2/9"]
    assert lines[4].startswith("Error: killed, most often since memory ran out: let fewer jobs run at once")
    assert len(lines) == 5
    assert terminal.log(1).read_text().splitlines()[-1] == lines[4]
    assert terminal.record.rule_msg == lines[4], "for Snakemake's own log, in the place of None"
    assert terminal.handler.failures(without=()) == [f"Training vae, seed 0: {lines[4]}"]
    assert terminal.handler.failures(without=("train",)) == []


def test_exit_status_138_is_a_saved_state_and_no_failure(terminal):
    saved = (
        "Stopped: the time limit is near (SIGUSR1); the state is saved, and the training goes on from there (3 of 9)"
    )
    terminal.start(1, "train", "Training vae, seed 0")
    terminal.log(1, f"at work\n{saved}\n")
    terminal.say(LogEvent.ERROR, KILLED.replace("137", "138"))
    assert terminal.fail(1, "train") == [f"stopped   Training vae, seed 0: {saved.removeprefix('Stopped: ')}"]
    assert terminal.say(msg="Trying to restart job 1.") == [
        "again     Training vae, seed 0: goes on by itself, attempt 2"
    ]
    assert terminal.handler.failures(without=()) == []
    terminal.start(1, "train", "Training vae, seed 0")
    terminal.log(1, "at work")
    terminal.say(LogEvent.ERROR, KILLED)
    terminal.fail(1, "train")
    assert terminal.say(msg="Trying to restart job 1.")[0].endswith("attempt 3")
    assert terminal.handler.failures(without=()) == []


def test_each_failure_has_the_status_of_its_own_thread(terminal):
    for jobid in (1, 2):
        terminal.start(jobid, "train", f"Training {jobid}")
        terminal.log(jobid, "at work")
    terminal.say(LogEvent.ERROR, KILLED, thread=11)
    terminal.say(LogEvent.ERROR, KILLED.replace("137", "139"), thread=12)
    for thread, jobid, expected in ((12, 2, "SIGSEGV"), (11, 1, "memory ran out")):
        record = {"jobid": jobid, "rule_msg": None, "log": [str(terminal.log(jobid))], "indent": False, "aux": {}}
        assert expected in terminal.say(LogEvent.JOB_ERROR, thread=thread, **record)[-1]


def test_an_unknown_end_is_said_to_be_one_and_shows_more_of_the_log(terminal):
    terminal.start(1, "train", "Training vae, seed 0")
    terminal.log(1, "\n".join(f"line {number}" for number in range(100)))
    terminal.say(LogEvent.ERROR, KILLED.replace("137", "3"))
    lines = terminal.fail(1, "train")
    assert lines[-1] == "Error: ended with status 3 without saying why"
    assert lines[2:-1] == [f"    line {number}" for number in range(70, 100)]
    assert terminal.log(1).read_text().endswith("line 99"), "nothing was found out, so nothing is added"


def test_the_log_of_an_earlier_attempt_says_nothing_of_this_one(terminal):
    """On a cluster the log is removed by the job, which may die before that."""
    terminal.log(1, "at work\nError: the mistake of before")
    terminal.start(1, "train", "Training a", runtime=30)
    slurm_log = terminal.log("slurm", "srun: error: node1: task 0: User defined signal 1")
    lines = terminal.fail(1, "train", "SLURM status is: 'FAILED'. ", more_logs=[str(slurm_log)])
    assert not [line for line in lines if "before" in line and "mistake" in line]
    assert lines[-1].startswith("Error: its time limit of 30 minutes was near before its work had begun")
    assert terminal.log(1).read_text().splitlines()[-1] == lines[-1]


def test_what_an_inner_snakemake_does_not_know_is_no_reason(terminal):
    terminal.start(1, "train", "Training a")
    terminal.log(1, "at work")
    slurm_log = terminal.log("slurm", "failed    Training a\nError: ended without saying why")
    assert terminal.fail(1, "train", "SLURM status is: 'FAILED'. ", more_logs=[str(slurm_log)])[-1] == (
        "Error: ended without saying why"
    )
    assert terminal.log(1).read_text() == "at work"


def test_ctrl_c_is_no_failure(terminal):
    terminal.start(1, "train", "Training a")
    terminal.start(2, "train", "Training b")
    terminal.log(1, "at work\nStopped: interrupted by Ctrl-C; the state is saved")
    terminal.log(2, "at work")
    assert terminal.say(msg="Terminating processes on user request, this might take some time.") == [
        "Ctrl-C    ending the jobs"
    ]
    assert terminal.fail(1, "train") == ["stopped   Training a: interrupted by Ctrl-C; the state is saved"]
    terminal.say(LogEvent.ERROR, KILLED)
    assert terminal.fail(2, "train") == []
    assert terminal.say(LogEvent.ERROR, "WorkflowError:\nAt least one job did not complete successfully.") == []
    assert terminal.handler.stopped


def test_sigterm_lets_the_jobs_end_and_is_no_failure_unless_one_failed(terminal):
    words = "Will exit after finishing currently running jobs (scheduler)."
    assert terminal.say(msg=words) == ["SIGTERM   no more jobs are started; waiting for those at work"]
    assert terminal.say(msg=words) == []
    assert terminal.handler.stopped
    terminal.start(1, "train", "Training a")
    terminal.log(1, "at work")
    terminal.fail(1, "train")
    assert not terminal.handler.stopped


def test_jobs_of_slurm(terminal):
    terminal.say(LogEvent.RESOURCES_INFO, msg="Provided remote nodes: 100", nodes=100)
    assert terminal.start(1, "train", "Training a", mem_mb=16000, runtime=480) == [], "it is only asked for"
    assert terminal.start(2, "report", "Writing the report", local=True) == ["started   Writing the report"]
    words = "Job 1 has been submitted with SLURM jobid 8123 (log: /here/.snakemake/slurm_logs/8123.log)."
    assert terminal.say(msg=words) == ["sent      Training a: SLURM job 8123"]
    terminal.log(1, "at work")
    slurm_log = terminal.log("slurm", "slurmstepd: error: Detected 1 oom_kill event in StepId=8123.0.")
    said = "SLURM-job '8123' failed, SLURM status is: 'FAILED'. Detailed failure reason unavailable"
    lines = terminal.fail(1, "train", said, more_logs=[str(slurm_log)], external_jobid="8123")
    assert lines[0] == "failed    Training a (SLURM job 8123), after 0 s"
    assert lines[-1].startswith("Error: it needed more memory than the 16000 MB it asked for; a retry asks for twice")
    assert f"  the end of {slurm_log}:" in lines


def group_of(terminal, logs):
    """Members of a group that were sent to SLURM and failed as a whole: the lines about it."""
    members = {3: "evaluate", 4: "sample"}
    jobs = [SimpleNamespace(jobid=jobid, uuid=lambda jobid=jobid: f"uuid-{jobid}") for jobid in members]
    terminal.say(LogEvent.RESOURCES_INFO, msg="", nodes=100)
    terminal.say(LogEvent.GROUP_INFO, msg="Group job judge", group_id="judge", jobs=jobs)
    for jobid, rule in members.items():
        terminal.start(jobid, rule, f"Doing {rule}")
        if jobid in logs:
            terminal.log(jobid, logs[jobid])
    words = "Job uuid-3 has been submitted with SLURM jobid 8124 (log: /here/8124.log)."
    assert terminal.say(msg=words) == ["sent      Doing evaluate; Doing sample: SLURM job 8124"]
    info = [
        {"jobid": jobid, "rule_name": rule, "log": [str(terminal.log(jobid))], "output": []}
        for jobid, rule in members.items()
    ]
    slurm_log = str(terminal.log("slurm", "srun: error: node1: task 0: Exited with exit code 1"))
    lines = terminal.say(
        LogEvent.GROUP_ERROR, "Error in group", aux_logs=[slurm_log], job_error_info=info, external_jobid="8124"
    )
    for jobid, rule in members.items():
        assert terminal.fail(jobid, rule, indent=True) == []
        assert terminal.record.rule_msg == lines[-1]
    return lines


def test_of_a_group_the_member_that_failed_speaks(terminal):
    lines = group_of(terminal, {4: "drew 64 images", 3: "at work\nError: the weights are damaged"})
    assert lines[0] == "failed    Doing evaluate (SLURM job 8124), after 0 s"
    assert lines[-1] == "Error: the weights are damaged"
    assert [line.split()[0] for line in terminal.say(msg="Trying to restart job uuid-3.")] == ["again", "again"]
    assert terminal.handler.failures(without=()) == []


def test_of_a_group_the_first_member_failed_where_the_second_has_no_log(terminal):
    lines = group_of(terminal, {4: "at work\nTraceback (most recent call last):\nKeyError: 'z'"})
    assert lines[0].startswith("failed    Doing sample")
    assert lines[-1] == "Error: KeyError: 'z' (not expected: please report it with its log)"


def test_a_job_that_slurm_refuses(terminal):
    terminal.say(LogEvent.RESOURCES_INFO, msg="", nodes=100)
    terminal.start(1, "train", "Training a")
    said = (
        "SLURM sbatch failed. The error message was 'sbatch: error: invalid partition specified: gpus\n"
        "sbatch: error: Batch job submission failed: Invalid partition name specified'.\n    sbatch call:\n"
        "        sbatch --parsable -p gpus\nFor further error details see the cluster/cloud log and the log files."
    )
    lines = terminal.fail(1, "train", said)
    assert len(lines) == 2
    assert lines[1].startswith("Error: SLURM did not take the job: sbatch: error: invalid partition specified: gpus")


def test_a_disk_that_is_full_for_snakemake_itself(terminal):
    (line,) = terminal.say(LogEvent.ERROR, "OSError: [Errno 28] No space left on device", exception="OSError")
    assert line.startswith("Error: no space left on the disk")
    assert not terminal.handler.stopped


def test_a_full_disk_whose_folder_is_known_is_told_as_it_is(terminal):
    words = "WorkflowError:\nno space left to write to /scratch/downloads (No space left on device): free some space"
    assert terminal.say(LogEvent.ERROR, words, exception="WorkflowError") == words.split("\n")


def test_a_full_disk_is_looked_for_where_the_job_writes(terminal, monkeypatch):
    """The folder of the command may lie on another disk, which has room."""
    terminal.start(1, "evaluate", "Measuring vae, seed 0")
    results = terminal.log(1, "at work\n").parent

    def free_in(folder):
        return SimpleNamespace(free=0 if results.is_relative_to(folder) and folder != Path.cwd() else 10**12)

    monkeypatch.setattr("shutil.disk_usage", free_in)
    terminal.say(LogEvent.ERROR, KILLED.replace("137", "1"))
    lines = terminal.fail(1, "evaluate")
    assert lines[-1].startswith(f"Error: no space left on the disk (free: 0.00 GB in {results}")


def test_a_defect_of_the_handler_does_not_end_the_run(terminal, capsys):
    del terminal.handler.handleError
    terminal.say(LogEvent.PROGRESS, done=1, total="many")
    assert "warning: cannot show a message of Snakemake's (TypeError" in capsys.readouterr().err


def test_a_long_silence_is_broken(terminal, monkeypatch):
    monkeypatch.setattr("snakemake_logger_plugin_vaebench.handler.SILENCE", 0.05)
    for jobid in range(1, 6):
        terminal.start(jobid, "train", f"Training {jobid}")
    terminal.progress(1, epoch=3, epochs=9, seconds=600)
    terminal.say(LogEvent.RUN_INFO, msg="", stats={"train": 5, "total": 5})
    try:
        wait_for(lambda: "at work" in terminal.handler.stream.getvalue())
    finally:
        terminal.handler.close()
    line = next(line for line in terminal.handler.stream.getvalue().splitlines() if "at work" in line)
    expected = "Training 1 (epoch 3 of 9), Training 2, Training 3 and 2 more; about "
    assert expected in line
