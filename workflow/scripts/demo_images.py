from pathlib import Path

from vaebench.base.digests import write_digest
from vaebench.base.log import job
from vaebench.data.demo.faces import make_faces

if __name__ == "__main__":  # worker processes that are spawned import this script
    with job(snakemake.log[0]):
        images, partition = Path(snakemake.output.images), Path(snakemake.output.partition)
        make_faces(Path(snakemake.input.package), images, partition, workers=snakemake.threads)
        write_digest(images)
        write_digest(partition)
