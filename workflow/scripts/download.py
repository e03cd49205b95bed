from pathlib import Path

from vaebench.download import fetch
from vaebench.files import link
from vaebench.log import job

with job(snakemake.log[0]):
    how = dict(vars(snakemake.params.how))
    file = snakemake.params.file | {"source": how.pop("source")}
    # Snakemake deletes outputs before it runs a job again; what was downloaded and checked is kept beside them.
    kept = Path("data/downloads", file["file"])
    fetch(file, kept, how)
    link(kept, snakemake.output[0])
