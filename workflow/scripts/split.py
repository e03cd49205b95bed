from pathlib import Path

from vaebench.base.digests import write_digest
from vaebench.base.log import job
from vaebench.base.values import from_dict
from vaebench.data.splitting import SplitSettings, make_partition

with job(snakemake.log[0]):
    partition, identity = Path(snakemake.output.partition), snakemake.input.get("identity")
    settings = from_dict(SplitSettings, snakemake.params.settings, "dataset.split")
    make_partition(Path(snakemake.input.images), settings, partition, Path(identity[0]) if identity else None)
    write_digest(partition)
