from pathlib import Path

from vaebench.base.digests import write_digest
from vaebench.base.files import link
from vaebench.base.log import job
from vaebench.download.file_source import WeightsSource
from vaebench.metrics.features.weights import kept_weights

with job(snakemake.log[0]):
    wanted, folders = WeightsSource.of(vars(snakemake.params.settings)), snakemake.params.folders
    place = Path(folders.downloads, snakemake.wildcards.place)
    kept = kept_weights(place.name, wanted, place.parent, Path(folders.packages))
    link(kept, snakemake.output[0])
    write_digest(snakemake.output[0])
