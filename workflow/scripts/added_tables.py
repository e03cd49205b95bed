from pathlib import Path

from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.base.values import from_dict
from vaebench.results.frame_pages import write_added_tables
from vaebench.results.study import StudyPlan, study_of

with job(snakemake.log[0]):
    use_plugins(snakemake.params.plugins.files)
    tables = Path(snakemake.output.csv[0]).parent
    write_added_tables(study_of(from_dict(StudyPlan, snakemake.params.study), tables.parent), tables)
