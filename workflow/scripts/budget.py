from pathlib import Path

from vaebench.base.log import job
from vaebench.results.budget import budget

with job(snakemake.log[0]):
    budget(
        [Path(path) for path in snakemake.input.trained],
        snakemake.params.tuning_trials,
        Path(snakemake.output.csv).parent,
    )
