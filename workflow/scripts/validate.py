from pathlib import Path

from vaebench.base.log import job
from vaebench.base.values import from_dict
from vaebench.data.image_table import ImageFiles
from vaebench.data.validation import ValidationSettings, validate

if __name__ == "__main__":  # worker processes that are spawned import this script
    with job(snakemake.log[0]):
        given, made = snakemake.input, snakemake.output
        files = ImageFiles(Path(given.images), Path(given.partition), Path(made.table))
        settings = from_dict(ValidationSettings, snakemake.params.settings)
        validate(files, Path(made.summary), settings, snakemake.threads)
