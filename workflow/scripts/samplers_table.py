from pathlib import Path

from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.base.values import from_dict
from vaebench.results.sampler_table import Samplers, samplers_table
from vaebench.results.statistics import StatisticsSettings

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    samplers_table(
        Path(snakemake.input.runs),
        [Path(path) for path in snakemake.input.further],
        Samplers(snakemake.params.samplers, snakemake.params.common),
        Path(snakemake.output.csv).parent,
        from_dict(StatisticsSettings, snakemake.params.settings, "statistics"),
    )
