from pathlib import Path

from vaebench.base.log import job
from vaebench.models.uploading import Repository, upload

with job(snakemake.log[0]):
    upload(
        Path(snakemake.input.model),
        Path(snakemake.input.provenance),
        snakemake.params.dataset,
        Repository(snakemake.params.repository, snakemake.params.private),
        Path(snakemake.output[0]),
    )
