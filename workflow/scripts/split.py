from pathlib import Path

from vaebench.base.digests import write_digest
from vaebench.base.log import job
from vaebench.data.splitting import make_partition

with job(snakemake.log[0]):
    partition, identity = Path(snakemake.output.partition), snakemake.input.get("identity")
    make_partition(
        Path(snakemake.input.images), snakemake.params.settings, partition, Path(identity[0]) if identity else None
    )
    write_digest(partition)
