from pathlib import Path

from vaebench.base.log import job
from vaebench.base.values import from_dict
from vaebench.data.validation import ValidationSettings, validate

if __name__ == "__main__":  # worker processes that are spawned import this script
    with job(snakemake.log[0]):
        validate(
            Path(snakemake.input.images),
            Path(snakemake.input.partition),
            Path(snakemake.output.table),
            Path(snakemake.output.summary),
            from_dict(ValidationSettings, snakemake.params.settings),
            snakemake.threads,
        )
