from pathlib import Path

from vaebench.base.log import job
from vaebench.results.budget import budget, tuning_costs

with job(snakemake.log[0]):
    records = [Path(path) for path in snakemake.input.tunings]
    budget(
        [Path(path) for path in snakemake.input.trained],
        tuning_costs(snakemake.params.tuning_trials, records),
        Path(snakemake.output.csv).parent,
    )
