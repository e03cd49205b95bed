from pathlib import Path

from vaebench.digits import make_digits
from vaebench.log import job

with job(snakemake.log[0]):
    make_digits(Path(snakemake.input.package), Path(snakemake.output.images), Path(snakemake.output.partition))
