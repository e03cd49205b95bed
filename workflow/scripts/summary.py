from pathlib import Path

from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.results.tables import summary

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    summary(
        Path(snakemake.input.runs),
        [Path(path) for path in snakemake.input.per_image],
        Path(snakemake.output[0]).parent,
        snakemake.params.settings,
        failures=[],
        expected=snakemake.params.runs,
    )
