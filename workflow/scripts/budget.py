from pathlib import Path

from vaebench.base.log import job
from vaebench.results.budget import budget, tuned_runs

with job(snakemake.log[0]):
    records = [Path(path) for path in snakemake.input.tunings]
    budget(
        [Path(path) for path in snakemake.input.trained],
        tuned_runs(snakemake.params.tuning_trials, records),
        Path(snakemake.output.csv).parent,
    )
