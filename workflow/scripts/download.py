from pathlib import Path

from vaebench.base.digests import known_md5, write_digest
from vaebench.base.files import link
from vaebench.base.log import job
from vaebench.base.values import from_dict
from vaebench.data.sources import kept_in
from vaebench.download.fetch import fetch
from vaebench.download.file_source import DownloadSettings, FileSource

with job(snakemake.log[0]):
    how, origin = snakemake.params.how, snakemake.params.file["origin"]
    identity = {key: value for key, value in snakemake.params.file.items() if key != "origin"}
    file = FileSource(**identity, source=how.source)
    # Snakemake deletes outputs before it runs a job again; what was downloaded and checked is kept beside them.
    kept, output = kept_in(file.md5, origin, Path(how.downloads)) / file.file, Path(snakemake.output[0])
    fetch(file, kept, from_dict(DownloadSettings, how.settings, "download"))
    md5 = known_md5(kept)
    link(kept, output)
    write_digest(output, md5)
