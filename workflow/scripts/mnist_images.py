from pathlib import Path

from vaebench.base.digests import write_digest
from vaebench.base.log import job
from vaebench.data.demo.digits import make_digits

with job(snakemake.log[0]):
    images, partition = Path(snakemake.output.images), Path(snakemake.output.partition)
    make_digits(Path(snakemake.input.package), images, partition)
    write_digest(images)
    write_digest(partition)
