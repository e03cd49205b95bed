from pathlib import Path

from vaebench.files import link
from vaebench.log import job
from vaebench.weights import kept_weights

with job(snakemake.log[0]):
    settings = vars(snakemake.params.settings)
    kept = kept_weights(snakemake.wildcards.network, settings, Path("data/downloads"), Path("data/packages"))
    link(kept, snakemake.output[0])
