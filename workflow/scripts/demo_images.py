from pathlib import Path

from vaebench.faces import make_faces
from vaebench.log import job

with job(snakemake.log[0]):
    make_faces(Path(snakemake.input.package), Path(snakemake.output.images), Path(snakemake.output.partition))
