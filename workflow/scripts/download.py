from pathlib import Path

from vaebench.digests import known_md5, write_digest
from vaebench.download import fetch
from vaebench.files import link
from vaebench.log import job
from vaebench.sources import kept_in

with job(snakemake.log[0]):
    how = dict(vars(snakemake.params.how))
    file = snakemake.params.file | {"source": how.pop("source")}
    # Snakemake deletes outputs before it runs a job again; what was downloaded and checked is kept beside them.
    kept, output = kept_in(file, Path(how.pop("downloads"))) / file["file"], Path(snakemake.output[0])
    fetch(file, kept, how)
    md5 = known_md5(kept)
    link(kept, output)
    write_digest(output, md5)
