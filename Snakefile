# vaebench: variational autoencoders compared on face images, from the archive to the final tables.
#
#   snakemake --cores all                                   the CelebA study on this machine
#   snakemake --profile profiles/slurm                      the same on a cluster
#   snakemake --cores all --configfile config/demo.yaml     minutes, without a GPU
#
# Targets: all (default), data, models, metrics, tables, report, paper, push.

from snakemake.utils import min_version

min_version("9.27")


configfile: f"{workflow.basedir}/config/config.yaml"


include: "workflow/rules/common.smk"


wildcard_constraints:
    run=one_of(RUNS),
    seed=r"\d+",
    package=one_of(PACKAGES),


report: "workflow/report/workflow.rst"


if workflow.is_main_process:
    renew_digests()
    presence = take_up_folder()


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        annotations(),
        rules.summary.output,
        rules.budget.output,
        rules.figures.output,
        rules.report.output,
    localrule: True
    message:
        "Everything is there"


rule data:
    input:
        rules.preprocess.output,
        annotations(),
    localrule: True
    message:
        "The arrays are there"


rule models:
    input:
        trained_models(),
    localrule: True
    message:
        "Every model is trained"


rule metrics:
    input:
        measured_runs(),
    localrule: True
    message:
        "Every model is measured"


rule tables:
    input:
        rules.summary.output,
        rules.budget.output,
    localrule: True
    message:
        "The tables are there"


rule push:
    input:
        published_models,
    localrule: True
    message:
        "Every model is uploaded"


onstart:
    if presence is not None:
        sign(presence, workflow.executor_plugin.name)
    forget_states()
    check_networks()
    check_cluster()
    fetch_weights()


onsuccess:
    forget_states()
    forget_unfinished()
    print(f"Done. {what_was_made()}")


onerror:
    forget_states()
    if terminal.stopped:
        print("Stopped. The same command goes on where it stopped.")
    else:
        print("Not everything was done; the same command goes on where it stopped.")
        for failure in terminal.failures(without=STAGES):
            print(failure)
        summarise_finished()
