from pathlib import Path

from vaebench.base.digests import write_digest
from vaebench.base.log import job
from vaebench.data.splitting import write_classes

with job(snakemake.log[0]):
    labels = Path(snakemake.output.labels)
    write_classes(Path(snakemake.input.images), labels)
    write_digest(labels)
