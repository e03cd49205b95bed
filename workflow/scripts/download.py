from pathlib import Path

from vaebench.base.digests import known_md5, write_digest
from vaebench.base.files import link
from vaebench.base.log import job
from vaebench.data.sources import kept_in
from vaebench.download.fetch import fetch

with job(snakemake.log[0]):
    how = dict(vars(snakemake.params.how))
    file = snakemake.params.file | {"source": how.pop("source")}
    # Snakemake deletes outputs before it runs a job again; what was downloaded and checked is kept beside them.
    kept, output = kept_in(file, Path(how.pop("downloads"))) / file["file"], Path(snakemake.output[0])
    fetch(file, kept, how)
    md5 = known_md5(kept)
    link(kept, output)
    write_digest(output, md5)
