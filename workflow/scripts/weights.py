from pathlib import Path

from vaebench.digests import write_digest
from vaebench.files import link
from vaebench.log import job
from vaebench.weights import kept_weights

with job(snakemake.log[0]):
    settings, folders = vars(snakemake.params.settings), snakemake.params.folders
    place = Path(folders.downloads, snakemake.wildcards.place)
    kept = kept_weights(place.name, settings, place.parent, Path(folders.packages))
    link(kept, snakemake.output[0])
    write_digest(snakemake.output[0])
