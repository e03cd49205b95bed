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
    network=one_of(NETWORKS),
    package=one_of(PACKAGES),


report: "workflow/report/workflow.rst"


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        rules.summary.output,
        rules.budget.output,
        rules.figures.output,
        rules.report.output,
    localrule: True


rule data:
    input:
        rules.preprocess.output,
    localrule: True


rule models:
    input:
        trained_models(),
    localrule: True


rule metrics:
    input:
        measured_runs(),
    localrule: True


rule tables:
    input:
        rules.summary.output,
        rules.budget.output,
    localrule: True


rule push:
    input:
        published_models,
    localrule: True


onstart:
    check_networks()
    check_cluster()
    fetch_weights()


onsuccess:
    print(
        f"Done. Tables: {RESULTS}/tables/  Figures: {RESULTS}/figures/  Report: {RESULTS}/report.html"
    )


onerror:
    print(
        "Some jobs failed. Their logs are named above; the same command goes on where they stopped. What finished:"
    )
    summarise_finished()
