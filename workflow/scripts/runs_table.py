from pathlib import Path

from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.results.tables import runs_table

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    runs_table([Path(path) for path in snakemake.input.suites], Path(snakemake.output[0]))
