from pathlib import Path

from vaebench.base.log import job
from vaebench.base.plugin_files import use_plugins
from vaebench.base.values import from_dict
from vaebench.report.paper import write_paper
from vaebench.results.study import StudyPlan, study_of

if __name__ == "__main__":  # worker processes that are spawned import this script
    with job(snakemake.log[0]):
        use_plugins(snakemake.params.plugins.files)
        results = Path(snakemake.output[0]).parent
        study = study_of(from_dict(StudyPlan, snakemake.params.study), results)
        write_paper(study, Path(snakemake.output[0]), snakemake.threads)
