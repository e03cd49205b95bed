from pathlib import Path

from vaebench.base.digests import write_digest
from vaebench.base.log import job
from vaebench.base.plugin_files import added, use_plugins
from vaebench.data.demo.added_images import make_images

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    (entry,) = (entry for entry in added("data_set") if entry.name == snakemake.params.generator)
    images, partition = Path(snakemake.output.images), Path(snakemake.output.partition)
    make_images(entry, images, partition)
    write_digest(images)
    write_digest(partition)
