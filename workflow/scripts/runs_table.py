from pathlib import Path

from vaebench.base.log import job
from vaebench.results.tables import runs_table

with job(snakemake.log[0]):
    runs_table([Path(path) for path in snakemake.input.suites], Path(snakemake.output[0]))
