from pathlib import Path

from vaebench.base.log import job
from vaebench.download.package_index import download_package

with job(snakemake.log[0]):
    download_package(snakemake.wildcards.package, Path(snakemake.output[0]))
