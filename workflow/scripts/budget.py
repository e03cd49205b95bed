from pathlib import Path

from vaebench.budget import budget
from vaebench.log import job

with job(snakemake.log[0]):
    budget(
        [Path(path) for path in snakemake.input.trained],
        snakemake.params.tuning_trials,
        Path(snakemake.output.csv).parent,
    )
