from pathlib import Path

from vaebench.base.log import job
from vaebench.models.publishing import publish

with job(snakemake.log[0]):
    publish(
        Path(snakemake.input.model),
        Path(snakemake.input.provenance),
        snakemake.params.dataset,
        snakemake.params.repository,
        snakemake.params.private,
        Path(snakemake.output[0]),
    )
