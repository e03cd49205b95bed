from pathlib import Path

from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.base.values import from_dict
from vaebench.results.statistics import StatisticsSettings
from vaebench.results.tables import Expected, summary

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    summary(
        Path(snakemake.input.runs),
        [Path(path) for path in snakemake.input.per_image],
        Path(snakemake.output[0]).parent,
        from_dict(StatisticsSettings, snakemake.params.settings, "statistics"),
        Expected(snakemake.params.runs, samplers=snakemake.params.samplers),
    )
