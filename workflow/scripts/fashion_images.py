from pathlib import Path

from vaebench.base.digests import write_digest
from vaebench.base.log import job
from vaebench.data.demo.fashion import make_fashion, obtain_fashion, read_fashion

with job(snakemake.log[0]):
    images, partition = Path(snakemake.output.images), Path(snakemake.output.partition)
    make_fashion(read_fashion(obtain_fashion(Path(snakemake.params.how.kept))), images, partition)
    write_digest(images)
    write_digest(partition)
