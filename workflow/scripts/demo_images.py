from pathlib import Path

from vaebench.digests import write_digest
from vaebench.faces import make_faces
from vaebench.log import job

with job(snakemake.log[0]):
    images, partition = Path(snakemake.output.images), Path(snakemake.output.partition)
    make_faces(Path(snakemake.input.package), images, partition)
    write_digest(images)
    write_digest(partition)
