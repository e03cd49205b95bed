# What a command does before its first job and after its last one; the order is that of the Snakefile.

import json
import shutil
import subprocess

from vaebench.base.digests import check_unchanged, renew_digest
from vaebench.base.layout import state_folder
from vaebench.base.log import tail
from vaebench.base.presence import enter, sign
from vaebench.config.file_mistakes import label_mistakes, source_mistakes
from vaebench.models.own_networks import own_networks
from vaebench.training.state_folder import forget


def renew_digests():
    """Notice files that were changed by hand since they were written: what was made from them is stale.

    Sources are looked at here too, where it can be said in one line that one cannot be read.
    """
    try:
        folder_of_images(None)
        for file in RAW_FILES.values():
            origin(file, NOTES)
        for file in RAW_FILES.values():
            renew_digest(Path(RAW, file.file), file.md5)
        for made in (MADE_PARTITION, MADE_LABELS):
            renew_digest(Path(made))
        for place in WEIGHTS.values():
            renew_digest(Path(KEPT_WEIGHTS, f"{place}.pt"))
        for split in SPLITS:
            check_unchanged(Path(array(split)))
    except UserError as contradiction:
        raise WorkflowError(str(contradiction)) from None


def take_up_folder():
    """Say that this Snakemake works here, and remove the lock of one that was killed: its jobs here end with it.

    Returns the open file that says it until this process ends.
    """
    presence, last = enter(Path(".snakemake/presence"))
    locks = Path(".snakemake/locks")
    if last is None:
        return presence
    if any(locks.glob("*.lock")):
        gone = f"a Snakemake that was killed ({last or 'it left no note'})"
        if not (last.startswith("local ") and f" on {os.uname().nodename}," in last):
            print(
                f"There is a lock of {gone}. Its jobs may still run on other machines: wait until they have ended, "
                "or cancel them, then run snakemake --unlock.",
                file=sys.stderr,
            )
            return presence
        shutil.rmtree(locks)
        print(f"Removed the lock of {gone}.", file=sys.stderr)
    sign(presence, "starting")  # `onstart` tells where its jobs run, a module has none
    return presence


def forget_states():
    """Remove the states of the trainings whose results are recorded: until then they can be written again from them."""
    for job in workflow.dag.jobs:
        recorded = not workflow.dag.needrun(job) or workflow.dag.finished(job)
        if job.rule.name == "train" and recorded:
            forget(state_folder(Path(job.output.model).parent))


def forget_unfinished():
    """Remove the summary of an earlier command that did not finish, in a command that makes the whole study."""
    if any(job.rule.name == "report" for job in workflow.dag.jobs):
        shutil.rmtree(f"{RESULTS}/unfinished", ignore_errors=True)


def check_own_code():
    """Import plugins, build networks and try metrics of one's own, before a job starts.

    An old model is deleted when its training begins anew, and nothing is trained that could not be measured.
    """
    to_train = {
        job.wildcards.run
        for job in workflow.dag.needrun_jobs()
        if job.rule.name in ("tune", "train")
    }
    specs = [
        as_dict(SPECS[run]) for run in sorted(to_train) if own_networks(SPECS[run])
    ]
    if specs or PLUGINS.files:
        given = {
            "plugins": PLUGINS.files,
            "specs": specs,
            "features": wanted_features(sections.evaluation_settings(config)),
            "input_shape": sections.input_shape(config),
        }
        built = subprocess.run(
            [sys.executable, script_file("own_code.py")],
            input=json.dumps(given),
            text=True,
            stdout=subprocess.PIPE,
        )
        if built.returncode:
            raise WorkflowError(
                f"these plugins or networks cannot be used:\n{built.stdout.strip()}"
            )


def check_files():
    """Look for the files of the data set that are to be found on this machine, and for the labels that are to be used.

    Nothing is deleted, and nothing trained, for what could then not be read.
    """
    to_run = list(workflow.dag.needrun_jobs())
    files = [job.wildcards.file for job in to_run if job.rule.name == "download"]
    mistakes = list(source_mistakes(config, files, Path(DOWNLOADS)))
    if LABELLED and {"tune", "train", "evaluate"} & {job.rule.name for job in to_run}:
        try:
            mistakes += label_mistakes(config, SPECS.values(), Path(raw("labels")))
        except UserError as unread:
            mistakes.append(str(unread))
    if mistakes:
        raise WorkflowError("\n".join(mistakes))


def check_pretrained():
    """Look for the models that are to be imported: the one that was imported before is deleted when a job starts."""
    for job in workflow.dag.needrun_jobs():
        if job.rule.name == "pretrained":
            if reason := SPECS[job.wildcards.run].pretrained.why_not_here():
                raise WorkflowError(f"{job.wildcards.run}: pretrained.path: {reason}")


def check_cluster():
    """Ask SLURM whether it can run the jobs to come: what it refuses would be submitted with every retry."""
    if workflow.executor_plugin.name != "slurm":
        return
    from vaebench.cluster.job_requests import requests_of_jobs
    from vaebench.cluster.slurm import Cluster, mistakes_in_requests
    from vaebench.cluster.slurm_answers import read_cluster

    cluster = read_cluster()
    jobs = [job for job in workflow.dag.needrun_jobs() if not job.is_local]
    if isinstance(cluster, Cluster):
        groups = workflow.group_settings.overwrite_groups
        mistakes = mistakes_in_requests(
            requests_of_jobs(jobs, groups, workflow.execution_settings.retries), cluster
        )
        if mistakes:
            raise WorkflowError(
                "\n".join(["SLURM cannot run these jobs; mend the profile:", *mistakes])
            )


def fetch_weights():
    """Have the weights of the metrics before any job starts: nothing is trained that could not be measured."""
    if not {"tune", "train", "pretrained", "evaluate"} & {
        job.rule.name for job in workflow.dag.jobs
    }:
        return
    for network, place in WEIGHTS.items():
        if not Path(KEPT_WEIGHTS, f"{place}.pt").exists():
            from vaebench.download.file_source import WeightsSource
            from vaebench.metrics.features.weights import kept_weights

            folders = Path(DOWNLOADS, place).parent, Path(KEPT_PACKAGES)
            try:
                kept_weights(
                    network, WeightsSource.of(config["weights"][network]), *folders
                )
            except UserError as failure:
                raise WorkflowError(str(failure)) from None


def lift_rate_limit():
    """Have Snakemake look for jobs to start when one has ended, and not every second besides.

    Under its limit of 100 jobs a second, which no study reaches, Snakemake 9.27 looks again a second after each look
    at jobs that wait. Each job that ends adds such a look a second: after 90 jobs they took a core. There is no option
    without a limit; one that was given stays.
    """
    scheduler = workflow.scheduler
    limit = getattr(scheduler, "job_rate_limiter", None)
    if limit is not None and (limit.max_jobs, limit.timespan) == (100, 1):
        scheduler.job_rate_limiter = None


def forget_tables():
    """Remove the tables of samplers and published values that the study no longer has, where all is made of its tables.

    Report and manuscript show those that are there.
    """
    gone = ([] if FURTHER else ["samplers", "by_sampler"]) + (
        [] if PUBLISHED else ["published"]
    )
    if {"report", "paper"} & {job.rule.name for job in workflow.dag.jobs}:
        for name in gone:
            for path in Path(RESULTS, "tables").glob(f"{name}.*"):
                path.unlink()


def what_was_made():
    """Where the things are that this command was asked for; of others nobody knows here whether they exist."""
    tables, trained = f"Tables: {RESULTS}/tables/", f"Models: {RESULTS}/runs/"
    places = {
        "validate": [f"Validation: {RESULTS}/validation/"],
        "preprocess": [f"Arrays: {DATA}/", f"Validation: {RESULTS}/validation/"],
        "tune": [f"Tuning: {RESULTS}/tuning/"],
        "choose": [f"Tuning: {RESULTS}/tuning/"],
        "train": [trained],
        "pretrained": [trained],
        "evaluate": [f"Metrics: {RESULTS}/runs/"],
        "runs_table": [tables],
        "summary": [tables],
        "budget": [tables],
        "samplers_table": [tables],
        "published": [tables],
        "added_tables": [tables],
        "figures": [f"Figures: {RESULTS}/figures/"],
        "report": [f"Report: {RESULTS}/report.html"],
        "paper": [f"Tables and figures for a manuscript: {RESULTS}/paper/"],
    }
    asked = [
        job
        for target in workflow.dag.targetjobs
        for job in ([target] if target.output else workflow.dag.dependencies[target])
    ]
    asked.sort(key=lambda job: [*places, job.rule.name].index(job.rule.name))
    return "  ".join(
        dict.fromkeys(
            place for job in asked for place in places.get(job.rule.name, job.output)
        )
    )


def to_do():
    """The first stage of each training that is left to do, by run and seed: Snakemake knows what is stale, files do not."""
    left = {}
    for stage in STAGES[::-1]:
        for job in workflow.dag.jobs:
            unfinished = workflow.dag.needrun(job) and not workflow.dag.finished(job)
            if job.rule.name == stage and unfinished:
                left.setdefault(job.wildcards.run, {})[job.wildcards.seed] = stage
    return left


def summarise_finished():
    """Tables, figures and report of the trainings that finished, apart from those of the whole study.

    Only when the command asked for the metrics of all: of the others nobody knows whether theirs are what they should be.
    """
    if not set(measured_runs()) <= {
        file for job in workflow.dag.jobs for file in job.output
    }:
        return
    given = {
        "plugins": PLUGINS.files,
        "study": planned_study(),
        "to_do": to_do(),
        "results": RESULTS,
        "suites": SUITES,
        "statistics": config["statistics"],
        "tuning_trials": tuning_trials(),
        "tunings": tuning_records(),
        "report": {
            "manifests": rules.report.input.manifests,
            "validation": rules.validate.output.summary,
            "generator": config["dataset"]["generator"],
            "confidence": config["statistics"]["confidence"],
        },
    }
    with open(f"{RESULTS}/logs/unfinished.log", "w") as log:
        subprocess.run(
            [sys.executable, script_file("unfinished.py")],
            input=json.dumps(given),
            text=True,
            stdout=log,
            stderr=log,
        )
    print(
        "What is done and what is not:",
        *tail(f"{RESULTS}/logs/unfinished.log"),
        sep="\n",
    )
