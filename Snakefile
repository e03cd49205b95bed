# What `snakemake` runs in a checkout: the workflow of workflow/Snakefile.
#
#   snakemake --cores all                                   the CelebA study on this machine
#   snakemake --profile profiles/slurm                      the same on a cluster
#   snakemake --cores all --configfile config/demo.yaml     minutes, without a GPU
#
# Targets: all (default), data, models, metrics, tables, report, paper, push.


include: "workflow/Snakefile"


rule study:
    default_target: True
    input:
        rules.all.input,
    localrule: True
    message:
        "Everything is there"
