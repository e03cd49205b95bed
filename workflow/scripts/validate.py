from pathlib import Path

from vaebench.log import job
from vaebench.validation import validate

with job(snakemake.log[0]):
    validate(
        Path(snakemake.input.images),
        Path(snakemake.input.partition),
        Path(snakemake.output.table),
        Path(snakemake.output.summary),
        snakemake.params.settings,
        snakemake.threads,
    )
